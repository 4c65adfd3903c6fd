// What arrives: the page's peers and its signalling socket, sampled. Knows nothing of what is done about it.

/** How often the peers are asked for their counters. */
const SAMPLE_MS = 1_000;

/** The candidate types that ICE has. Anything else is not passed on. */
const CANDIDATE_TYPES = ["host", "srflx", "prflx", "relay"];

/** Bytes, frames and packets of one peer's report, and the candidate pair that carries it. */
function countersOf(report) {
    const sum = { bytes: 0, frames: 0, dropped: 0, received: 0, lost: 0, rtt: null, type: null, relay: null };
    let pair = null;
    for (const entry of report.values()) {
        if (entry.type === "inbound-rtp") {
            sum.bytes += entry.bytesReceived ?? 0;
            sum.frames += entry.framesDecoded ?? 0;
            sum.dropped += entry.framesDropped ?? 0;
            sum.received += entry.packetsReceived ?? 0;
            sum.lost += Math.max(0, entry.packetsLost ?? 0);
        } else if (entry.type === "data-channel") {
            sum.bytes += entry.bytesReceived ?? 0;
        } else if (entry.type === "transport") {
            pair = report.get(entry.selectedCandidatePairId) ?? pair;
        } else if (entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded") {
            // Firefox has no transport entry that names it.
            pair ??= entry;
        }
    }
    const local = pair && report.get(pair.localCandidateId);
    if (local && CANDIDATE_TYPES.includes(local.candidateType)) {
        sum.type = local.candidateType;
        sum.rtt = pair.currentRoundTripTime ?? null;
        sum.relay = local.candidateType === "relay" ? addressOf(local) : null;
    }
    return sum;
}

/** The relay's address as the browser tells it; Firefox tells the server's URL only. */
function addressOf(candidate) {
    const host = candidate.address ?? candidate.ip;
    if (host) {
        return `${host.includes(":") ? `[${host}]` : host}:${candidate.port}`;
    }
    return candidate.url ?? null;
}

function isConnected(peer) {
    return (peer.connectionState ?? peer.iceConnectionState) === "connected" || peer.iceConnectionState === "completed";
}

class Media {
    #peers = new Set();
    #socket = null;
    #socketBytes = 0;
    #lastFrame = 0;
    #listeners = new Set();
    #growth = { bytes: 0, at: 0 };
    #before = { bytes: 0, kept: store.get("bytes", 0) };
    #type = store.get("candidate", null);
    #own = null;

    /** The latest sample, or null. */
    latest = null;

    constructor(ownPeer) {
        this.#own = ownPeer;
    }

    start() {
        setInterval(() => this.#sample(), SAMPLE_MS);
    }

    /** Called with each sample. */
    listen(listener) {
        this.#listeners.add(listener);
    }

    peer(peer, changed) {
        this.#peers.add(peer);
        peer.addEventListener("connectionstatechange", () => {
            if (isConnected(peer)) {
                this.#sample();
            }
            changed();
        });
    }

    socket(socket, changed) {
        this.#socket = socket;
        socket.addEventListener("message", ({ data }) => {
            if (typeof data !== "string") {
                this.#socketBytes += data.byteLength ?? data.size ?? 0;
                this.#lastFrame = performance.now();
            }
        });
        // The page may close its old socket before it opens a new one: look after its own handlers ran.
        socket.addEventListener("close", () => setTimeout(changed, 0));
    }

    /** Peers that are not closed. */
    peers() {
        for (const peer of this.#peers) {
            if (peer.connectionState === "closed" || peer.signalingState === "closed") {
                this.#peers.delete(peer);
            }
        }
        return [...this.#peers];
    }

    hasSocket() {
        return this.#socket !== null;
    }

    socketIsClosed() {
        return this.#socket !== null && this.#socket.readyState >= WebSocket.CLOSING;
    }

    /** Milliseconds since the socket last brought media; Infinity when it never did. */
    socketSilence() {
        return this.#lastFrame === 0 ? Infinity : performance.now() - this.#lastFrame;
    }

    /** Milliseconds since connected peers last brought media; 0 when none did yet, because then nothing stopped. */
    peerSilence() {
        return this.#growth.at === 0 ? 0 : performance.now() - this.#growth.at;
    }

    /** Media of this session that arrived so far, in bytes, earlier loads of the page included. */
    received() {
        return this.#before.kept;
    }

    /** `relay`, `host`, … of the stream, else of the microphone; what was last known once they are gone. */
    candidateType() {
        return this.#type;
    }

    async #sample() {
        const connected = this.peers().filter(isConnected);
        const reports = await Promise.all(connected.map(peer => peer.getStats().catch(() => null)));
        const counters = reports.filter(report => report).map(countersOf);
        const bytes = counters.reduce((sum, each) => sum + each.bytes, 0);
        if (bytes > this.#growth.bytes) {
            this.#growth = { bytes, at: performance.now() };
        } else if (bytes < this.#growth.bytes || connected.length === 0) {
            this.#growth = { bytes, at: 0 };
        }
        const own = this.#own();
        const mic = own && isConnected(own) ? countersOf(await own.getStats()) : null;
        const carried = counters.find(each => each.type) ?? mic;
        if (carried?.type && carried.type !== this.#type) {
            this.#type = carried.type;
            store.set("candidate", this.#type);
        }
        this.#tell(counters, carried, bytes);
    }

    #tell(counters, carried, bytes) {
        const total = name => counters.reduce((sum, each) => sum + each[name], 0);
        const picture = document.querySelector("video")?.getVideoPlaybackQuality?.();
        const overSocket = bytes === 0 && this.#socketBytes > 0;
        const all = bytes + this.#socketBytes;
        // Counters of a peer go with it.
        this.#before.kept += Math.max(0, all - this.#before.bytes);
        this.#before.bytes = all;
        this.latest = {
            at: performance.now(),
            bytes: all,
            frames: overSocket ? picture?.totalVideoFrames ?? 0 : total("frames"),
            dropped: overSocket ? picture?.droppedVideoFrames ?? 0 : total("dropped"),
            received: total("received"), lost: total("lost"), overSocket,
            rtt: carried?.rtt ?? null, type: carried?.type ?? null, relay: carried?.relay ?? null,
        };
        for (const listener of this.#listeners) {
            listener(this.latest);
        }
    }
}
