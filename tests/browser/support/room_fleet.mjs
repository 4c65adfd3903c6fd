// A controller with two workers that hold rooms, and a coturn that knows the secret of the namespace that was made there.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { startCoturn } from "./coturn.mjs";
import { BUILT } from "./standin.mjs";
import { startWorker } from "./worker.mjs";

const TOKEN = "browser-test-token-0123456789";

/** The namespace. */
const NAME = "myapp";

/** A controller on a port of its own, which it keeps over a restart. */
async function startController() {
    const dir = await mkdtemp(join(tmpdir(), "neck-controller-"));
    const file = join(dir, "config.yaml");
    const config = {
        mode: "controller",
        server: { listen: "127.0.0.1:0", admin_token: TOKEN, state_dir: join(dir, "state"), operator_listen: "none" },
        workers: { heartbeat_interval: "300ms", heartbeat_timeout: "3s" },
    };
    let child = null;
    let output = "";
    let exited = true;
    const controller = { output: () => output };
    const begin = async () => {
        await writeFile(file, JSON.stringify(config), { mode: 0o600 });
        const from = output.length;
        exited = false;
        child = spawn(join(BUILT, "hydraneckwebrtc"), ["controller", "--config", file], { env: { HOME: dir }, stdio: ["ignore", "pipe", "pipe"] });
        child.stdout.on("data", bytes => { output += bytes; });
        child.stderr.on("data", bytes => { output += bytes; });
        child.on("exit", () => { exited = true; });
        const address = await until("the controller listens", () => {
            if (exited) {
                throw new Error(output);
            }
            return output.slice(from).match(/listens on (\S+)/)?.[1];
        }, 30_000);
        config.server.listen = address;
        controller.origin = `http://${address}`;
    };
    const end = async signal => {
        if (!exited) {
            child.kill(signal);
            await until("the controller ends", () => exited, 30_000);
        }
    };
    controller.kill = () => end("SIGKILL");
    /** It takes its time to know every room: where a worker is heard late, on a busy machine, it would else begin a room of that elsewhere. */
    controller.begin = () => {
        config.workers = { heartbeat_interval: "20s", heartbeat_timeout: "80s" };
        return begin();
    };
    controller.stop = async () => {
        await end("SIGTERM");
        await rm(dir, { recursive: true, force: true });
    };
    controller.secret = async () => JSON.parse(await readFile(join(dir, "state", "controller", "namespaces", `${NAME}.json`), "utf8")).secret;
    controller.api = async (method, path, body, token = TOKEN) => {
        const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
        const reply = await fetch(controller.origin + path, { method, headers, body: body && JSON.stringify(body) });
        return { status: reply.status, json: await reply.json().catch(() => undefined) };
    };
    try {
        await begin();
    } catch (error) {
        await controller.stop();
        throw error;
    }
    return controller;
}

/** Starts all of it. `link(room)` is what people open; `place(room)` the name of the worker that a room is on. */
export async function startRoomFleet() {
    const fleet = { workers: {} };
    fleet.stop = async () => {
        // A worker waits for a controller that it can tell of its end.
        await Promise.all(Object.values(fleet.workers).map(worker => worker.stop()));
        await fleet.controller?.stop();
        await fleet.coturn?.close();
    };
    /** Both workers are there and relay; the controller knows every room. */
    fleet.untilReady = () => until("both workers hold rooms and relay for them", async () => {
        const { json } = await fleet.controller.api("GET", `/api/v1/namespaces/${NAME}/webrtc`);
        const ready = (nodes, field) => nodes?.filter(node => node[field]).length === 2;
        const isReady = (await fleet.controller.api("GET", "/readyz")).status === 200;
        return isReady && ready(json.sfu_nodes, "sfu_up") && ready(json.turn_nodes, "turn_up");
    }, 60_000);
    try {
        const controller = fleet.controller = await startController();
        const made = await controller.api("PUT", `/api/v1/namespaces/${NAME}/webrtc`, {});
        const token = await controller.api("POST", `/api/v1/namespaces/${NAME}/tokens`, { role: "member" });
        if (made.status !== 201 || token.status !== 201) {
            throw new Error(`${made.status} ${token.status}\n${controller.output()}`);
        }
        const coturn = fleet.coturn = await startCoturn({ secret: await controller.secret() });
        for (const name of ["one", "two"]) {
            fleet.workers[name] = await startWorker({}, {
                sessions: { port_range_start: 26_000 + process.pid % 4_000 + 100 * Object.keys(fleet.workers).length },
                server: { worker_id: name }, controller: { url: controller.origin, token: TOKEN, heartbeat_interval: "300ms" },
                rooms: { enabled: true, media_port: 0, relays: ["127.0.0.1/32"], listen: ["127.0.0.1"] },
                turn: { secret: "a-secret-of-sessions-0123456789", urls: coturn.urls }, drain: { timeout: "30s" },
            });
        }
        fleet.token = token.json.token;
        fleet.link = room => `${controller.origin}/rooms/#room=${room}&token=${token.json.token}`;
        fleet.place = async room => {
            const { json } = await controller.api("GET", `/v1/webrtc/rooms?room_id=${room}`, undefined, token.json.token);
            return json?.rooms?.[0]?.worker_id;
        };
        await fleet.untilReady();
    } catch (error) {
        await fleet.stop();
        throw error;
    }
    return fleet;
}
