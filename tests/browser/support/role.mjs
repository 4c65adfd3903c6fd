// The real binary in one of its roles, on loopback as a rule, with a directory and a configuration of its own.
import { spawn } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove, until } from "./browser.mjs";
import { ownPort } from "./ports.mjs";
import { BUILT } from "./standin.mjs";

export const TOKEN = "browser-test-token-0123456789";

/** Starts a "controller" or "worker". `configure(dir)` tells the sections of its configuration, `inside` is what is put before its command.
 * `stop()` ends it and removes its directory. */
export async function startRole(mode, configure, inside = []) {
    const dir = await mkdtemp(join(tmpdir(), `neck-${mode}-`));
    const { server = {}, ...sections } = await configure(dir);
    // It keeps its port over a restart.
    const { host = "127.0.0.1", ...more } = server;
    const listen = `${host}:${await ownPort(host)}`;
    const config = { mode, server: { listen, admin_token: TOKEN, state_dir: join(dir, "state"), ...more }, ...sections };
    const [command, ...args] = [...inside, join(BUILT, "hydraneckwebrtc"), mode, "--config", join(dir, "config.yaml")];
    let child = null;
    let output = "";
    let exited = true;
    const role = { dir, token: TOKEN, output: () => output, signal: name => child.kill(name), isOver: () => exited };
    const begin = async () => {
        await writeFile(join(dir, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
        const from = output.length;
        exited = false;
        child = spawn(command, args, { env: { HOME: dir, PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
        child.stdout.on("data", bytes => { output += bytes; });
        child.stderr.on("data", bytes => { output += bytes; });
        child.on("exit", () => { exited = true; });
        role.pid = child.pid;
        const address = await until(`the ${mode} listens`, () => {
            if (exited) {
                throw new Error(output);
            }
            return output.slice(from).match(/listens on (\S+)/)?.[1];
        });
        role.origin = `http://${address}`;
    };
    const end = async signal => {
        if (!exited) {
            child.kill(signal);
            // A drain that goes on may take a minute.
            await until(`the ${mode} ends`, () => exited, 90_000);
        }
    };
    role.stop = async () => {
        await end("SIGTERM");
        await remove(dir);
    };
    role.kill = () => end("SIGKILL");
    /** Starts it again, with other `sections` where these are given. */
    role.begin = (sections = {}) => {
        Object.assign(config, sections);
        return begin();
    };
    role.killAndRestart = async () => {
        await role.kill();
        await role.begin();
    };
    role.api = async (method, path, body, token = TOKEN) => {
        const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
        const reply = await fetch(role.origin + path, { method, headers, body: body && JSON.stringify(body) });
        return { status: reply.status, json: await reply.json().catch(() => undefined) };
    };
    try {
        await begin();
    } catch (error) {
        await role.stop();
        throw error;
    }
    return role;
}
