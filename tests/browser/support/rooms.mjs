// A worker with rooms, and a namespace that its controller might have sent.
import { createHash } from "node:crypto";
import { networkInterfaces } from "node:os";
import { IS_FIREFOX } from "./browser.mjs";
import { SECRET } from "./coturn.mjs";
import { startWorker } from "./worker.mjs";

/** Opens the rooms of the namespace. */
export const ROOM_TOKEN = "neckroom_of-browser-tests-0123456789";

/** The namespace `myapp`, relayed by these TURN servers, with credentials that live for `ttl` seconds. */
export const namespace = (urls, ttl) => ({
    version: 1, name: "myapp", enabled: true, enabled_at: 1_750_000_000, secret: SECRET, ttl, turn_urls: urls,
    tokens: [{ id: "t1", role: "member", created_at: 1_750_000_000, hash: createHash("sha256").update(ROOM_TOKEN).digest("hex") }],
});

/** Addresses of this machine that are not of loopback. What goes to them stays here. */
export const ownAddresses = () => Object.values(networkInterfaces()).flat().filter(one => !one.internal && one.family === "IPv4").map(one => one.address);

/** Starts the worker. Without `coturn` there is no relay, and members come directly. */
export function startRooms({ coturn = null, ttl = 600, host = "127.0.0.1", inside = [], webrtc = {} } = {}) {
    // Firefox pairs nothing with a candidate on loopback.
    const direct = IS_FIREFOX ? { listen: ownAddresses() } : {};
    const relayed = coturn === null ? direct : { relays: [`${host}/32`], listen: [host] };
    return startWorker({}, {
        namespaces: [namespace(coturn?.urls ?? [], ttl)], host, inside, webrtc,
        rooms: { enabled: true, media_port: 0, ...relayed },
    });
}
