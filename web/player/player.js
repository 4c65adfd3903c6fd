// The page of a session whose stream is ours: keeps a WHEP connection, shows where it stands, and three controls.
//
//   connecting ──▶ playing ⇄ frozen (connected, no new pictures), or unshown: the server knows why
//       ▲  │ refused: waiting, full ── pause ──▶ connecting · unplayable, over: final
//       └──┴── reconnecting: ICE restart first, then a new connection with growing pauses ◀── trouble
//                └── after a while without success: unreachable, which says what was tried, and goes on trying

/** Pauses between attempts in milliseconds: the last is kept. Each is shortened by up to a third, so that many viewers of
 * one server do not come back at the same moment. */
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000];

/** A connection that is "disconnected" often comes back by itself. */
const TROUBLE_MS = 2_000;

/** How long an ICE restart may take before a new connection is tried. */
const RESTART_MS = 8_000;

/** Without a connection for this long the person is told what was tried. */
const TELL_MS = 8_000;

/** Pictures are looked at this often; so many looks without a new one are frozen, and so many are a lost connection. */
const LOOK_MS = 1_000;
const FROZEN = 3;
const LOST = 30;

/** After so many looks without a packet and without an answer to a check the way is gone: browsers say so only seconds later. Checks
 * are answered each 2.5 s while it is there. */
const SILENT = 4;

/** What one connection may take; a relay that comes back is not found by one that was begun before. Later ones may take longer, for
 * networks that do. */
const CONNECT_MS = 6_000;
const LONGER_MS = 2_000;

/** After this long without a moving pointer or a key the bar steps back. */
const CALM_MS = 4_000;

/** What the buttons show, drawn on a field of 24 by 24 as the dock's are. */
const SPEAKER = "M4 9.5v5h3.5l4.5 4v-13l-4.5 4H4Z";
const PICTURES = {
    sound: `${SPEAKER} M15.5 9a4.5 4.5 0 0 1 0 6 M18 6.5a8 8 0 0 1 0 11`,
    muted: `${SPEAKER} M16 9.5l5 5 M21 9.5l-5 5`,
    full: "M9 4H4v5 M15 4h5v5 M20 15v5h-5 M9 20H4v-5",
    window: "M9 4v5H4 M15 4v5h5 M20 15h-5v5 M4 15h5v5",
};

const part = id => document.getElementById(id);
const video = part("stream");

class Player {
    #link = null;
    #attempt = 0;
    #timer = 0;
    #frames = 0;
    #still = 0;
    #heard = 0;
    #silent = 0;
    #since = performance.now();

    constructor() {
        video.srcObject = new MediaStream();
        this.#connect();
        setInterval(() => this.#look(), LOOK_MS);
        addEventListener("pagehide", () => this.#drop());
        addEventListener("pageshow", event => event.persisted && this.#connect());
        addEventListener("online", () => this.#link === null && this.#connect());
    }

    #state(name) {
        document.body.dataset.state = name;
        part("words").textContent = name === "playing" ? "" : WORDS[name];
        part("tried").textContent = "";
    }

    /** There is no connection yet, or no more. */
    #noConnection() {
        if (performance.now() - this.#since < TELL_MS) {
            this.#state(this.#attempt === 0 ? "connecting" : "reconnecting");
            return;
        }
        this.#state("unreachable");
        const tried = this.#link?.tried() ?? [];
        part("tried").textContent = WORDS.tried.replace("{list}", () => (tried.length > 0 ? tried : [location.host]).join(", "));
    }

    async #connect() {
        this.#drop();
        this.#noConnection();
        const link = new Whep("whep", track => this.#track(track), state => this.#changed(link, state));
        this.#link = link;
        try {
            await link.open();
            this.#giveTime(link);
        } catch (error) {
            if (this.#link === link) {
                this.#refused(error);
            }
        }
    }

    /** For the connection; the browser gives up much later. */
    #giveTime(link) {
        if (this.#link !== link || link.peer.connectionState === "connected") {
            return;
        }
        clearTimeout(this.#timer);
        const limit = CONNECT_MS + LONGER_MS * Math.min(this.#attempt, PAUSES.length - 1);
        this.#timer = setTimeout(() => {
            if (this.#link === link && link.peer.connectionState !== "connected") {
                this.#again();
            }
        }, limit);
    }

    #refused(error) {
        this.#drop();
        if (error instanceof Refused) {
            // It answers: what comes next is counted from here.
            this.#since = performance.now();
        }
        if (error instanceof Refused && error.pause === null) {
            this.#state(error.status === 404 ? "over" : "unplayable");
            return;
        }
        if (error instanceof Refused) {
            this.#state(error.status === 409 ? "waiting" : "full");
            this.#later(error.pause * 1_000);
            return;
        }
        this.#again();
    }

    #again() {
        const pause = PAUSES[Math.min(this.#attempt, PAUSES.length - 1)];
        this.#attempt += 1;
        this.#noConnection();
        this.#later(pause * (1 - Math.random() / 3));
    }

    #later(pause) {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#connect(), pause);
    }

    #drop() {
        clearTimeout(this.#timer);
        this.#link?.close();
        this.#link = null;
    }

    #track(track) {
        const stream = video.srcObject;
        stream.getTracks().filter(other => other.kind === track.kind).forEach(other => stream.removeTrack(other));
        stream.addTrack(track);
        play();
    }

    #changed(link, state) {
        if (this.#link !== link) {
            return;
        }
        clearTimeout(this.#timer);
        if (state === "connected") {
            this.#attempt = 0;
            this.#still = 0;
            this.#silent = 0;
        } else if (state === "disconnected") {
            this.#timer = setTimeout(() => this.#restart(link), TROUBLE_MS);
        } else if (state === "failed") {
            this.#restart(link);
        }
    }

    async #restart(link) {
        this.#attempt ||= 1;
        this.#noConnection();
        // "connected" clears this.
        this.#timer = setTimeout(() => this.#link === link && this.#connect(), RESTART_MS);
        const begun = await link.restart().catch(() => false);
        if (!begun && this.#link === link) {
            this.#drop();
            this.#again();
        }
    }

    /** Whether anything arrives: media, or answers to checks. When nothing does, ICE is restarted before the browser notices. */
    #listen(link, stats) {
        const answers = stats.find(one => one.type === "candidate-pair" && one.nominated)?.responsesReceived;
        const packets = stats.filter(one => one.type === "inbound-rtp").map(one => one.packetsReceived ?? 0);
        const heard = packets.reduce((sum, one) => sum + one, answers);
        // Not every browser counts answers.
        this.#silent = answers === undefined || heard !== this.#heard ? 0 : this.#silent + 1;
        if (heard > this.#heard && this.#attempt > 0) {
            // A restart that ended before the browser had said that there was trouble.
            clearTimeout(this.#timer);
            this.#attempt = 0;
        }
        this.#heard = heard;
        if (this.#silent === SILENT) {
            this.#restart(link);
        }
    }

    /** What the server finds wrong with what the source sends, as the overlay heard it. */
    #note() {
        const [trouble] = (document.documentElement.dataset.source ?? "").split(" ");
        part("note").textContent = WORDS[trouble] ?? "";
        return trouble !== "";
    }

    /** Whether pictures move. */
    async #look() {
        const link = this.#link;
        if (link?.peer.connectionState !== "connected") {
            const { state } = document.body.dataset;
            if (["connecting", "reconnecting"].includes(state) && performance.now() - this.#since >= TELL_MS) {
                this.#noConnection();
            }
            return;
        }
        this.#since = performance.now();
        if (document.hidden) {
            return;
        }
        const stats = await link.peer.getStats();
        if (this.#link !== link) {
            return;
        }
        this.#listen(link, [...stats.values()]);
        const frames = [...stats.values()].find(one => one.type === "inbound-rtp" && one.kind === "video")?.framesDecoded ?? 0;
        const moves = frames !== this.#frames;
        this.#frames = frames;
        this.#still = moves ? 0 : this.#still + 1;
        const trouble = this.#note();
        if (moves) {
            this.#state("playing");
        } else if (this.#still >= LOST) {
            this.#still = 0;
            this.#connect();
        } else if (this.#still >= FROZEN) {
            this.#state(trouble ? "unshown" : "frozen");
        }
    }
}

/** Browsers let a page play without sound; with sound only after a click, or when the person comes here often. */
async function play() {
    try {
        await video.play();
        part("play").hidden = true;
    } catch (error) {
        part("play").hidden = error.name !== "NotAllowedError";
    }
    showSound();
}

/** A button's picture and what it does, as its name and beside the pointer. */
function show(button, picture, words) {
    button.querySelector("path").setAttribute("d", PICTURES[picture]);
    button.setAttribute("aria-label", words);
    button.dataset.tip = words;
}

/** The picture says how it is, the words what a click does. */
function showSound() {
    const button = part("sound");
    button.hidden = !video.srcObject?.getAudioTracks().length;
    button.classList.toggle("muted", video.muted);
    button.querySelector("span").textContent = WORDS.unmute;
    show(button, video.muted ? "muted" : "sound", video.muted ? WORDS.unmute : WORDS.mute);
}

function toggleSound() {
    video.muted = !video.muted;
    play();
}

function toggleFullScreen() {
    if (document.fullscreenElement) {
        document.exitFullscreen();
    } else if (document.documentElement.requestFullscreen) {
        document.documentElement.requestFullscreen().catch(() => {});
    } else {
        // Telephones of Apple have it for videos only.
        video.webkitEnterFullscreen?.();
    }
}

function showFullScreen() {
    part("full").hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
    const full = document.fullscreenElement !== null;
    show(part("full"), full ? "window" : "full", full ? WORDS.window : WORDS.fullScreen);
}

let calm = 0;

function stir() {
    clearTimeout(calm);
    document.body.dataset.idle = "no";
    calm = setTimeout(() => { document.body.dataset.idle = "yes"; }, CALM_MS);
}

document.documentElement.lang = LANGUAGE;
// The page has the experience's name, or the word for any.
if (document.title === STRINGS.en.title) {
    document.title = WORDS.title;
}
video.setAttribute("aria-label", document.title);
part("play").textContent = WORDS.play;
part("play").addEventListener("click", play);
part("sound").addEventListener("click", toggleSound);
part("full").addEventListener("click", toggleFullScreen);
video.addEventListener("dblclick", toggleFullScreen);
for (const type of ["pointermove", "pointerdown", "keydown"]) {
    addEventListener(type, stir, { capture: true, passive: true });
}
stir();
document.addEventListener("fullscreenchange", showFullScreen);
document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) {
        return;
    }
    if (event.key === "f") {
        toggleFullScreen();
    } else if (event.key === "m") {
        toggleSound();
    }
});
showFullScreen();
// A video that waits for its first picture holds up the page's load event, and with it all that the overlay begins then.
if (document.readyState === "complete") {
    new Player();
} else {
    addEventListener("load", () => new Player(), { once: true });
}
