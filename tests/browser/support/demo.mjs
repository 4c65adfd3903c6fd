// Starts the real binary's `demo` and talks to its API.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { BUILT } from "./standin.mjs";

/** Runs `hydraneckwebrtc demo` until `stop()`. */
export async function startDemo(...flags) {
    const program = join(BUILT, "hydraneckwebrtc");
    const child = spawn(program, ["demo", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let exited = false;
    child.stdout.on("data", bytes => { output += bytes; });
    child.stderr.on("data", bytes => { output += bytes; });
    child.on("error", error => { output += error; exited = true; });
    child.on("exit", () => { exited = true; });
    const found = pattern => output.match(pattern)?.[1];
    const demo = { pid: child.pid, output: () => output };
    demo.stop = async () => {
        if (!exited) {
            child.kill("SIGINT");
            await until("demo ends", () => exited);
        }
    };
    try {
        demo.url = await until("demo prints its URL", () => {
            if (exited) {
                throw new Error(`demo ended:\n${output}`);
            }
            return found(/^Open (http\S+)/m);
        });
        demo.token = await until("demo prints its token", () => found(/^Admin token: (\S+)/m));
    } catch (error) {
        await demo.stop();
        throw new Error(`${error.message}\n${output}`);
    }
    demo.origin = new URL(demo.url).origin;
    demo.sessionId = demo.url.match(/\/session\/([0-9a-f]{32})\//)?.[1];
    return talkTo(demo);
}

/** Gives what has an `origin`, a `token` and a `sessionId` the API's calls. */
export function talkTo(demo) {
    demo.api = async (method, path, body) => {
        const headers = { Authorization: `Bearer ${demo.token}`, ...(body ? { "Content-Type": "application/json" } : {}) };
        const reply = await fetch(demo.origin + path, { method, headers, body: body && JSON.stringify(body) });
        const text = await reply.text();
        return { status: reply.status, text, json: () => JSON.parse(text) };
    };
    /** A new session. A busy machine makes heartbeats late, and nobody is sent to a worker that is late (503): asked again. */
    demo.create = request => until("a session", async () => {
        const reply = await demo.api("POST", "/api/v1/sessions", request);
        if (reply.status !== 201 && reply.status !== 503) {
            throw new Error(reply.text);
        }
        return reply.status === 201 && reply.json();
    });
    /** "streaming", "ended quit" and so on; the API remembers an ended session for a while. */
    demo.sessionState = async () => {
        const { sessions } = (await demo.api("GET", "/api/v1/sessions")).json();
        const session = sessions.find(({ id }) => id === demo.sessionId);
        return [session?.status, session?.reason].filter(Boolean).join(" ");
    };
    return demo;
}

/** Pids of the children of `pid` that run under this name (`web-server` is a link to the stand-in). */
export function childrenNamed(pid, name) {
    return readdirSync("/proc").filter(entry => /^\d+$/.test(entry)).map(Number).filter(each => {
        try {
            const parent = Number(readFileSync(`/proc/${each}/stat`, "utf8").split(") ").at(-1).split(" ")[1]);
            const [program] = readFileSync(`/proc/${each}/cmdline`, "utf8").split("\0");
            return parent === pid && program.split("/").at(-1) === name;
        } catch {
            return false;
        }
    });
}
