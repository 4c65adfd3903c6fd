// Starts the real binary as a worker of its own, on loopback, with engines of the test's choice.
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startRole } from "./role.mjs";

/** A worker that reports to nobody, with these engines and other sections. `namespaces` are files of its `state/worker/rooms`, `inside` is what
 * is put before its command, `host` the address where it listens. */
export async function startWorker(engines, { sessions = {}, webrtc = {}, server = {}, namespaces = [], inside = [], host = "127.0.0.1", ...more } = {}) {
    const worker = await startRole("worker", async dir => {
        for (const namespace of namespaces) {
            await mkdir(join(dir, "state", "worker", "rooms"), { recursive: true, mode: 0o700 });
            await writeFile(join(dir, "state", "worker", "rooms", `${namespace.name}.json`), JSON.stringify(namespace), { mode: 0o600 });
        }
        return {
            server: { host, ...server },
            sessions: {
                data_dir: join(dir, "sessions"), allowed_bodies: ["127.0.2.0/24"], force_relay: false, ready_timeout: "30s",
                port_range_start: 26000 + process.pid % 4000, ...sessions,
            },
            drain: { timeout: "0s" },
            webrtc: { udpmux: "any", ip_retrieval_url: "off", ...webrtc },
            engines, ...more,
        };
    }, inside);
    /** Pids of the sessions' processes. */
    worker.processes = async () => {
        const found = [];
        for (const entry of (await readdir("/proc")).filter(name => /^\d+$/.test(name))) {
            const place = await readlink(`/proc/${entry}/cwd`).catch(() => "");
            const name = await readFile(`/proc/${entry}/comm`, "utf8").catch(() => "");
            if (place.startsWith(join(worker.dir, "sessions")) && name.trim() === "ffmpeg") {
                found.push(Number(entry));
            }
        }
        return found;
    };
    return worker;
}
