// Watches the stream, asks the server when something is wrong, and decides what the person sees.
//
//            broken, or trouble of a peer          server: ready, and the page answers
//   playing ───────────────────────────► asking ─────────────────────────────────────────► reload
//      ▲                                  │  ▲ │                     (more than MAX_RELOADS: lost)
//      └────────── connected again ───────┘  │ ├─ server: ended ──► ended
//      │                                     │ └─ GIVE_UP_MS without an answer ──► lost
//      └─ every 10 s asks as well ───────────┘      (lost: "Try again" reloads)
//
// "Broken": the signalling socket closed and no peer connection carries the stream. A peer in trouble does not
// count while media still comes over the socket: that is the page's own fallback.

/** While all is well the server is asked this often, so that an end shows even if the socket hangs. */
const CALM_POLL_MS = 10_000;

/** In trouble: quickly at first (a restart takes a second), then slower; the last one repeats. */
const TROUBLE_POLLS_MS = [300, 700, 1_000, 2_000, 3_000, 5_000];

/** One question may take this long. */
const ASK_LIMIT_MS = 5_000;

/** Trouble of a peer shows after this long: ICE often recovers by itself before. */
const SHOW_TROUBLE_MS = 3_000;

/** A peer that stays in trouble this long is not coming back; the page does not restart ICE. */
const PEER_LOST_MS = 20_000;

/** Media on the socket within this time means that the stream lives. */
const MEDIA_FRESH_MS = 3_000;

/** Trouble lasts at most this long before the person is asked. */
const GIVE_UP_MS = 180_000;

/** Automatic reloads in a row, and how long a stream must play to start the count anew. */
const MAX_RELOADS = 4;
const STABLE_MS = 30_000;

/** Each automatic reload waits this much longer than the one before. */
const RELOAD_PAUSE_MS = 1_000;

/** A `Retry-After` is believed up to this. */
const MAX_RETRY_AFTER_MS = 10_000;

/** Asks what became of the session. Never throws. */
async function askStatus() {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), ASK_LIMIT_MS);
    try {
        const reply = await fetch(SETTINGS.base + "_neck/status", {
            cache: "no-store", headers: { Accept: "application/json" }, signal: limit.signal,
        });
        if (reply.ok) {
            return { alive: true, status: (await reply.json()).status };
        }
        if (reply.status === 404) {
            const { reason } = await reply.json().catch(() => ({}));
            return { ended: true, reason: reason ?? "unknown" };
        }
        return { retryMs: Math.min(Number(reply.headers.get("Retry-After") ?? 0) * 1000, MAX_RETRY_AFTER_MS) };
    } catch {
        return {};
    } finally {
        clearTimeout(timer);
    }
}

/**
 * Whether a reload would find the page. Right after a crash the server may not know of it yet, and a page that is
 * loaded then would be an error page without us: so see `#mayReload`.
 */
async function pageAnswers() {
    try {
        return (await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } })).ok;
    } catch {
        return false;
    }
}

/** The count of automatic reloads, which must survive them. Without storage there are none. */
const reloads = {
    key: "neck-reloads-" + SETTINGS.base,
    count() {
        try {
            return Number(sessionStorage.getItem(this.key) ?? 0);
        } catch {
            return MAX_RELOADS;
        }
    },
    set(count) {
        try {
            sessionStorage.setItem(this.key, String(count));
        } catch {
            // count() then says that there are none left.
        }
    },
};

class Watch {
    #overlay;
    #peers = new Set();
    #socket = null;
    #lastMedia = 0;
    #troubleSince = 0;
    #healthySince = 0;
    #asked = 0;
    #answers = 0;
    #sawRestart = false;
    #timer = 0;
    #over = false;
    #leaving = false;

    constructor(overlay) {
        this.#overlay = overlay;
        setInterval(() => this.#look(), 1_000);
        this.#askIn(CALM_POLL_MS);
        window.addEventListener("pagehide", () => { this.#leaving = true; });
        window.addEventListener("pageshow", () => { this.#leaving = false; });
        window.addEventListener("online", () => this.#look());
    }

    /** The person leaves by the exit button: nothing more is shown or asked. */
    stop() {
        this.#over = true;
        clearTimeout(this.#timer);
    }

    peer(peer) {
        this.#peers.add(peer);
        peer.addEventListener("connectionstatechange", () => this.#look());
    }

    socket(socket) {
        this.#socket = socket;
        socket.addEventListener("message", event => {
            if (typeof event.data !== "string") {
                this.#lastMedia = performance.now();
            }
        });
        // The page may close its old socket before it opens a new one: look after its own handlers ran.
        socket.addEventListener("close", () => setTimeout(() => this.#look(), 0));
    }

    #peerIn(...states) {
        return [...this.#peers].some(peer => states.includes(peer.connectionState));
    }

    /** "fine", "shaky" (may recover), "broken" (will not). */
    #health() {
        const now = performance.now();
        for (const peer of this.#peers) {
            if (peer.connectionState === "closed") {
                this.#peers.delete(peer);
            }
        }
        if (this.#peerIn("connected")) {
            return "fine";
        }
        if (this.#socket && this.#socket.readyState >= WebSocket.CLOSING) {
            return "broken";
        }
        if (this.#lastMedia > 0 && now - this.#lastMedia < MEDIA_FRESH_MS) {
            return "fine";
        }
        if (!this.#peerIn("disconnected", "failed")) {
            return "fine";
        }
        return this.#troubleSince > 0 && now - this.#troubleSince > PEER_LOST_MS ? "broken" : "shaky";
    }

    #look() {
        if (this.#over || this.#leaving) {
            return;
        }
        const health = this.#health();
        if (health === "fine") {
            this.#recovered();
            return;
        }
        const now = performance.now();
        this.#healthySince = 0;
        if (this.#troubleSince === 0) {
            this.#troubleSince = now;
            this.#asked = 0;
            this.#answers = 0;
            this.#sawRestart = false;
            this.#askIn(TROUBLE_POLLS_MS[0]);
        }
        if (health === "broken" || now - this.#troubleSince > SHOW_TROUBLE_MS) {
            const kind = health === "broken" ? "cover" : "notice";
            this.#overlay.notice(kind, TEXT.reconnecting, navigator.onLine ? TEXT.reconnectingHint : TEXT.offlineHint);
        }
    }

    #recovered() {
        const now = performance.now();
        if (this.#troubleSince > 0) {
            this.#troubleSince = 0;
            this.#overlay.clear();
            this.#askIn(CALM_POLL_MS);
        }
        this.#healthySince ||= now;
        if (now - this.#healthySince > STABLE_MS && this.#socket) {
            reloads.set(0);
            this.#healthySince = now;
        }
    }

    #askIn(delay) {
        clearTimeout(this.#timer);
        // Spread, so that the pages of one server do not ask all at once when it comes back.
        this.#timer = setTimeout(() => this.#ask(), delay * (0.8 + 0.4 * Math.random()));
    }

    async #ask() {
        const answer = await askStatus();
        if (this.#over || this.#leaving) {
            return;
        }
        if (answer.ended) {
            this.#end(TEXT.ended, reasonInWords(answer.reason));
            return;
        }
        if (this.#troubleSince === 0) {
            this.#askIn(CALM_POLL_MS);
            return;
        }
        if (performance.now() - this.#troubleSince > GIVE_UP_MS) {
            this.#lost();
            return;
        }
        if (await this.#mayReload(answer)) {
            this.#reload();
            return;
        }
        this.#asked += 1;
        const next = TROUBLE_POLLS_MS[Math.min(this.#asked, TROUBLE_POLLS_MS.length - 1)];
        this.#askIn(Math.max(next, answer.retryMs ?? 0));
    }

    /** Once if the server was seen restarting the stream, else twice in a row: the first may come from a dying one. */
    async #mayReload(answer) {
        const ready = answer.alive && ["ready", "streaming", "idle"].includes(answer.status);
        this.#sawRestart ||= answer.alive && !ready;
        const answers = ready && this.#health() === "broken" && await pageAnswers();
        this.#answers = answers ? this.#answers + 1 : 0;
        const waited = performance.now() - this.#troubleSince >= reloads.count() * RELOAD_PAUSE_MS;
        return waited && this.#answers >= (this.#sawRestart ? 1 : 2);
    }

    #reload() {
        if (this.#over || this.#leaving || this.#health() !== "broken") {
            this.#askIn(CALM_POLL_MS);
            return;
        }
        const count = reloads.count();
        if (count >= MAX_RELOADS) {
            this.#lost();
            return;
        }
        reloads.set(count + 1);
        this.#leaving = true;
        location.reload();
    }

    #lost() {
        this.#end(TEXT.lost, TEXT.reason.lost, () => {
            reloads.set(0);
            location.reload();
        });
    }

    #end(title, text, again) {
        this.stop();
        this.#overlay.card(title, text, again);
    }
}
