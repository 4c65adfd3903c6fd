// A real coturn, on loopback as a rule, with time-limited credentials.
import { createHmac } from "node:crypto";
import { spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove, until } from "./browser.mjs";
import { ownPort } from "./ports.mjs";

/** What signs credentials. */
export const SECRET = "a-secret-for-browser-tests";

/** Starts one; `stop()` and `start()` again on the same port, `close()` at the end. `inside` is what is put before its command. */
export async function startCoturn({ host = "127.0.0.1", inside = [], secret = SECRET } = {}) {
    const port = await ownPort(host);
    const directory = await mkdtemp(join(tmpdir(), "neck-coturn-"));
    let child = null;
    const coturn = { urls: [`turn:${host}:${port}?transport=udp`], log: "" };
    coturn.start = async () => {
        coturn.log = "";
        const [command, ...args] = [...inside, "turnserver", "-n", `--listening-ip=${host}`, `--relay-ip=${host}`, `--listening-port=${port}`,
            "--use-auth-secret", `--static-auth-secret=${secret}`, "--realm=test", "--fingerprint", "--allow-loopback-peers",
            "--no-tls", "--no-dtls", "--no-cli", "--no-tcp", "--log-file=stdout", "--simple-log", "--pidfile=/dev/null",
            `--userdb=${join(directory, "turndb")}`, "--verbose"];
        child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
        const ended = new Promise(done => child.once("exit", done));
        child.on("error", error => { coturn.log += error; });
        for (const stream of [child.stdout, child.stderr]) {
            stream.on("data", bytes => { coturn.log += bytes; });
        }
        coturn.stop = async () => {
            child.kill("SIGKILL");
            await ended;
        };
        coturn.close = async () => {
            await coturn.stop();
            await remove(directory);
        };
        await until("coturn listens", () => {
            if (child.exitCode !== null) {
                throw new Error(coturn.log);
            }
            return /UDP listener opened/.test(coturn.log);
        });
    };
    /** Credentials that end in `seconds`, made as the product makes them. */
    coturn.servers = (seconds, who = "browser") => {
        const username = `${Math.floor(Date.now() / 1000) + seconds}:${who}`;
        const credential = createHmac("sha1", secret).update(username).digest("base64");
        return [{ urls: coturn.urls, username, credential }];
    };
    await coturn.start();
    return coturn;
}
