// Calls to the server, all of them below the session's base. None of them throws.

/** One call may take this long. */
const CALL_LIMIT_MS = 5_000;

/** A `Retry-After` is believed up to this. */
const MAX_RETRY_AFTER_MS = 10_000;

/**
 * Sends a request; `body` goes as JSON. The answer has `status` (0 when there was none), `ok`, `json` (an object, empty
 * when the reply had none) and `retryMs`.
 */
async function call(method, path, { body, keepalive = false, limitMs = CALL_LIMIT_MS } = {}) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), limitMs);
    const headers = { Accept: "application/json" };
    if (body !== undefined) {
        headers["Content-Type"] = "application/json";
    }
    try {
        const reply = await fetch(BASE_URL + path, {
            method, headers, keepalive, cache: "no-store", signal: limit.signal,
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        const json = await reply.json().catch(() => null);
        const retryMs = Math.min(Number(reply.headers.get("Retry-After") ?? 0) * 1000 || 0, MAX_RETRY_AFTER_MS);
        return { status: reply.status, ok: reply.ok, json: json ?? {}, retryMs };
    } catch {
        return { status: 0, ok: false, json: {}, retryMs: 0 };
    } finally {
        clearTimeout(timer);
    }
}

/** Sends while the page goes away. As JSON, because the server takes nothing else without a token. */
function sendBeacon(path, body) {
    const blob = new Blob([JSON.stringify(body)], { type: "application/json" });
    return navigator.sendBeacon?.(BASE_URL + path, blob) ?? false;
}

/**
 * Asks what became of the session. `lost`: nothing arrives here. A controller that does not hear of the session's worker starts
 * it anew elsewhere only then, for a worker that it cannot reach may still be streaming.
 */
async function askStatus({ lost = false } = {}) {
    const { status, ok, json, retryMs } = await call("GET", lost ? "_neck/status?lost" : "_neck/status");
    if (ok) {
        return { alive: true, status: json.status, restarts: json.restarts, streamers: json.streamers, source: json.source };
    }
    if (status === 503 && json.status === "moving") {
        return { moving: true, retryMs };
    }
    return status === 404 ? { ended: true, reason: json.reason ?? "unknown" } : { retryMs };
}

/**
 * Whether a reload would find the page. Right after a crash the server may not know of it yet, and a page that is
 * loaded then would be an error page without us: so see `Watch`.
 */
async function pageAnswers() {
    try {
        return (await fetch(HERE, { cache: "no-store", headers: { Accept: "text/html" } })).ok;
    } catch {
        return false;
    }
}
