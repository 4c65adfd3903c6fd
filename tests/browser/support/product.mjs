// The whole product with the stand-ins of tests: a controller, a worker with stream processes, and a body.
import { cp, mkdtemp, symlink } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBody } from "./body.mjs";
import { IS_FIREFOX, remove } from "./browser.mjs";
import { talkTo } from "./demo.mjs";
import { startRole } from "./role.mjs";
import { ownAddresses } from "./rooms.mjs";
import { BUILT, STATIC } from "./standin.mjs";
import { startWorker } from "./worker.mjs";

/** Where the body is. */
const BODY = "127.0.0.1";

/** How often the worker beats: not faster, because a worker is late after one and a half, and the machine may be a busy one. */
const HEARTBEAT = "600ms";

/** The stand-ins of moonlight-web-stream as a worker finds them, in a directory of their own that the caller removes. */
export async function installStandIns() {
    const dir = await mkdtemp(join(tmpdir(), "neck-install-"));
    await Promise.all(["web-server", "streamer"].map(name => symlink(join(BUILT, `stand-in-${name}`), join(dir, name))));
    await cp(STATIC, join(dir, "static"), { recursive: true });
    return dir;
}

/** Starts everything, and a session. What it returns has what `startDemo` returns; `pid` is the worker's. */
export async function startProduct({ forceRelay = false } = {}) {
    const ends = [];
    const stop = async () => {
        for (const end of ends.splice(0).reverse()) {
            await end();
        }
    };
    try {
        const install = await installStandIns();
        ends.push(() => remove(install));
        const body = await startBody(BODY, { already_paired: true });
        ends.push(body.stop);
        const controller = await startRole("controller", () => ({
            server: { operator_listen: "none" }, workers: { heartbeat_interval: HEARTBEAT }, bodies: { wireguard_networks: [] },
        }));
        ends.push(controller.stop);
        const back = await openWayBack();
        ends.push(back.stop);
        const worker = await startWorker({}, {
            controller: { url: controller.origin, token: controller.token, heartbeat_interval: HEARTBEAT },
            sessions: {
                web_server: join(install, "web-server"), allowed_bodies: ["127.0.0.0/8"], return_url: back.url, force_relay: forceRelay,
                // People open the URL when they are ready.
                connect_timeout: "24h",
            },
            bodies: { http_port: body.bodies.http_port, wireguard_networks: [] },
            // Firefox pairs nothing with a candidate on loopback.
            webrtc: IS_FIREFOX ? { nat1to1: ownAddresses() } : {},
        });
        ends.push(worker.stop);
        const output = () => `${controller.output()}\n${worker.output()}`;
        const product = talkTo({ pid: worker.pid, origin: controller.origin, token: controller.token, output, stop });
        const begin = () => product.create({ body_ip: BODY, experience: "Demo", replace: true });
        back.begin = async () => (await begin()).stream_url;
        const { stream_url: url, session_id: sessionId } = await begin();
        return Object.assign(product, { url, sessionId });
    } catch (error) {
        await stop();
        throw error;
    }
}

/** Where a session's way out leads: a page with a link to a new stream, which `begin` makes. */
async function openWayBack() {
    const back = {};
    const server = http.createServer(async (request, reply) => {
        if (request.url === "/start") {
            return reply.writeHead(303, { Location: await back.begin() }).end();
        }
        return reply.setHeader("Content-Type", "text/html").end('<!doctype html><title>Back</title><a href="/start">Start new stream</a>');
    });
    await new Promise(done => server.listen(0, "127.0.0.1", done));
    back.url = `http://127.0.0.1:${server.address().port}/`;
    back.stop = async () => {
        server.close();
        server.closeAllConnections();
    };
    return back;
}
