// Starts the real binary as a worker of its own, on loopback, with engines of the test's choice.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { BUILT } from "./standin.mjs";

const TOKEN = "browser-test-token-0123456789";

/** A worker that reports to nobody, with these engines and other sections. `namespaces` are files of its `state/worker/rooms`, `inside` is what
 * is put before its command, `host` the address where it listens. `stop()` ends it and removes its directory. */
export async function startWorker(engines, { sessions = {}, webrtc = {}, server = {}, namespaces = [], inside = [], host = "127.0.0.1", ...more } = {}) {
    const dir = await mkdtemp(join(tmpdir(), "neck-worker-"));
    for (const namespace of namespaces) {
        await mkdir(join(dir, "state", "worker", "rooms"), { recursive: true, mode: 0o700 });
        await writeFile(join(dir, "state", "worker", "rooms", `${namespace.name}.json`), JSON.stringify(namespace), { mode: 0o600 });
    }
    const config = {
        mode: "worker",
        server: { listen: `${host}:0`, admin_token: TOKEN, state_dir: join(dir, "state"), ...server },
        sessions: {
            data_dir: join(dir, "sessions"), allowed_bodies: ["127.0.2.0/24"], force_relay: false, ready_timeout: "30s",
            port_range_start: 26000 + process.pid % 4000, ...sessions,
        },
        drain: { timeout: "0s" },
        webrtc: { udpmux: "any", ip_retrieval_url: "off", ...webrtc },
        engines, ...more,
    };
    const [command, ...args] = [...inside, join(BUILT, "hydraneckwebrtc"), "worker", "--config", join(dir, "config.yaml")];
    let child = null;
    let output = "";
    let exited = false;
    const worker = { output: () => output, token: TOKEN, signal: name => child.kill(name), isOver: () => exited };
    worker.stop = async () => {
        if (!exited) {
            child.kill("SIGTERM");
            await until("the worker ends", () => exited, 30_000);
        }
        await rm(dir, { recursive: true, force: true });
    };
    const begin = async () => {
        await writeFile(join(dir, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
        const from = output.length;
        exited = false;
        child = spawn(command, args, { env: { HOME: dir, PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
        child.stdout.on("data", bytes => { output += bytes; });
        child.stderr.on("data", bytes => { output += bytes; });
        child.on("exit", () => { exited = true; });
        worker.origin = await until("the worker listens", () => {
            if (exited) {
                throw new Error(output);
            }
            const address = output.slice(from).match(/listens on (\S+)/)?.[1];
            return address && `http://${address}`;
        }, 30_000);
    };
    /** Ends it at once, and starts it again on the port it had. */
    worker.killAndRestart = async () => {
        child.kill("SIGKILL");
        await until("the worker is dead", () => exited);
        config.server.listen = new URL(worker.origin).host;
        await begin();
    };
    try {
        await begin();
    } catch (error) {
        await worker.stop();
        throw error;
    }
    worker.api = async (method, path, body) => {
        const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" };
        const reply = await fetch(worker.origin + path, { method, headers, body: body && JSON.stringify(body) });
        return { status: reply.status, json: await reply.json().catch(() => undefined) };
    };
    /** Pids of the sessions' processes. */
    worker.processes = async () => {
        const found = [];
        for (const entry of (await readdir("/proc")).filter(name => /^\d+$/.test(name))) {
            const place = await readlink(`/proc/${entry}/cwd`).catch(() => "");
            const name = await readFile(`/proc/${entry}/comm`, "utf8").catch(() => "");
            if (place.startsWith(join(dir, "sessions")) && name.trim() === "ffmpeg") {
                found.push(Number(entry));
            }
        }
        return found;
    };
    return worker;
}
