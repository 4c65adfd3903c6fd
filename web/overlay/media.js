// What arrives: the page's peers and its signalling socket, sampled. Knows nothing of what is done about it.

/** How often the peers are asked for their counters; more often for a moment after the signalling socket closed. */
const SAMPLE_MS = 500;
const HURRIED_SAMPLE_MS = 150;
const HURRY_MS = 4_000;

/** Timers that came this late were held back: the device slept, or the page lay in the background. That is no silence. */
const HELD_BACK_MS = 3_000;

/** Media that came within this time is arriving. */
const ARRIVES_MS = 3_000;

/** A data channel that brings less than this between two samples chats; it brings no picture. */
const CHATTER_BYTES = 500;

/** The candidate types that ICE has. Anything else is not passed on. */
const CANDIDATE_TYPES = ["host", "srflx", "prflx", "relay"];

/** Bytes, frames and packets of one peer's report, each stream of it by its id, and the candidate pair that carries it. */
function countersOf(report) {
    const sum = { bytes: 0, frames: 0, dropped: 0, received: 0, lost: 0, rtt: null, type: null, relay: null, streams: [] };
    let pair = null;
    for (const entry of report.values()) {
        if (entry.type === "inbound-rtp" || entry.type === "data-channel") {
            const kind = entry.type === "data-channel" ? "data" : entry.kind;
            sum.streams.push({ id: entry.id, kind, bytes: entry.bytesReceived ?? 0, frames: entry.framesDecoded ?? 0 });
        }
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
        const remote = report.get(pair.remoteCandidateId);
        sum.type = local.candidateType;
        sum.pair = CANDIDATE_TYPES.includes(remote?.candidateType) ? `${local.candidateType}-${remote.candidateType}` : null;
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

/** What each stream brought. They are never added up: one that ends would hide what another brings. */
class Growth {
    #streams = new Map();
    #mediaAt = 0;
    #pictureAt = 0;

    /** Takes the streams of all peers, by keys that no other stream ever has; the bytes that came since the last time. */
    take(streams, now) {
        const grown = streams.map(stream => this.#grown(stream));
        if (grown.some(({ media }) => media)) {
            this.#mediaAt = now;
        }
        // The picture's own streams, where there are any: sound goes on over a picture that stands still.
        const pictures = grown.filter(({ kind, known }) => kind === "video" && known.bytes > 0);
        const channels = grown.filter(({ kind }) => kind === "data");
        const shown = pictures.length > 0 ? pictures : channels.length > 0 ? channels : grown;
        if (shown.some(({ picture }) => picture)) {
            this.#pictureAt = now;
        }
        return grown.reduce((sum, { bytes }) => sum + bytes, 0);
    }

    /** Time passed in which nobody could watch the picture. Whether anything arrived then is not known. */
    forgive(time) {
        this.#pictureAt = this.#pictureAt > 0 ? Math.min(this.#pictureAt + time, performance.now()) : 0;
    }

    /** When anything arrived last, and when the picture moved last; 0: never. */
    mediaAt = () => this.#mediaAt;
    pictureAt = () => this.#pictureAt;

    #grown({ key, kind, bytes, frames }) {
        const before = this.#streams.get(key) ?? { bytes: 0, frames: 0 };
        const known = { bytes: Math.max(before.bytes, bytes), frames: Math.max(before.frames, frames) };
        this.#streams.set(key, known);
        const more = known.bytes - before.bytes;
        const media = kind === "data" ? more > CHATTER_BYTES : more > 0;
        // Frames, where the browser decodes them: bytes without a picture are no picture.
        const picture = known.frames > 0 ? known.frames > before.frames : media;
        return { kind, known, bytes: more, media, picture };
    }
}

class Media {
    #peers = new Map();
    #counted = 0;
    #socket = null;
    #socketBytes = 0;
    #lastFrame = 0;
    #heardAt = -Infinity;
    #closedAt = 0;
    #fatal = false;
    #listeners = new Set();
    #growth = new Growth();
    #received = store.get("bytes", 0);
    #type = store.get("candidate", null);
    #pair = null;
    #own = null;
    #sampledAt = performance.now();
    #hurryUntil = 0;
    #sampling = false;
    #timer = 0;

    /** The latest sample, or null. */
    latest = null;

    constructor(ownPeer) {
        this.#own = ownPeer;
    }

    start() {
        document.addEventListener("visibilitychange", () => {
            if (!document.hidden) {
                // What stood still in the background gets its time anew.
                this.#forgive(this.pictureSilence());
            }
            this.#hurry();
        });
        this.#sample();
    }

    /** Called with each sample. */
    listen(listener) {
        this.#listeners.add(listener);
    }

    peer(peer, changed) {
        this.#counted += 1;
        this.#peers.set(peer, this.#counted);
        peer.addEventListener("connectionstatechange", () => {
            if (isConnected(peer)) {
                this.#sample();
            }
            changed();
        });
    }

    socket(socket, changed) {
        this.#socket = socket;
        this.#fatal = false;
        socket.addEventListener("message", ({ data }) => {
            if (typeof data !== "string") {
                const bytes = data.byteLength ?? data.size ?? 0;
                this.#socketBytes += bytes;
                this.#received += bytes;
                this.#lastFrame = performance.now();
                this.#heardAt = this.#lastFrame;
            } else if (isFatal(data)) {
                this.#fatal = true;
                changed();
            }
        });
        // The page may close its old socket before it opens a new one: look after its own handlers ran.
        socket.addEventListener("close", () => setTimeout(() => {
            this.#closedAt = performance.now();
            this.#hurry();
            changed();
        }, 0));
    }

    /** Peers that are not closed. */
    peers() {
        for (const peer of this.#peers.keys()) {
            if (peer.connectionState === "closed" || peer.signalingState === "closed") {
                this.#peers.delete(peer);
            }
        }
        return [...this.#peers.keys()];
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

    /** For how long the socket has been closed; 0 while it is open, or when there is none. */
    socketClosedFor() {
        return this.socketIsClosed() ? Math.max(1, performance.now() - this.#closedAt) : 0;
    }

    /** Milliseconds since the picture moved; 0 when there was none yet, because then nothing stopped. */
    pictureSilence() {
        const at = Math.max(this.#growth.pictureAt(), this.#lastFrame);
        return at === 0 ? 0 : performance.now() - at;
    }

    /** Milliseconds since anything came by a peer; Infinity when nothing ever did. */
    peerSilence() {
        return this.#growth.mediaAt() === 0 ? Infinity : performance.now() - this.#growth.mediaAt();
    }

    /** Whether there ever was a picture, by either way. */
    hadPicture() {
        return this.#growth.pictureAt() > 0 || this.#lastFrame > 0;
    }

    /** Whether a picture came after this time. */
    hadPictureAfter(time) {
        return Math.max(this.#growth.pictureAt(), this.#lastFrame) > time;
    }

    /** Whether media arrives just now. */
    arrives() {
        return Math.min(performance.now() - this.#heardAt, this.peerSilence()) < ARRIVES_MS;
    }

    /** Whether the stream process said on its socket that there will be no stream. */
    isFatal() {
        return this.#fatal;
    }

    /** Media of this session that arrived so far, in bytes, earlier loads of the page included. */
    received() {
        return this.#received;
    }

    /** `relay`, `host`, … of the stream, else of the microphone; what was last known once they are gone. */
    candidateType() {
        return this.#type;
    }

    /** The types of both ends of the stream's path, the browser's first: `relay-host`; what was last known. */
    candidatePair() {
        return this.#pair;
    }

    /** Time passed that nobody could watch. */
    #forgive(time) {
        this.#growth.forgive(time);
        this.#lastFrame = this.#lastFrame > 0 ? Math.min(this.#lastFrame + time, performance.now()) : 0;
    }

    /** Something ended just now: whether the picture goes on is seen soon. */
    #hurry() {
        this.#hurryUntil = performance.now() + HURRY_MS;
        this.#sample();
    }

    async #sample() {
        clearTimeout(this.#timer);
        if (this.#sampling) {
            return;
        }
        this.#sampling = true;
        try {
            await this.#take();
        } finally {
            this.#sampling = false;
            const pause = performance.now() < this.#hurryUntil ? HURRIED_SAMPLE_MS : SAMPLE_MS;
            this.#timer = setTimeout(() => this.#sample(), pause);
        }
    }

    async #take() {
        const now = performance.now();
        if (now - this.#sampledAt > HELD_BACK_MS) {
            this.#forgive(now - this.#sampledAt);
        }
        this.#sampledAt = now;
        const peers = this.peers();
        const reports = await Promise.all(peers.map(peer => peer.getStats().catch(() => null)));
        const all = reports.map(report => report ? countersOf(report) : null);
        const streams = all.flatMap((each, index) => (each?.streams ?? [])
            .map(stream => ({ ...stream, key: `${this.#peers.get(peers[index])} ${stream.id}` })));
        this.#received += this.#growth.take(streams, performance.now());
        const counters = all.filter((each, index) => each && isConnected(peers[index]));
        const own = this.#own();
        const mic = own && isConnected(own) ? await own.getStats().then(countersOf, () => null) : null;
        const carried = counters.find(each => each.type) ?? mic;
        this.#pair = carried?.pair ?? this.#pair;
        if (carried?.type && carried.type !== this.#type) {
            this.#type = carried.type;
            store.set("candidate", this.#type);
        }
        this.#tell(counters, carried);
    }

    #tell(counters, carried) {
        const total = name => counters.reduce((sum, each) => sum + each[name], 0);
        const picture = document.querySelector("video")?.getVideoPlaybackQuality?.();
        const overSocket = total("bytes") === 0 && this.#socketBytes > 0;
        this.latest = {
            at: performance.now(),
            bytes: this.#received,
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

/** Whether a message of the signalling socket says that there will be no stream. Version-specific: 2.x. */
function isFatal(text) {
    if (!text.includes("DebugLog")) {
        return false;
    }
    try {
        return /^fatal/i.test(JSON.parse(text).DebugLog?.ty ?? "");
    } catch {
        return false;
    }
}
