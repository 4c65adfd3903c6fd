// Proxies in front of a server, as people have them: one that passes no upgrades, and one that asks for a password.
import http from "node:http";
import net from "node:net";

function listening(server, sockets) {
    return new Promise(resolve => server.listen(0, "127.0.0.1", () => resolve({
        origin: `http://127.0.0.1:${server.address().port}`,
        stop: () => {
            sockets.forEach(socket => socket.destroy());
            return new Promise(done => server.close(done));
        },
    })));
}

/**
 * A proxy in front of `origin`. Without `upgrades` it speaks HTTP/1.1 and forgets `Upgrade`, as nginx does that nobody told
 * otherwise. With a `password` (`user:password`) everything is 401 without it.
 */
export function startProxy(origin, { upgrades = true, password } = {}) {
    const { hostname, port } = new URL(origin);
    const sockets = new Set();
    const wanted = password && `Basic ${Buffer.from(password).toString("base64")}`;
    const admitted = request => !wanted || request.headers.authorization === wanted;
    const server = http.createServer((request, reply) => {
        if (!admitted(request)) {
            reply.writeHead(401, { "WWW-Authenticate": 'Basic realm="neck"' }).end();
            return;
        }
        const { upgrade, connection, ...headers } = request.headers;
        const onward = http.request({ hostname, port, method: request.method, path: request.url, headers, agent: false },
            answer => {
                reply.writeHead(answer.statusCode, answer.headers);
                answer.pipe(reply);
            });
        onward.on("error", () => reply.destroy());
        reply.on("close", () => onward.destroy());
        request.pipe(onward);
    });
    server.on("connection", socket => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
    });
    if (upgrades) {
        server.on("upgrade", (request, socket, head) => {
            if (!admitted(request)) {
                socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            const onward = net.connect(port, hostname, () => {
                const fields = [];
                for (let at = 0; at < request.rawHeaders.length; at += 2) {
                    fields.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}\r\n`);
                }
                onward.write(`GET ${request.url} HTTP/1.1\r\n${fields.join("")}\r\n`);
                onward.write(head);
                onward.pipe(socket).pipe(onward);
            });
            sockets.add(onward);
            onward.on("error", () => socket.destroy());
            socket.on("close", () => onward.destroy());
        });
    }
    return listening(server, sockets);
}
