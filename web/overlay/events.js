// The server's own words about the session, as it says them (`_neck/events`), so that the page tells the truth at once
// even when everything else just broke. `Watch` asks `_neck/status` as well: this stream is only the faster of the two.
//
//   closed ── open() ──► connecting ──► open ── network error ──► connecting (by the browser itself)
//      ▲                     └── refused ──► waiting, OPEN_AGAIN_MS, doubled up to OPEN_AGAIN_MAX_MS ──► connecting
//      └── close(), or "ended" was heard

const OPEN_AGAIN_MS = 5_000;
const OPEN_AGAIN_MAX_MS = 300_000;

class Events {
    #source = null;
    #timer = 0;
    #pause = OPEN_AGAIN_MS;
    #hear;
    #closed = false;

    /** `hear` has `status`, `draining`, `moving`, `ended` (each gets the event's data) and `refused`. */
    constructor(hear) {
        this.#hear = hear;
    }

    /** Whether the server can reach us just now. */
    isOpen() {
        return this.#source?.readyState === 1;
    }

    open() {
        clearTimeout(this.#timer);
        if (this.#closed || this.#source || typeof EventSource !== "function") {
            return;
        }
        const source = new EventSource(BASE_URL + "_neck/events");
        this.#source = source;
        source.addEventListener("open", () => { this.#pause = OPEN_AGAIN_MS; });
        for (const type of ["status", "draining", "moving", "ended"]) {
            source.addEventListener(type, event => this.#heard(type, event.data));
        }
        source.addEventListener("error", () => {
            if (source.readyState === 2 && this.#source === source) {
                this.#source = null;
                this.#timer = setTimeout(() => this.open(), this.#pause);
                this.#pause = Math.min(this.#pause * 2, OPEN_AGAIN_MAX_MS);
                this.#hear.refused();
            }
        });
    }

    close() {
        this.#closed = true;
        this.pause();
    }

    /** Lets the connection go while the page is kept aside; `open()` takes it up again. */
    pause() {
        clearTimeout(this.#timer);
        this.#source?.close();
        this.#source = null;
    }

    #heard(type, text) {
        let data;
        try {
            data = JSON.parse(text);
        } catch {
            return;
        }
        if (data && typeof data === "object") {
            this.#hear[type](data);
        }
    }
}
