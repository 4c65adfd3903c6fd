// Tells the server what only the page knows, for the session's record. The last word counts. The record is of the owner's
// page: one that only watches says nothing.

/** Facts that come together are told together. */
const FACTS_PAUSE_MS = 1_000;

class Facts {
    #media;
    #watch;
    #type = null;
    #timer = 0;

    constructor(media, watch) {
        this.#media = media;
        this.#watch = watch;
        media.listen(({ type }) => {
            if (type && type !== this.#type) {
                this.#type = type;
                this.tell();
            }
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
        sendBeacon("_neck/facts", this.#facts());
    }

    #facts() {
        const rtt = this.#media.latest?.rtt ?? null;
        store.set("bytes", this.#media.received());
        return {
            candidate_type: this.#media.candidateType() ?? "none",
            disconnects: this.#watch.disconnects,
            bytes_received: this.#media.received(),
            ...(rtt === null ? {} : { rtt_ms: Math.round(rtt * 1000) }),
        };
    }
}
