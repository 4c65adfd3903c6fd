// Watches the stream, asks the server when something is wrong, and decides what the person sees.
//
//            broken, or trouble of a peer          server: ready, and the page answers
//   playing ───────────────────────────► asking ─────────────────────────────────────────► reload
//      ▲                                  │  ▲ │                     (more than MAX_RELOADS: lost)
//      └────────── connected again ───────┘  │ ├─ server: ended ──► ended
//      │                                     │ └─ GIVE_UP_MS without an answer ──► lost
//      ├─ every CALM_POLL_MS asks as well ───┘      (lost: "Try again" reloads)
//      └─ server says by itself: ended ────────────► ended
//
// Health is one of
//   fine     a peer is connected and brings media, or media comes over the socket
//   shaky    a peer is in trouble, or connected and silent: ICE is restarted where the page's peer can, it may recover
//   broken   the signalling socket closed and nothing brings media; or shaky for PEER_LOST_MS: only a reload helps

/** While all is well the server is asked this often; seldom while its events come. */
const CALM_POLL_MS = 10_000;
const CALM_POLL_WITH_EVENTS_MS = 60_000;

/** In trouble: quickly at first (a restart takes a second), then slower; the last one repeats. */
const TROUBLE_POLLS_MS = [300, 700, 1_000, 2_000, 3_000, 5_000];

/** Trouble of a peer shows after this long: ICE often recovers by itself before. */
const SHOW_TROUBLE_MS = 3_000;

/** A peer that stays in trouble this long is not coming back. */
const PEER_LOST_MS = 20_000;

/** A failed peer's ICE is restarted at once, one that is only disconnected after this long. */
const RESTART_ICE_MS = 5_000;

/** A connected peer that brought media and then nothing for this long is silent; streams bring sound all the time. */
const SILENT_MS = 6_000;

/** Media on the socket within this time means that the stream lives. */
const MEDIA_FRESH_MS = 3_000;

/** Trouble lasts at most this long before the person is asked. */
const GIVE_UP_MS = 180_000;

/** Automatic reloads in a row, and how long a stream must play to start the count anew. */
const MAX_RELOADS = 4;
const STABLE_MS = 30_000;

/** Each automatic reload waits this much longer than the one before. */
const RELOAD_PAUSE_MS = 1_000;

/** States of a session in which its page can be loaded. */
const OPEN_STATES = ["ready", "streaming", "idle"];

/** The count of automatic reloads, which must survive them. Without storage there are none. */
const reloads = {
    count: () => store.set("probe", 1) ? store.get("reloads", 0) : MAX_RELOADS,
    set: count => store.set("reloads", count),
};

class Watch {
    #show;
    #media;
    #events;
    #troubleSince = 0;
    #shownTrouble = false;
    #healthySince = 0;
    #asked = 0;
    #answers = 0;
    #sawRestart = false;
    #restartedIce = false;
    #timer = 0;
    #over = false;
    #leaving = false;

    /** How often the stream was visibly interrupted, reloads included. */
    disconnects = store.get("disconnects", 0);

    /**
     * `show` has `trouble(kind, hint)`, `fine()`, `ended(reason)`, `lost(again)`, `interrupted()`, `beforeReload()` and
     * `draining(seconds)`.
     */
    constructor(media, show) {
        this.#media = media;
        this.#show = show;
        this.#events = new Events({
            status: ({ status }) => this.#heard(status),
            draining: ({ seconds }) => this.#show.draining(Number(seconds) || 0),
            ended: ({ reason }) => this.#ended(reason),
            refused: () => this.#askIn(TROUBLE_POLLS_MS[0]),
        });
    }

    start() {
        setInterval(() => this.#look(), 1_000);
        this.#askIn(CALM_POLL_MS);
        window.addEventListener("load", () => this.#events.open());
        window.addEventListener("pagehide", () => {
            this.#leaving = true;
            this.#events.pause();
        });
        window.addEventListener("pageshow", () => {
            this.#leaving = false;
            if (document.readyState === "complete") {
                this.#events.open();
            }
        });
        window.addEventListener("online", () => {
            this.#look();
            this.#askIn(TROUBLE_POLLS_MS[0]);
        });
    }

    /** The person leaves, or it is over: nothing more is shown or asked. */
    stop() {
        this.#over = true;
        this.#events.close();
        clearTimeout(this.#timer);
    }

    /** Something of the stream changed: look at once. */
    look = () => this.#look();

    #peerIn(...states) {
        return this.#media.peers().some(peer => states.includes(peer.connectionState));
    }

    #health() {
        const media = this.#media;
        const lost = this.#troubleSince > 0 && performance.now() - this.#troubleSince > PEER_LOST_MS;
        if (media.socketSilence() < MEDIA_FRESH_MS && !media.socketIsClosed()) {
            return "fine";
        }
        if (this.#peerIn("connected")) {
            if (document.hidden || media.peerSilence() < SILENT_MS) {
                return "fine";
            }
            // Silence may be the program's own: reload for it once, not again and again.
            return media.socketIsClosed() || (lost && reloads.count() === 0) ? "broken" : "silent";
        }
        if (media.socketIsClosed()) {
            return "broken";
        }
        if (!this.#peerIn("disconnected", "failed")) {
            return "fine";
        }
        return lost ? "broken" : "shaky";
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
            this.#restartedIce = false;
            this.#askIn(TROUBLE_POLLS_MS[0]);
        }
        const waited = now - this.#troubleSince;
        if (health === "shaky" && (waited > RESTART_ICE_MS || this.#peerIn("failed"))) {
            this.#restartIce();
        }
        if (health !== "shaky" || waited > SHOW_TROUBLE_MS) {
            this.#showTrouble(health);
        }
    }

    #showTrouble(health) {
        if (!this.#shownTrouble) {
            this.#shownTrouble = true;
            this.disconnects += 1;
            store.set("disconnects", this.disconnects);
            this.#show.interrupted();
        }
        const hint = !navigator.onLine ? "reconnecting.offline"
            : health === "silent" ? "reconnecting.stalled"
                : this.#sawRestart ? "reconnecting.restarting" : "reconnecting.hint";
        this.#show.trouble(health === "broken" ? "cover" : "notice", say(hint));
    }

    /** Once per trouble. Without effect where the page does not listen for `negotiationneeded`. */
    async #restartIce() {
        if (this.#restartedIce) {
            return;
        }
        this.#restartedIce = true;
        await iceServers.renew();
        for (const peer of this.#media.peers()) {
            if (["disconnected", "failed"].includes(peer.connectionState)) {
                peer.restartIce?.();
            }
        }
    }

    #recovered() {
        const now = performance.now();
        if (this.#troubleSince > 0) {
            this.#troubleSince = 0;
            this.#shownTrouble = false;
            this.#show.fine();
            this.#askIn(CALM_POLL_MS);
        }
        this.#healthySince ||= now;
        if (now - this.#healthySince > STABLE_MS && (this.#media.hasSocket() || this.#peerIn("connected"))) {
            reloads.set(0);
            this.#healthySince = now;
        }
    }

    /** The server said how the session is. */
    #heard(status) {
        if (this.#over || this.#leaving) {
            return;
        }
        this.#sawRestart ||= !OPEN_STATES.includes(status) && this.#troubleSince > 0;
        this.#look();
        if (this.#troubleSince > 0) {
            this.#askIn(0);
        }
    }

    #askIn(delay) {
        if (this.#over) {
            return;
        }
        clearTimeout(this.#timer);
        const calm = delay === CALM_POLL_MS && this.#events.isOpen() ? CALM_POLL_WITH_EVENTS_MS : delay;
        // Spread, so that the pages of one server do not ask all at once when it comes back.
        this.#timer = setTimeout(() => this.#ask(), calm * (0.8 + 0.4 * Math.random()));
    }

    async #ask() {
        const answer = await askStatus();
        if (this.#over || this.#leaving) {
            return;
        }
        if (answer.ended) {
            this.#ended(answer.reason);
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
        const ready = answer.alive && OPEN_STATES.includes(answer.status);
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
        this.#show.beforeReload();
        this.#leaving = true;
        location.reload();
    }

    #ended(reason) {
        if (!this.#over && !this.#leaving) {
            this.stop();
            this.#show.ended(reason ?? "unknown");
        }
    }

    #lost() {
        this.stop();
        this.#show.lost(() => {
            reloads.set(0);
            location.reload();
        });
    }
}
