// A controller with two workers that hold rooms, and a coturn that knows the secret of the namespace that was made there.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { startCoturn } from "./coturn.mjs";
import { startRole, TOKEN } from "./role.mjs";
import { startWorker } from "./worker.mjs";

/** How often a worker beats: nobody is sent to one that is late, which it is after one and a half, on a busy machine too. */
const HEARTBEAT = "1s";

/** The namespace. */
const NAME = "myapp";

const startController = () => startRole("controller", () => ({
    server: { operator_listen: "none" }, workers: { heartbeat_interval: HEARTBEAT, heartbeat_timeout: "6s" },
}));

/** What signs credentials of a namespace, where the controller keeps it. */
const secretOf = async ({ dir }, namespace) =>
    JSON.parse(await readFile(join(dir, "state", "controller", "namespaces", `${namespace}.json`), "utf8")).secret;

/** Starts all of it. `link(room)` is what people open; `place(room)` the name of the worker that a room is on. */
export async function startRoomFleet() {
    const fleet = { workers: {} };
    fleet.stop = async () => {
        // A worker waits for a controller that it can tell of its end.
        await Promise.all(Object.values(fleet.workers).map(worker => worker.stop()));
        await fleet.controller?.stop();
        await fleet.coturn?.close();
    };
    /** The last words of all. */
    fleet.output = () => [fleet.controller, ...Object.values(fleet.workers)].map(role => role.output().slice(-3_000)).join("\n----\n");
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
        const coturn = fleet.coturn = await startCoturn({ secret: await secretOf(controller, NAME) });
        for (const name of ["one", "two"]) {
            fleet.workers[name] = await startWorker({}, {
                sessions: { port_range_start: 26_000 + process.pid % 4_000 + 100 * Object.keys(fleet.workers).length },
                server: { worker_id: name }, controller: { url: controller.origin, token: TOKEN, heartbeat_interval: HEARTBEAT },
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
