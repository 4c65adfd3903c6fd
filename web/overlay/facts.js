// Tells the server what only the page knows, for the session's record. The last word counts. The record is of the owner's
// page: one that only watches says nothing.

/** Facts that come together are told together. */
const FACTS_PAUSE_MS = 1_000;

/**
 * While media arrives the page says so this often: then the server knows that a person is here, whatever became of the
 * signalling socket. It believes a page for 30 s.
 */
const BEAT_MS = 10_000;

/** This load of the page, told apart from others by a name that says nothing. */
const PAGE = [...crypto.getRandomValues(new Uint8Array(8))].map(byte => byte.toString(16).padStart(2, "0")).join("");

class Facts {
    #media;
    #watch;
    #type = null;
    #timer = 0;
    #beatAt = 0;
    #hadSocket = false;

    constructor(media, watch) {
        this.#media = media;
        this.#watch = watch;
        media.listen(({ type }) => {
            if (type && type !== this.#type) {
                this.#type = type;
                this.tell();
            }
            this.#beat();
        });
        window.addEventListener("pagehide", () => this.tellNow());
    }

    /** Soon. */
    tell() {
        if (SETTINGS.viewer) {
            return;
        }
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => call("POST", "_neck/facts", { body: this.#facts(), keepalive: true }), FACTS_PAUSE_MS);
    }

    /** While the page goes, or the session just did. */
    tellNow() {
        if (SETTINGS.viewer) {
            return;
        }
        clearTimeout(this.#timer);
        this.#beatAt = 0;
        sendBeacon("_neck/facts", this.#facts({ leaving: true }));
    }

    /** When media begins to arrive, when the socket is lost while it does, and then now and then. */
    #beat() {
        const socket = this.#hasSocket();
        const lost = this.#hadSocket && !socket;
        this.#hadSocket = socket;
        const now = performance.now();
        if (!SETTINGS.viewer && this.#media.arrives() && (lost || this.#beatAt === 0 || now - this.#beatAt >= BEAT_MS)) {
            this.#beatAt = now;
            call("POST", "_neck/facts", { body: this.#facts(), keepalive: true });
        }
    }

    #hasSocket() {
        return this.#media.hasSocket() && !this.#media.socketIsClosed();
    }

    #facts({ leaving = false } = {}) {
        const media = !leaving && this.#media.arrives();
        const rtt = this.#media.latest?.rtt ?? null;
        store.set("bytes", this.#media.received());
        return {
            candidate_type: this.#media.candidateType() ?? "none",
            disconnects: this.#watch.disconnects,
            bytes_received: this.#media.received(),
            ...(this.#watch.lost ? { lost: this.#watch.lost } : {}),
            ...(media || leaving ? { beat: { page: PAGE, media, socket: this.#hasSocket() } } : {}),
            ...(rtt === null ? {} : { rtt_ms: Math.round(rtt * 1000) }),
        };
    }
}
