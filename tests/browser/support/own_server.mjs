// What the product's own server answers below a session, played by tests: each answer can be set, each call is kept.

/** Paths that are ours; everything else is the stream process's. */
const OURS = ["quit", "rating", "mic", "mic/offer", "_neck/facts", "_neck/ice", "_neck/events"];

/** Makes `session` play our server. */
export function playServer(session) {
    const streams = new Set();
    Object.assign(session, {
        /** Every call to one of our paths: {method, path, type, body}. */
        calls: [],
        /** "POST rating" → [status, object, headers], or a function of the parsed body that gives one. */
        answers: { "POST quit": [202, {}], "POST _neck/facts": [204], "POST rating": [200, { stars: 0, changeable_seconds: 60 }] },
        /** Whether `_neck/events` is there. */
        hasEvents: false,
        /** How many pages listen to it, and how many ever did: the one of a load that was left may still be among the first. */
        listeners: () => streams.size,
        listened: 0,
        /** Says something to every page that listens. */
        emit(type, data) {
            streams.forEach(stream => stream.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`));
        },
        called: (method, path) => session.calls.filter(call => call.method === method && call.path === path),
        answersItself(request, reply, path) {
            if (!OURS.includes(path)) {
                return false;
            }
            if (path === "_neck/events" && session.hasEvents) {
                listen(reply);
            } else {
                take(request, reply, path);
            }
            return true;
        },
    });

    function listen(reply) {
        reply.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        reply.write("retry: 1000\n\n");
        streams.add(reply);
        session.listened += 1;
        reply.on("close", () => streams.delete(reply));
    }

    async function take(request, reply, path) {
        let text = "";
        try {
            for await (const bytes of request) {
                text += bytes;
            }
        } catch {
            // The page went while it spoke.
            return;
        }
        const body = text === "" ? null : JSON.parse(text);
        const { method } = request;
        session.calls.push({ method, path, type: request.headers["content-type"], body });
        const prepared = session.answers[`${method} ${path}`] ?? [404, { error: "no such thing" }];
        const [status, answer, headers] = typeof prepared === "function" ? await prepared(body) : prepared;
        reply.writeHead(status, { "Content-Type": "application/json", ...headers });
        reply.end(answer === undefined ? "" : JSON.stringify(answer));
    }
}
