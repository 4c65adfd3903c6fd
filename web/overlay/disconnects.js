// Watches the stream, asks the server when something is wrong, and decides what the person sees.
//
//            broken, or trouble of a peer          server: ready, and the page answers
//   playing ───────────────────────────► asking ─────────────────────────────────────────► reload
//      ▲                                  │  ▲ │                  (more than MAX_RELOADS: stuck, in words)
//      └────────── connected again ───────┘  │ ├─ server: ended ──► ended
//      │                                     │ └─ GIVE_UP_MS of questions without an answer ──► lost
//      ├─ every CALM_POLL_MS asks as well ───┘      (lost, stuck: "Try again" reloads)
//      └─ server says by itself: ended ────────────► ended      lost is asked on: an answer reloads
//
// Health is one of
//   fine     a picture moves, or a peer is connected and none was due yet, or nobody looks
//   silent   a peer is connected, and its picture stands still
//   shaky    a peer is in trouble: ICE is restarted where the page's peer can, it may recover
//   waiting  the first picture is overdue
//   refused  the stream process says that there will be no stream, and nothing arrives
//   broken   only a reload helps: the process ended, the socket closed and nothing brings a picture, or mending is hopeless
//
// The server's answer decides, never the clock: a device that slept for an hour asks first. Time in which our timers were
// held back does not count.

/** While all is well the server is asked this often; seldom while its events come. */
const CALM_POLL_MS = 10_000;
const CALM_POLL_WITH_EVENTS_MS = 60_000;

/** In trouble: quickly at first (a restart takes a second), then slower; the last one repeats. */
const TROUBLE_POLLS_MS = [100, 300, 700, 1_000, 2_000, 3_000, 5_000];

/** How often we look. */
const LOOK_MS = 500;

/** Trouble of a peer shows after this long while no picture stands still: ICE often recovers by itself before. */
const SHOW_TROUBLE_MS = 3_000;

/** A peer that stays in trouble this long is not coming back. */
const PEER_LOST_MS = 20_000;

/** A failed peer's ICE is restarted at once, one that is only disconnected or silent after this long. */
const RESTART_ICE_MS = 4_000;

/**
 * A picture that stood still for this long is silent. Bodies send pictures all the time, also of a desktop at rest; other
 * engines send what they are given, and a slide show moves seldom.
 */
const SILENT_MS = SETTINGS.engine === "moonlight" ? 1_800 : 6_000;

/** The same once the signalling socket closed: a stream without both is over. */
const SILENT_WITHOUT_SOCKET_MS = 700;

/** A peer without a picture and without a socket may still get one within this time. */
const EMPTY_WITHOUT_SOCKET_MS = 5_000;

/** Media on the socket within this time means that the stream lives. */
const MEDIA_FRESH_MS = 1_800;

/** The first picture is overdue after this long, and not coming after that long. A slow start takes five seconds. */
const FIRST_PICTURE_MS = 8_000;
const NO_PICTURE_MS = 25_000;

/** Unanswered questions go on for this long before the person is asked. */
const GIVE_UP_MS = 180_000;

/** After that the server is still asked, this often. */
const LOST_POLL_MS = 5_000;

/** Automatic reloads in a row, and how long a stream must play to start the count anew. */
const MAX_RELOADS = 4;
const STABLE_MS = 30_000;

/** A stream that is refused, or never begins, is tried once more and not again. */
const MAX_STARTS = 1;

/** Each automatic reload waits this much longer than the one before. */
const RELOAD_PAUSE_MS = 1_000;

/** States of a session in which its page can be loaded. */
const OPEN_STATES = ["ready", "streaming", "idle"];

/** A count of automatic reloads, which must survive them. Without storage there are none. */
function reloadCount(name, without) {
    return {
        count: () => store.set("probe", 1) ? store.get(name, 0) : without,
        set: count => store.set(name, count),
    };
}

/** All of them, and those because the stream did not begin. */
const reloads = reloadCount("reloads", MAX_RELOADS);
const starts = reloadCount("starts", MAX_STARTS);

class Watch {
    #show;
    #media;
    #events;
    #mender;
    #troubleSince = 0;
    /** The same, without the time in which no relay answered: nothing can come back then. */
    #badSince = 0;
    #wasBroken = false;
    #unansweredSince = 0;
    #shownTrouble = false;
    #healthySince = 0;
    #begun = performance.now();
    #lookedAt = performance.now();
    #processGone = 0;
    #restarts = null;
    #asked = 0;
    #answers = 0;
    #sawRestart = false;
    /** The session is on its way to another worker. */
    #sawMove = false;
    #timer = 0;
    #over = false;
    #leaving = false;

    /** How often the stream was visibly interrupted, reloads included. */
    disconnects = store.get("disconnects", 0);

    /** What was seen at the last interruption of this load, and on which path; `null`: there was none. */
    lost = null;

    /**
     * `show` has `trouble(kind, title, hint)`, `fine()`, `ended(reason)`, `lost(again)`, `stuck(why, again)`, `interrupted()`,
     * `beforeReload()` and `draining(seconds)`.
     */
    constructor(media, show) {
        this.#media = media;
        this.#mender = new Mender(media);
        this.#show = show;
        this.#events = new Events({
            status: answer => this.#heard(answer),
            draining: ({ seconds }) => this.#show.draining(Number(seconds) || 0),
            moving: () => this.#moves(),
            ended: ({ reason }) => this.#ended(reason),
            refused: () => this.#askIn(TROUBLE_POLLS_MS[1]),
        });
    }

    start() {
        setInterval(() => this.#look(), LOOK_MS);
        this.#media.listen(() => this.#troubleSince > 0 && this.#look());
        this.#askIn(CALM_POLL_MS);
        window.addEventListener("load", () => this.#events.open());
        window.addEventListener("pagehide", () => {
            this.#leaving = true;
            this.#events.pause();
        });
        window.addEventListener("pageshow", event => this.#shown(event.persisted));
        const woken = () => {
            // Who was not looked at was not waited for.
            this.#begun = this.#media.hadPicture() ? this.#begun : performance.now();
            this.#look();
            this.#askIn(TROUBLE_POLLS_MS[0]);
        };
        window.addEventListener("online", woken);
        document.addEventListener("visibilitychange", () => document.hidden || woken());
    }

    /** The page was loaded, or comes back from where the browser kept it: its peers and its socket may be gone. */
    #shown(wasKept) {
        this.#leaving = false;
        if (document.readyState === "complete") {
            this.#events.open();
        }
        if (wasKept) {
            this.#look();
            this.#askIn(TROUBLE_POLLS_MS[0]);
        }
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
        if (this.#processGone > 0 && !media.hadPictureAfter(this.#processGone + MEDIA_FRESH_MS)) {
            return "broken";
        }
        if (media.socketSilence() < MEDIA_FRESH_MS && !media.socketIsClosed()) {
            return "fine";
        }
        if (media.isFatal() && !media.arrives()) {
            return "refused";
        }
        const lost = this.#badSince > 0 && performance.now() - this.#badSince > PEER_LOST_MS;
        const hopeless = lost || this.#mender.isHopeless;
        if (this.#peerIn("connected")) {
            return document.hidden ? "fine" : this.#connectedHealth(hopeless);
        }
        if (media.socketIsClosed()) {
            return "broken";
        }
        if (this.#peerIn("disconnected", "failed")) {
            return hopeless ? "broken" : "shaky";
        }
        return media.hadPicture() && !document.hidden ? this.#pictureHealth(hopeless) : this.#firstPicture();
    }

    #connectedHealth(hopeless) {
        const closedFor = this.#media.socketClosedFor();
        if (!this.#media.hadPicture()) {
            const late = closedFor > EMPTY_WITHOUT_SOCKET_MS && SETTINGS.engine === "moonlight";
            return late ? "broken" : this.#firstPicture();
        }
        if (closedFor > 0 && this.#media.pictureSilence() > SILENT_WITHOUT_SOCKET_MS) {
            return "broken";
        }
        return this.#pictureHealth(hopeless);
    }

    #pictureHealth(hopeless) {
        if (this.#media.pictureSilence() < SILENT_MS) {
            return "fine";
        }
        // Silence may be the program's own: reload for it once, not again and again.
        return hopeless && reloads.count() === 0 ? "broken" : "silent";
    }

    /** Only the stream page of moonlight-web-stream begins by itself; our player's page has its own words. */
    #firstPicture() {
        const begins = SETTINGS.engine === "moonlight" && (this.#media.hasSocket() || this.#media.peers().length > 0);
        const waited = this.#watched();
        if (!begins || document.hidden || this.#media.hadPicture() || waited < FIRST_PICTURE_MS) {
            return "fine";
        }
        return waited < NO_PICTURE_MS ? "waiting" : "broken";
    }

    /** For how long this load of the page has been watched. */
    #watched() {
        return performance.now() - this.#begun;
    }

    /** Time in which our timers were held back is nobody's silence. */
    #forgive(now) {
        const held = now - this.#lookedAt;
        this.#lookedAt = now;
        if (held > HELD_BACK_MS) {
            this.#begun += held;
            this.#troubleSince += this.#troubleSince > 0 ? held : 0;
            this.#badSince += this.#badSince > 0 ? held : 0;
            this.#unansweredSince += this.#unansweredSince > 0 ? held : 0;
        }
    }

    #look() {
        if (this.#over || this.#leaving) {
            return;
        }
        const now = performance.now();
        this.#forgive(now);
        const health = this.#health();
        if (health === "fine") {
            this.#recovered();
            return;
        }
        this.#healthySince = 0;
        if (this.#troubleSince === 0) {
            this.#troubleSince = now;
            this.#asked = 0;
            this.#answers = 0;
            this.#unansweredSince = 0;
            this.#sawRestart = this.#processGone > 0;
            this.#askIn(TROUBLE_POLLS_MS[0]);
        }
        this.#badSince = this.#badSince === 0 || this.#mender.relayIsGone ? now : this.#badSince;
        this.#askSoonWhenBroken(["broken", "refused"].includes(health));
        const waited = now - this.#troubleSince;
        if (health === "shaky" || health === "silent") {
            this.#mend(health, waited);
        }
        const moves = this.#media.hadPicture() && this.#media.pictureSilence() < SILENT_MS;
        if (health !== "shaky" || waited > SHOW_TROUBLE_MS && !moves) {
            this.#showTrouble(health);
        }
    }

    #askSoonWhenBroken(isBroken) {
        if (isBroken && !this.#wasBroken) {
            this.#asked = 0;
            this.#askIn(TROUBLE_POLLS_MS[0]);
        }
        this.#wasBroken = isBroken;
    }

    #mend(health, waited) {
        if (SETTINGS.engine !== "moonlight" && health === "silent") {
            return;
        }
        const patient = waited < RESTART_ICE_MS && !this.#peerIn("failed");
        this.#mender.mend(patient, this.look);
    }

    #showTrouble(health) {
        const begins = health === "waiting" || !this.#media.hadPicture() && ["refused", "broken"].includes(health);
        if (!this.#shownTrouble) {
            this.#shownTrouble = true;
            if (!begins) {
                this.disconnects += 1;
                store.set("disconnects", this.disconnects);
                this.lost = { why: this.#why(health), ...this.#path() };
                this.#show.interrupted();
            }
        }
        const kind = health === "broken" || health === "refused" ? "cover" : "notice";
        this.#show.trouble(kind, say(begins ? "starting" : "reconnecting"), this.#hint(health));
    }

    /** In one word, for operators. */
    #why(health) {
        if (!navigator.onLine) {
            return "offline";
        }
        return this.#sawRestart ? "restarting" : health;
    }

    #path() {
        const pair = this.#media.candidatePair();
        return pair === null ? {} : { pair };
    }

    #hint(health) {
        if (!navigator.onLine) {
            return say("reconnecting.offline");
        }
        if (this.#sawMove) {
            return say("reconnecting.moving");
        }
        if (this.#sawRestart) {
            return say("reconnecting.restarting");
        }
        if (health === "refused") {
            return say("starting.refused");
        }
        if (!this.#media.hadPicture()) {
            return say("starting.hint");
        }
        if (this.#mender.relayIsGone) {
            return say("reconnecting.relay");
        }
        return say(health === "silent" ? "reconnecting.stalled" : "reconnecting.hint");
    }

    #recovered() {
        const now = performance.now();
        if (this.#troubleSince > 0) {
            this.#troubleSince = 0;
            this.#badSince = 0;
            this.#wasBroken = false;
            this.#unansweredSince = 0;
            this.#processGone = 0;
            this.#sawMove = false;
            this.#shownTrouble = false;
            this.#mender.reset();
            this.#show.fine();
            this.#askIn(CALM_POLL_MS);
        }
        this.#healthySince ||= now;
        if (now - this.#healthySince > STABLE_MS && (this.#media.hasSocket() || this.#peerIn("connected"))) {
            reloads.set(0);
            starts.set(0);
            this.#healthySince = now;
        }
    }

    /** The session leaves its worker, or has left it: what feeds this page is gone, and the page of the next one is to be loaded. */
    #moves() {
        if (this.#over || this.#leaving) {
            return;
        }
        // It does not end with its worker's drain.
        this.#show.draining(0);
        this.#sawMove = true;
        this.#sawRestart = true;
        this.#unansweredSince = 0;
        this.#processGone = performance.now();
        this.#look();
    }

    /** The server said by itself how the session is. */
    #heard(answer) {
        if (this.#over || this.#leaving) {
            return;
        }
        this.#take(answer);
        this.#look();
        if (this.#troubleSince > 0) {
            this.#askIn(0);
        }
    }

    /** What the server knows of the process that feeds this page: one that ended, or lost its helper, sends nothing more. */
    #take({ status, restarts, streamers, source }) {
        const open = OPEN_STATES.includes(status);
        const another = this.#restarts !== null && restarts > this.#restarts;
        this.#restarts = restarts ?? this.#restarts;
        const proxied = SETTINGS.engine === "moonlight";
        if (!proxied) {
            // For our player: what keeps it from showing the source.
            document.documentElement.dataset.source = (source ?? []).join(" ");
        }
        const silent = this.#media.pictureSilence() > SILENT_MS;
        if (proxied && (!open || another)) {
            this.#processGone = performance.now();
        } else if (proxied && streamers === 0 && silent && this.#troubleSince > 0) {
            this.#processGone ||= performance.now() - MEDIA_FRESH_MS;
        }
        this.#sawRestart ||= (!open || another) && (proxied || this.#troubleSince > 0);
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
        const lost = this.#troubleSince > 0 && !this.#media.arrives();
        const answer = await askStatus({ lost });
        if (this.#over || this.#leaving) {
            return;
        }
        this.#forgive(performance.now());
        if (answer.ended) {
            this.#ended(answer.reason);
            return;
        }
        if (answer.moving) {
            this.#moves();
        }
        if (answer.alive) {
            this.#unansweredSince = 0;
            this.#take(answer);
            this.#look();
        }
        if (this.#troubleSince === 0) {
            this.#askIn(CALM_POLL_MS);
            return;
        }
        if (!answer.alive && !answer.moving) {
            this.#unansweredSince ||= performance.now();
            if (performance.now() - this.#unansweredSince > GIVE_UP_MS) {
                this.#lost();
                return;
            }
        }
        if (await this.#mayReload(answer)) {
            this.#reload();
            return;
        }
        this.#asked += 1;
        const next = TROUBLE_POLLS_MS[Math.min(this.#asked, TROUBLE_POLLS_MS.length - 1)];
        this.#askIn(Math.max(next, answer.retryMs ?? 0));
    }

    #needsReload() {
        return ["broken", "refused"].includes(this.#health());
    }

    /** Once if the server knows that the process ended, else twice in a row: the first may come from a dying one. */
    async #mayReload(answer) {
        const ready = answer.alive && OPEN_STATES.includes(answer.status);
        const answers = ready && this.#needsReload() && await pageAnswers();
        this.#answers = answers ? this.#answers + 1 : 0;
        const waited = performance.now() - this.#troubleSince >= reloads.count() * RELOAD_PAUSE_MS;
        return waited && this.#answers >= (this.#sawRestart || this.#processGone > 0 ? 1 : 2);
    }

    #reload() {
        if (this.#over || this.#leaving || !this.#needsReload()) {
            this.#askIn(CALM_POLL_MS);
            return;
        }
        const why = this.#whyNoStart();
        const count = reloads.count();
        if (why && starts.count() >= MAX_STARTS || count >= MAX_RELOADS) {
            this.#stuck(why ?? "unstable");
            return;
        }
        if (why) {
            starts.set(starts.count() + 1);
        }
        reloads.set(count + 1);
        this.#show.beforeReload();
        this.#leaving = true;
        location.reload();
    }

    /** Why this load of the page has no stream at all; null when it had one, or lost its socket. */
    #whyNoStart() {
        const media = this.#media;
        if (media.isFatal()) {
            return "refused";
        }
        return media.hadPicture() || media.socketIsClosed() || this.#sawRestart ? null : "no_picture";
    }

    #ended(reason) {
        if (!this.#over && !this.#leaving) {
            this.stop();
            this.#show.ended(reason ?? "unknown");
        }
    }

    /** The server cannot be reached. Once it can be, the page goes on by itself: its answer decides. */
    #lost() {
        this.stop();
        this.#show.lost(() => this.#again());
        const ask = async () => {
            const { alive, ended } = await askStatus({ lost: true });
            if (alive || ended) {
                this.#again();
            } else {
                setTimeout(ask, LOST_POLL_MS * (0.8 + 0.4 * Math.random()));
            }
        };
        ask();
    }

    /** The server is there, and the stream does not come. */
    #stuck(why) {
        this.stop();
        this.#show.stuck(why, () => this.#again());
    }

    #again() {
        reloads.set(0);
        starts.set(0);
        location.reload();
    }
}
