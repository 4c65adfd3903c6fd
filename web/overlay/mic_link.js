// The way of the voice: one peer connection to the server, which it keeps alive.
//
//   connecting ── connected ──► live ── disconnected TROUBLE_MS, or failed ──► trouble
//       │                        ▲ ▲                                            │ │
//       │                        │ └── connected again ── ICE restart (PATCH) ◄─┘ │
//       │                        └──── connected ──────── new offer, if 404  ◄────┘
//       └── refused, or GIVE_UP ──► over("failed" | "busy" | "taken")  ◄──────────┘
//
// Whatever happens, the input belongs to `Mic`; close() ends the peer only.

/** Candidates of a relay take one round trip each; what comes later is sent by PATCH. */
const GATHER_MS = 1_500;

/** A connection that is only disconnected for this long often comes back by itself. */
const MIC_TROUBLE_MS = 2_500;

/** Pauses between attempts to bring the connection back. */
const MIC_RETRY_MS = [0, 1_000, 2_000, 4_000, 8_000];

/** A connection that did not come within this time does not come. */
const MIC_CONNECT_MS = 15_000;

/** The server answers an offer within this time. */
const OFFER_LIMIT_MS = 10_000;

/** Bits per second of the voice. */
const VOICE_BITRATE = 40_000;

/** While ours is broken, packets that arrive between two questions are somebody else's. Silence sends one in 400 ms. */
const OTHERS_MS = 1_200;

/** The server's answer, with what the encoder is to do: mono, 20 ms a packet, nothing sent in silence, resilient. */
function asSpeech(sdp) {
    const type = sdp.match(/^a=rtpmap:(\d+) opus\/48000/mi)?.[1];
    if (!type) {
        return sdp;
    }
    const wanted = { minptime: 20, useinbandfec: 1, usedtx: 1, stereo: 0, maxaveragebitrate: VOICE_BITRATE };
    const lines = sdp.split(/\r?\n/).filter(line => !line.startsWith("a=ptime:"));
    const at = lines.findIndex(line => line.startsWith(`a=fmtp:${type} `));
    const told = at < 0 ? [] : lines.splice(at, 1)[0].slice(`a=fmtp:${type} `.length).split(";").map(pair => pair.trim().split("="));
    const all = { ...Object.fromEntries(told.filter(([name]) => name)), ...wanted };
    const parameters = Object.entries(all).map(([name, value]) => `${name}=${value}`).join(";");
    const map = lines.findIndex(line => line.startsWith(`a=rtpmap:${type} `));
    lines.splice(map + 1, 0, `a=fmtp:${type} ${parameters}`, "a=ptime:20");
    return lines.join("\r\n");
}

const pause = ms => new Promise(done => setTimeout(done, ms));

class MicLink {
    #peer = null;
    #sender = null;
    #track = null;
    #tell;
    #closed = false;
    #repairing = false;
    #told = false;

    /** `tell` hears "connecting", "live", "trouble", and at the end "failed", "busy" or "taken". */
    constructor(tell) {
        this.#tell = tell;
    }

    get peer() {
        return this.#peer;
    }

    async connect(track) {
        this.#track = track;
        this.#become("connecting");
        await iceServers.renew();
        await this.#offerAnew();
    }

    /** Another device, or another setting of it: the connection does not notice. */
    async replace(track) {
        this.#track = track;
        await this.#sender?.replaceTrack(track);
    }

    close() {
        this.#closed = true;
        this.#peer?.close();
        if (this.#told) {
            this.#told = false;
            call("DELETE", "mic", { keepalive: true });
        }
    }

    #become(state) {
        if (!this.#closed) {
            this.#tell(state);
        }
    }

    #over(state) {
        if (!this.#closed) {
            // Somebody else's microphone is not ours to stop.
            this.#told &&= state !== "taken";
            this.#tell(state);
        }
    }

    async #offerAnew() {
        this.#peer?.close();
        const peer = makePeer();
        this.#peer = peer;
        this.#sender = peer.addTransceiver(this.#track, { direction: "sendonly" }).sender;
        const changed = () => this.#changed(peer);
        peer.addEventListener("connectionstatechange", changed);
        peer.addEventListener("iceconnectionstatechange", changed);
        setTimeout(() => this.#late(peer), MIC_CONNECT_MS);
        const answer = await this.#exchange(peer, "POST", "mic/offer");
        if (this.#closed || peer !== this.#peer || answer === "done") {
            return;
        }
        if (answer.status === 429 || answer.status === 503) {
            this.#over("busy");
        } else if (!this.#repairing) {
            this.#over("failed");
        }
    }

    /** "done", or what the server said instead of an answer. */
    async #exchange(peer, method, path, options) {
        try {
            await peer.setLocalDescription(await peer.createOffer(options));
            await this.#gathered(peer);
            const late = this.#sendLate(peer);
            const body = { type: "offer", sdp: peer.localDescription.sdp };
            const answer = await call(method, path, { body, limitMs: OFFER_LIMIT_MS });
            if (!answer.ok || typeof answer.json.sdp !== "string") {
                return answer;
            }
            this.#told = true;
            if (this.#closed) {
                // Turned off while the server was thinking.
                call("DELETE", "mic", { keepalive: true });
                return "done";
            }
            await peer.setRemoteDescription({ type: "answer", sdp: asSpeech(answer.json.sdp) });
            late();
            return "done";
        } catch {
            return { status: 0 };
        }
    }

    async #gathered(peer) {
        const complete = new Promise(done => peer.addEventListener("icegatheringstatechange", () => {
            if (peer.iceGatheringState === "complete") {
                done();
            }
        }));
        if (peer.iceGatheringState !== "complete") {
            await Promise.race([complete, pause(GATHER_MS)]);
        }
    }

    /** Keeps candidates that come after the offer was written; the function it gives sends them, now and later. */
    #sendLate(peer) {
        const waiting = [];
        let open = false;
        const send = candidate => call("PATCH", "mic", { body: { candidate: candidate.candidate, sdpMid: candidate.sdpMid } });
        peer.addEventListener("icecandidate", ({ candidate }) => {
            if (candidate?.candidate && open) {
                send(candidate);
            } else if (candidate?.candidate) {
                waiting.push(candidate);
            }
        });
        return () => {
            open = true;
            waiting.forEach(send);
        };
    }

    #late(peer) {
        if (peer === this.#peer && !this.#closed && !this.#repairing && !isConnected(peer)) {
            this.#over("failed");
        }
    }

    #changed(peer) {
        if (peer !== this.#peer || this.#closed) {
            return;
        }
        if (isConnected(peer)) {
            this.#become("live");
        } else if (["failed", "closed"].includes(peer.connectionState)) {
            this.#repair(0);
        } else if (peer.iceConnectionState === "disconnected") {
            this.#repair(MIC_TROUBLE_MS);
        }
    }

    async #repair(patience) {
        if (this.#repairing) {
            return;
        }
        this.#repairing = true;
        await pause(patience);
        for (const delay of MIC_RETRY_MS) {
            if (!this.#needsRepair()) {
                break;
            }
            this.#become("trouble");
            await pause(delay);
            if (await this.#isTaken()) {
                this.#over("taken");
                break;
            }
            await this.#attempt();
        }
        this.#repairing = false;
        if (!this.#closed && this.#needsRepair()) {
            this.#over("failed");
        }
    }

    #needsRepair() {
        return !this.#closed && !isConnected(this.#peer);
    }

    async #attempt() {
        await iceServers.renew();
        const peer = this.#peer;
        const dead = ["closed", "failed"].includes(peer.connectionState) && peer.iceConnectionState !== "disconnected"
            && peer.iceConnectionState !== "failed";
        const answer = dead ? { status: 404 } : await this.#exchange(peer, "PATCH", "mic", { iceRestart: true });
        if (answer !== "done" && answer.status > 0 && !this.#closed) {
            await this.#offerAnew();
        }
        for (let waited = 0; waited < MIC_TROUBLE_MS && this.#needsRepair(); waited += 100) {
            await pause(100);
        }
    }

    /** The server hears a microphone, and it is not ours. */
    async #isTaken() {
        const before = await call("GET", "mic");
        if (!before.ok || before.json.state !== "live") {
            return false;
        }
        await pause(OTHERS_MS);
        const after = await call("GET", "mic");
        return after.ok && this.#needsRepair() && after.json.packets > before.json.packets;
    }
}
