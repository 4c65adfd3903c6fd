// Ports that stay free until whoever asked for one takes it, or takes it again after a restart: they are below those that
// the kernel gives to every socket that leaves the choice to it, and below the ranges of workers' children.
import { createSocket } from "node:dgram";
import net from "node:net";

const FIRST = 16_000;
const COUNT = 9_000;
/** Nobody listens here: who has a port of this address has it on all others, until its process ends. */
const CLAIMS = "127.255.255.254";
// Each file of tests is a process of its own, and two run at once.
let next = process.pid * 131 % COUNT;

/** A port that no socket of this machine has. Each call tells another one. `host` may be an address of another network. */
export async function ownPort(host = "127.0.0.1") {
    for (let tries = 0; tries < COUNT; tries += 1) {
        const port = FIRST + next;
        next = (next + 1) % COUNT;
        if (await isClaimed(port) && await isFree(port, host)) {
            return port;
        }
    }
    throw new Error(`no free port from ${FIRST} on`);
}

/** Takes it from other programs of tests; they may hold it themselves. */
function isClaimed(port) {
    const claim = createSocket("udp4").unref();
    return new Promise(resolve => {
        claim.once("error", () => claim.close(() => resolve(false)));
        claim.bind(port, CLAIMS, () => resolve(true));
    });
}

async function isFree(port, host) {
    const server = net.createServer();
    const socket = createSocket("udp4");
    const taken = await Promise.all([
        failureOf(server, done => server.listen(port, host, done)),
        failureOf(socket, done => socket.bind(port, host, done)),
    ]);
    return !taken.includes("EADDRINUSE");
}

/** Binds and lets go; the code of what stood in the way. */
function failureOf(bound, bind) {
    return new Promise(resolve => {
        bound.once("error", error => bound.close(() => resolve(error.code)));
        bind(() => bound.close(() => resolve(undefined)));
    });
}
