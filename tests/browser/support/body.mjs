// A simulated body (Sunshine and hydrabody) of its own, and what happened at it.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { BUILT } from "./standin.mjs";

/** Starts one at this address, with fault switches (`BodyFaults`) where these are given. `bodies` is the section of a worker's configuration that finds it. */
export async function startBody(address, faults) {
    const child = spawn(join(BUILT, "stand-in-body"), [address, "0", "0", "0"], { stdio: ["pipe", "pipe", "inherit"] });
    const exited = new Promise(done => child.on("exit", done));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const ready = (await lines.next()).value?.match(/^ready (\d+) (\d+) (\d+)$/);
    if (!ready) {
        throw new Error("the body did not start");
    }
    const [http_port, management_port, hydrabody_port] = ready.slice(1).map(Number);
    if (faults) {
        child.stdin.write(`${JSON.stringify(faults)}\n`);
        const said = (await lines.next()).value;
        if (said !== "ok") {
            throw new Error(`the body's switches: ${said}`);
        }
    }
    return {
        bodies: { http_port, management_port, hydrabody_port },
        events: async () => {
            child.stdin.write("events\n");
            return JSON.parse((await lines.next()).value);
        },
        stop: async () => {
            child.stdin.end();
            await exited;
        },
    };
}

/** Clients that are paired after these events. */
export function pairedAfter(events) {
    const paired = new Set();
    for (const event of events) {
        if (event.pairing_ended?.outcome === "paired") {
            paired.add(event.pairing_ended.client);
        } else if (event === "unpaired_all") {
            paired.clear();
        } else {
            paired.delete(event.unpaired?.client);
        }
    }
    return [...paired];
}

/** What closed an application. */
export const closings = events => events.filter(event => event === "stopped" || event.app_closed || event.cancelled);
