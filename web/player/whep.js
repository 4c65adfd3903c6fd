// A WHEP client (draft-ietf-wish-whep): one peer connection, its session URL, trickle and ICE restart by PATCH.
//
//   open() ── POST offer ──▶ 201 ──▶ media … trouble ── restart() ── PATCH ──▶ 200 ──▶ media
//     └─ 409, 429, 503: Refused with the pause asked for · 404: over · else: Refused for good

/** The endpoint did not answer with a session. `pause`: seconds until it is worth trying again; null: never. */
class Refused extends Error {
    constructor(status, pause) {
        super(`refused with ${status}`);
        this.status = status;
        this.pause = pause;
    }
}

/** Statuses after which the same offer may be taken later. */
const LATER = [409, 429, 502, 503, 504];

/** How long one call may take. */
const CALL_MS = 10_000;

/** Candidates gathered within this time go in one PATCH. */
const GATHER_MS = 50;

class Whep {
    #url;
    #session = null;
    #etag = "*";
    #waiting = [];
    #timer = 0;

    constructor(url, onTrack, onState) {
        this.#url = absolute(url);
        this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
        this.peer.addTransceiver("video", { direction: "recvonly" });
        this.peer.addTransceiver("audio", { direction: "recvonly" });
        this.peer.addEventListener("track", event => onTrack(event.track));
        this.peer.addEventListener("connectionstatechange", () => onState(this.peer.connectionState));
        this.peer.addEventListener("icecandidate", ({ candidate }) => this.#gathered(candidate));
    }

    async open() {
        await this.peer.setLocalDescription(await this.peer.createOffer());
        const reply = await call(this.#url, {
            method: "POST", headers: { "Content-Type": "application/sdp" }, body: this.peer.localDescription.sdp,
        });
        if (reply.status !== 201) {
            const seconds = Number(reply.headers.get("Retry-After")) || 2;
            throw new Refused(reply.status, LATER.includes(reply.status) ? seconds : null);
        }
        this.#session = absolute(reply.headers.get("Location"));
        this.#etag = reply.headers.get("ETag") ?? "*";
        await this.peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
        this.#trickle();
    }

    /** Looks for another way to the same session. False: there is none, begin anew. */
    async restart() {
        if (this.#session === null) {
            return false;
        }
        const before = this.peer.remoteDescription.sdp;
        this.#waiting = [];
        await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart: true }));
        const reply = await this.#patch(fragment(this.peer.localDescription.sdp, []));
        if (reply.status !== 200) {
            return false;
        }
        this.#etag = reply.headers.get("ETag") ?? "*";
        await this.peer.setRemoteDescription({ type: "answer", sdp: merged(before, await reply.text()) });
        return true;
    }

    /** Ends it here and there; also while the page goes away. */
    close() {
        clearTimeout(this.#timer);
        this.peer.close();
        if (this.#session !== null) {
            fetch(this.#session, { method: "DELETE", keepalive: true }).catch(() => {});
            this.#session = null;
        }
    }

    /** Where media was looked for: relays, when only they may be used, else the server's addresses. */
    tried() {
        const { iceTransportPolicy, iceServers } = this.peer.getConfiguration();
        if (iceTransportPolicy === "relay") {
            return [...new Set((iceServers ?? []).flatMap(({ urls }) => urls).filter(url => /^turns?:/.test(url)))];
        }
        const lines = this.peer.remoteDescription?.sdp.match(/^a=candidate:.*$/gm) ?? [];
        const places = lines.map(one => one.split(" ")).map(([, , transport, , address, port]) =>
            `${address.includes(":") ? `[${address}]` : address}:${port}/${transport.toLowerCase()}`);
        return [...new Set(places)];
    }

    #gathered(candidate) {
        if (candidate?.candidate) {
            this.#waiting.push(candidate);
            this.#trickle();
        }
    }

    #trickle() {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
            if (this.#session !== null && this.#waiting.length > 0) {
                const candidates = this.#waiting.splice(0);
                // What gets lost is made up for by the checks we send.
                this.#patch(fragment(this.peer.localDescription.sdp, candidates)).catch(() => {});
            }
        }, GATHER_MS);
    }

    #patch(body) {
        const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": this.#etag };
        return call(this.#session, { method: "PATCH", headers, body });
    }
}

/** An address beside the page's, without a user name and password that the page's may have: `fetch` refuses those. */
function absolute(url) {
    return new URL(url, location.origin + location.pathname).href;
}

async function call(url, options) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), CALL_MS);
    try {
        return await fetch(url, { ...options, signal: limit.signal, cache: "no-store" });
    } finally {
        clearTimeout(timer);
    }
}

/** The first line of this kind, without its end. */
function line(sdp, start) {
    return sdp.split(/\r?\n/).find(one => one.startsWith(start)) ?? "";
}

/** A fragment (RFC 8840) with the credentials of a description and these candidates. All media share one transport. */
function fragment(sdp, candidates) {
    const lines = [line(sdp, "a=ice-ufrag:"), line(sdp, "a=ice-pwd:"), line(sdp, "m="), line(sdp, "a=mid:"),
        ...candidates.map(candidate => `a=${candidate.candidate}`)];
    return lines.map(one => `${one}\r\n`).join("");
}

/** The answer of before with the credentials and candidates of a fragment. */
function merged(answer, part) {
    const candidates = part.split(/\r?\n/).filter(one => one.startsWith("a=candidate:"));
    let first = true;
    const lines = answer.split(/\r?\n/).filter(one => one !== "" && !one.startsWith("a=candidate:")).flatMap(one => {
        if (one.startsWith("a=ice-ufrag:")) {
            return [line(part, "a=ice-ufrag:")];
        }
        if (one.startsWith("a=ice-pwd:")) {
            return [line(part, "a=ice-pwd:")];
        }
        if (one.startsWith("a=mid:") && first) {
            first = false;
            return [one, ...candidates];
        }
        return [one];
    });
    return lines.map(one => `${one}\r\n`).join("");
}
