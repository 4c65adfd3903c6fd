// Brings a stream whose path broke back without a reload: asks the relay, restarts ICE, and says when that is hopeless.
//
//   idle ── needed ──► asking the relay ── silent ──► waiting for it (asked again and again, however long that takes)
//                            │ answers
//                            ▼
//                     restarting ICE ── the page makes no offer ──► hopeless (only a reload helps)
//                            │ it does
//                            ▼
//                     waiting RESTART_MS ── still broken, MAX_RESTARTS times ──► hopeless

/** A page that renegotiates makes its offer at once. Version-specific: 2.10 of moonlight-web-stream never does. */
const OFFER_MS = 1_000;

/** A restart of ICE through a relay takes a second or two. */
const RESTART_MS = 5_000;

/** Restarts before a reload is the better try. */
const MAX_RESTARTS = 2;

/** A relay that answers is asked again after this long, while the path may recover by itself. */
const ASK_AGAIN_MS = 2_000;

/** Between two looks at what a restart came to. */
const MEND_LOOK_MS = 100;

class Mender {
    #media;
    #busy = false;
    #restarts = 0;
    #epoch = 0;
    #askedAt = 0;

    /** No relay answers. */
    relayIsGone = false;

    /** Only a reload brings the stream back. */
    isHopeless = false;

    constructor(media) {
        this.#media = media;
    }

    /** All is well again: what was tried counts no more. */
    reset() {
        this.#epoch += 1;
        this.#restarts = 0;
        this.relayIsGone = false;
        this.isHopeless = false;
    }

    /**
     * One attempt, unless one is under way; `then` is called when something is known. `patient`: the path may recover by
     * itself, so ICE is left alone while the relay answers.
     */
    async mend(patient, then) {
        const soon = performance.now() - this.#askedAt < ASK_AGAIN_MS;
        if (this.#busy || this.isHopeless || soon && patient && !this.relayIsGone) {
            return;
        }
        this.#busy = true;
        this.#askedAt = performance.now();
        const epoch = this.#epoch;
        try {
            await this.#attempt(patient, () => this.#epoch !== epoch);
        } finally {
            this.#busy = false;
            then();
        }
    }

    async #attempt(patient, isOver) {
        // A relay that refuses what has expired (the device slept) only seems to be gone.
        if (this.relayIsGone || iceServers.isStale()) {
            await iceServers.renew();
        }
        const answers = await relayAnswers();
        if (isOver()) {
            return;
        }
        const cameBack = answers && this.relayIsGone;
        this.relayIsGone = !answers;
        if (!answers || patient && !cameBack) {
            return;
        }
        if (this.#restarts >= MAX_RESTARTS) {
            this.isHopeless = true;
            return;
        }
        this.#restarts += 1;
        const renegotiates = await this.#restart(isOver);
        if (!isOver() && !renegotiates) {
            this.isHopeless = true;
        }
    }

    /** False: the page takes no notice. */
    async #restart(isOver) {
        await iceServers.renew();
        const peers = this.#media.peers();
        const before = peers.map(negotiationOf);
        peers.forEach(peer => peer.restartIce?.());
        const offered = () => peers.some((peer, index) => negotiationOf(peer) !== before[index]);
        if (!await this.#until(() => isOver() || offered(), OFFER_MS)) {
            return false;
        }
        await this.#until(() => isOver(), RESTART_MS);
        return true;
    }

    /** Whether this came to pass in time. */
    async #until(check, limit) {
        const end = performance.now() + limit;
        while (!check()) {
            if (performance.now() > end) {
                return false;
            }
            await new Promise(done => setTimeout(done, MEND_LOOK_MS));
        }
        return true;
    }
}

/** Where a peer's negotiation stands, with the name of its own ICE credentials: another one after each restart. */
function negotiationOf(peer) {
    return `${peer.signalingState} ${peer.localDescription?.sdp.match(/^a=ice-ufrag:(\S+)/m)?.[1]}`;
}
