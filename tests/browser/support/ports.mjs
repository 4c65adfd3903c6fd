// Ports that stay free until whoever asked for one takes it, or takes it again after a restart: they are below those that
// the kernel gives to every socket that leaves the choice to it, and below the ranges of workers' children.
import { createSocket } from "node:dgram";
import net from "node:net";

const FIRST = 16_000;
const COUNT = 9_000;
// Each file of tests is a process of its own, and two run at once.
let next = process.pid * 131 % COUNT;

/** A port that no socket of this machine has. Each call tells another one. `host` may be an address of another network. */
export async function ownPort(host = "127.0.0.1") {
    for (let tries = 0; tries < COUNT; tries += 1) {
        const port = FIRST + next;
        next = (next + 1) % COUNT;
        if (await isFree(port, host)) {
            return port;
        }
    }
    throw new Error(`no free port from ${FIRST} on`);
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
