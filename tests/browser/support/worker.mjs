// Starts the real binary as a worker of its own, on loopback, with engines of the test's choice.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { BUILT } from "./standin.mjs";

const TOKEN = "browser-test-token-0123456789";

/** A worker that reports to nobody, with these engines and other sections. `stop()` ends it and removes its directory. */
export async function startWorker(engines, { sessions = {}, webrtc = {}, ...more } = {}) {
    const dir = await mkdtemp(join(tmpdir(), "neck-worker-"));
    const config = {
        mode: "worker",
        server: { listen: "127.0.0.1:0", admin_token: TOKEN, state_dir: join(dir, "state") },
        sessions: {
            data_dir: join(dir, "sessions"), allowed_bodies: ["127.0.2.0/24"], force_relay: false, ready_timeout: "30s",
            port_range_start: 26000 + process.pid % 4000, ...sessions,
        },
        drain: { timeout: "0s" },
        webrtc: { udpmux: "any", ip_retrieval_url: "off", ...webrtc },
        engines, ...more,
    };
    await writeFile(join(dir, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
    const child = spawn(join(BUILT, "hydraneckwebrtc"), ["worker", "--config", join(dir, "config.yaml")],
        { env: { HOME: dir }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let exited = false;
    child.stdout.on("data", bytes => { output += bytes; });
    child.stderr.on("data", bytes => { output += bytes; });
    child.on("exit", () => { exited = true; });
    const worker = { output: () => output, token: TOKEN };
    worker.stop = async () => {
        if (!exited) {
            child.kill("SIGTERM");
            await until("the worker ends", () => exited, 30_000);
        }
        await rm(dir, { recursive: true, force: true });
    };
    try {
        worker.origin = await until("the worker listens", () => {
            if (exited) {
                throw new Error(output);
            }
            const address = output.match(/listens on (\S+)/)?.[1];
            return address && `http://${address}`;
        }, 30_000);
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
