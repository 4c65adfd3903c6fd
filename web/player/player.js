// The page of a session whose stream is ours: keeps a WHEP connection, shows where it stands, and three controls.
//
//   connecting ──▶ playing ⇄ frozen (connected, no new pictures)
//       ▲  │ refused: waiting, full ── pause ──▶ connecting · unplayable, over: final
//       └──┴── reconnecting: ICE restart first, then a new connection with growing pauses ◀── trouble

/** Pauses between attempts in milliseconds: the last is kept. Each is shortened by up to a third, so that many viewers of
 * one server do not come back at the same moment. */
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000];

/** A connection that is "disconnected" often comes back by itself. */
const TROUBLE_MS = 2_000;

/** How long an ICE restart may take before a new connection is tried. */
const RESTART_MS = 8_000;

/** Pictures are looked at this often; so many looks without a new one are frozen, and so many are a lost connection. */
const LOOK_MS = 1_000;
const FROZEN = 3;
const LOST = 30;

const part = id => document.getElementById(id);
const video = part("stream");

class Player {
    #link = null;
    #attempt = 0;
    #timer = 0;
    #frames = 0;
    #still = 0;

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
    }

    async #connect() {
        this.#drop();
        this.#state(this.#attempt === 0 ? "connecting" : "reconnecting");
        const link = new Whep("whep", track => this.#track(track), state => this.#changed(link, state));
        this.#link = link;
        try {
            await link.open();
        } catch (error) {
            if (this.#link === link) {
                this.#refused(error);
            }
        }
    }

    #refused(error) {
        this.#drop();
        if (error instanceof Refused && error.pause === null) {
            this.#state(error.status === 404 ? "over" : "unplayable");
            return;
        }
        if (error instanceof Refused) {
            this.#state(error.status === 409 ? "waiting" : "full");
            this.#later(error.pause * 1_000);
            return;
        }
        this.#state("reconnecting");
        this.#again();
    }

    #again() {
        const pause = PAUSES[Math.min(this.#attempt, PAUSES.length - 1)];
        this.#attempt += 1;
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
        } else if (state === "disconnected") {
            this.#timer = setTimeout(() => this.#restart(link), TROUBLE_MS);
        } else if (state === "failed") {
            this.#restart(link);
        }
    }

    async #restart(link) {
        this.#state("reconnecting");
        // "connected" clears this.
        this.#timer = setTimeout(() => this.#link === link && this.#connect(), RESTART_MS);
        const begun = await link.restart().catch(() => false);
        if (!begun && this.#link === link) {
            this.#drop();
            this.#again();
        }
    }

    /** Whether pictures move. */
    async #look() {
        const link = this.#link;
        if (link?.peer.connectionState !== "connected" || document.hidden) {
            return;
        }
        const stats = await link.peer.getStats();
        if (this.#link !== link) {
            return;
        }
        const frames = [...stats.values()].find(one => one.type === "inbound-rtp" && one.kind === "video")?.framesDecoded ?? 0;
        const moves = frames !== this.#frames;
        this.#frames = frames;
        this.#still = moves ? 0 : this.#still + 1;
        if (moves) {
            this.#state("playing");
        } else if (this.#still >= LOST) {
            this.#still = 0;
            this.#connect();
        } else if (this.#still >= FROZEN) {
            this.#state("frozen");
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

function showSound() {
    part("sound").hidden = !video.srcObject?.getAudioTracks().length;
    part("sound").textContent = video.muted ? WORDS.unmute : WORDS.mute;
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
    part("full").textContent = document.fullscreenElement ? WORDS.window : WORDS.fullScreen;
}

document.documentElement.lang = LANGUAGE;
document.title = WORDS.title;
video.setAttribute("aria-label", WORDS.title);
part("play").textContent = WORDS.play;
part("play").addEventListener("click", play);
part("sound").addEventListener("click", toggleSound);
part("full").addEventListener("click", toggleFullScreen);
video.addEventListener("dblclick", toggleFullScreen);
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
