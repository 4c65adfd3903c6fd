// Puts the parts together: the door, the room, and the way back into it.
//
//   door ── join ──▶ joining ── welcome ──▶ in ── leave ──▶ door
//                       ▲                   │ drained: the next call is begun, this one is kept until that one is in
//                       └── later, pauses ──┴ lost · refused for good: over, with the reason and a button
//
// Signalling that breaks alone, as when the controller restarts, is the call's own matter, and nothing is seen of it.

/** Pauses between attempts in milliseconds: the last is kept. Each is shortened by up to a third, so that a whole room does not come
 * back at the same moment. */
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000];

/** Without media for this long the person is told so. */
const TELL_MS = 8_000;

/** Errors after which another attempt is refused, too, until something else changes. */
const FINAL = ["room_full", "room_mismatch", "invalid_join", "not_relayed"];

/** Statuses of the same kind. A worker that is drained may know its namespaces no more before the next one does: who was in already asks
 * this many times more. */
const FINAL_STATUS = { 401: "unauthorized", 403: "forbidden", 404: "nowhere" };
const DOUBTS = 8;

const link = new URLSearchParams(location.hash.slice(1));
const seat = { room: link.get("room") ?? "", token: link.get("token") ?? "", name: stored("name") };
const people = new People();
let isMuted = false;

/** What the browser kept for this page. Nothing secret: the token stays in the link. */
function stored(key) {
    try {
        return localStorage.getItem(`neck-room-${key}`) ?? "";
    } catch {
        return "";
    }
}

function store(key, value) {
    try {
        localStorage.setItem(`neck-room-${key}`, value);
    } catch {
        // Then it is asked for again.
    }
}

function stage(name) {
    document.body.dataset.stage = name;
    byId("door").hidden = name !== "door";
    byId("room").hidden = name === "door";
}

/** Says how things stand, until something else is said. */
function note(words) {
    put(byId("note"), words);
    byId("note").hidden = words === "";
}

/** The stay of this person, over however many calls. */
const stay = {
    current: null,
    next: null,
    attempt: 0,
    timer: 0,
    watch: 0,
    isIn: false,

    /** Opens a call beside the one there may be. */
    async begin() {
        clearTimeout(this.timer);
        const attempt = { call: null, error: "", isDead: false };
        const before = this.next;
        this.next = attempt;
        before?.call?.leave();
        try {
            attempt.call = await Call.open(seat, devices.tracks, this.listener(attempt));
        } catch (error) {
            attempt.isDead = true;
            this.failed(attempt, error instanceof Refused ? FINAL_STATUS[error.status] : undefined);
        }
        // The person left, or another attempt was begun meanwhile.
        if (this.next !== attempt && this.current !== attempt) {
            attempt.call?.leave();
        }
    },

    listener: attempt => ({
        hear: message => stay.hear(attempt, message),
        place: () => stay.current === attempt && people.place(attempt.call.peer, useOutput),
        relayed: () => showDirect(false),
        state: state => {
            // What was refused before, as coming without a relay, is no reason of a later end.
            attempt.error = state === "connected" ? "" : attempt.error;
            if (stay.current === attempt) {
                stay.media(state);
            }
        },
        close: () => { attempt.isDead = true; stay.closed(attempt); },
    }),

    hear(attempt, { type, data }) {
        if (type === "welcome") {
            this.welcomed(attempt, data);
        } else if (type === "error") {
            attempt.error = data.code;
            console.warn(`room: ${data.code}: ${data.message}`);
        } else if (type === "kicked") {
            attempt.error = "kicked";
        } else if (type === "server-draining") {
            this.begin();
        } else if (this.current === attempt) {
            told(type, data);
            people.place(attempt.call.peer, useOutput);
        }
    },

    welcomed(attempt, welcome) {
        const before = this.current;
        [this.current, this.next, this.attempt] = [attempt, null, 0];
        before?.call.leave();
        people.enter(welcome);
        this.isIn = true;
        stage("in");
        // Who sends nothing has no connection before somebody else does.
        const sends = Object.values(devices.tracks).some(Boolean);
        note(sends ? say("connecting") : "");
        tellOwn();
        clearTimeout(this.watch);
        this.watch = sends ? setTimeout(() => note(say("unreachable")), TELL_MS) : 0;
        if (before === null) {
            announce(say("welcome", { count: people.count }));
        }
    },

    media(state) {
        if (state === "connected") {
            clearTimeout(this.watch);
            note("");
        } else if (state === "disconnected") {
            note(say("trouble"));
        }
    },

    closed(attempt) {
        if (this.current === attempt) {
            this.current = null;
            // Another one may be on its way already.
            if (this.next === null && this.isIn) {
                this.failed(attempt);
            }
        } else if (this.next === attempt) {
            this.failed(attempt);
        }
    },

    failed(attempt, reason = attempt.error) {
        if (this.next === attempt) {
            this.next = null;
        }
        const isDoubtful = this.isIn && this.attempt < DOUBTS && Object.values(FINAL_STATUS).includes(reason);
        if (reason === "kicked" || FINAL.includes(reason) || Object.values(FINAL_STATUS).includes(reason) && !isDoubtful) {
            over(say(`over.${reason}`));
            return;
        }
        const pause = PAUSES[Math.min(this.attempt, PAUSES.length - 1)];
        this.attempt += 1;
        if (this.current === null) {
            stage("joining");
            note(say(this.isIn ? "reconnecting" : "joining"));
            people.clear();
        }
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.begin(), pause * (1 - Math.random() / 3));
    },

    end() {
        clearTimeout(this.timer);
        clearTimeout(this.watch);
        const { current, next } = this;
        Object.assign(this, { current: null, next: null, attempt: 0, isIn: false });
        current?.call.leave();
        next?.call?.leave();
        people.clear();
    },
};

/** What the room tells of others. */
function told(type, data) {
    switch (type) {
        case "peer-joined":
            people.add(data);
            announce(say("joined", { name: people.nameOf(data.peerId) }));
            break;
        case "peer-left":
            announce(say("left", { name: people.nameOf(data.peerId) }));
            people.remove(data.peerId);
            break;
        case "track-added": people.trackAdded(data); break;
        case "track-placed": people.trackPlaced(data); break;
        case "track-removed": people.trackRemoved(data); break;
        case "participant-state": people.state(data); break;
        case "active-speakers": people.speaking(data.speakers); break;
        default:
    }
}

/** Back at the door, with a reason. */
function over(words) {
    stay.end();
    stage("door");
    put(byId("refused"), words);
    byId("join").focus();
}

/** Shows what is sent, and tells it to the others. */
function tellOwn() {
    const { audio, video } = devices.tracks;
    if (audio) {
        audio.enabled = !isMuted;
    }
    show(byId("preview"), video);
    byId("mirror").classList.toggle("pictured", video !== null);
    people.showOwn(devices.tracks, isMuted);
    const call = stay.current?.call;
    call?.send("audio-state", { enabled: audio !== null && !isMuted });
    call?.send("video-state", { enabled: video !== null });
    showButtons();
}

function showButtons() {
    const { audio, video } = devices.tracks;
    const isHeard = audio !== null && !isMuted;
    for (const [id, on, words] of [
        ["mic", isHeard, isHeard ? say("mic.off") : say("mic.on")], ["camera", video !== null, video ? say("camera.off") : say("camera.on")],
    ]) {
        document.querySelectorAll(`[data-toggles=${id}]`).forEach(each => {
            set(each, "aria-label", words);
            set(each, "title", words);
            each.classList.toggle("off", !on);
        });
    }
    const trouble = [...new Set(["audio", "video"].map(kind => devices.trouble[kind] && say(`trouble.${kind}.${devices.trouble[kind]}`)))].filter(Boolean);
    document.querySelectorAll(".device-trouble").forEach(each => put(each, trouble.join(" ")));
}

/** A device came, went, or was chosen. */
async function devicesChanged() {
    const call = stay.current?.call;
    await Promise.all(["audio", "video"].map(kind => call?.replace(kind, devices.tracks[kind])));
    tellOwn();
    await fillDevices();
}

async function toggleMic() {
    if (devices.tracks.audio === null) {
        isMuted = false;
        await openDevice("audio");
        await devicesChanged();
        return;
    }
    isMuted = !isMuted;
    tellOwn();
}

async function toggleCamera() {
    if (devices.tracks.video) {
        closeDevice("video");
    } else {
        await openDevice("video");
    }
    await devicesChanged();
}

function useOutput() {
    const id = devices.chosen.output;
    people.sounds.filter(element => element.setSinkId && element.sinkId !== id).forEach(element => element.setSinkId(id).catch(() => {}));
    // Browsers keep sound back from a page that nobody has touched.
    people.sounds.filter(element => element.srcObject && element.paused).forEach(element => element.play().catch(error => {
        byId("listen").hidden = error.name !== "NotAllowedError";
    }));
}

async function choose(kind, id) {
    devices.chosen[kind] = id;
    if (kind === "output") {
        useOutput();
        return;
    }
    await openDevice(kind);
    await devicesChanged();
}

function join(event) {
    event.preventDefault();
    seat.name = byId("name").value.trim();
    seat.room = byId("room-name").value.trim();
    seat.token = byId("token").value.trim();
    if (!/^[!-~]{1,128}$/.test(seat.room)) {
        put(byId("refused"), say("over.invalid_join"));
        byId("room-name").focus();
        return;
    }
    store("name", seat.name);
    history.replaceState(null, "", `#${new URLSearchParams({ room: seat.room, token: seat.token })}`);
    put(byId("refused"), "");
    showRoom();
    stage("joining");
    note(say("joining"));
    byId("grid").focus();
    stay.begin();
}

function leave() {
    stay.end();
    stage("door");
    note("");
    byId("join").focus();
}

async function copyLink() {
    try {
        await navigator.clipboard.writeText(location.href);
        announce(say("copied"));
    } catch {
        // Not allowed, or no secure page: the person copies it by hand.
        prompt(say("copy"), location.href);
    }
}

function showRoom() {
    const words = seat.room ? say("title.room", { room: seat.room }) : say("title");
    document.title = words;
    document.querySelectorAll(".room-title").forEach(each => put(each, words));
}

/** Says whether media goes without relays. */
function showDirect(isDirect) {
    document.querySelectorAll(".direct").forEach(each => { each.hidden = !isDirect; });
}

/** Asks before anybody joins what would be refused, and whether there are relays. */
async function lookAhead() {
    if (!seat.token) {
        return;
    }
    try {
        showDirect(await credentials(seat.token) === null);
    } catch (error) {
        const reason = FINAL_STATUS[error.status];
        put(byId("refused"), reason ? say(`over.${reason}`) : "");
    }
}

function fillDoor() {
    speakPage();
    document.querySelectorAll("[data-label]").forEach(each => {
        set(each, "aria-label", say(each.dataset.label));
        if (each.tagName === "BUTTON") {
            set(each, "title", say(each.dataset.label));
        }
    });
    showRoom();
    byId("name").value = seat.name;
    byId("room-name").value = seat.room;
    byId("token").value = seat.token;
    // Who came by a link needs neither.
    byId("ask-room").hidden = seat.room !== "";
    byId("ask-token").hidden = seat.token !== "";
}

fillDoor();
stage("door");
byId("door-form").addEventListener("submit", join);
byId("leave").addEventListener("click", leave);
byId("copy").addEventListener("click", copyLink);
byId("listen").addEventListener("click", () => {
    byId("listen").hidden = true;
    useOutput();
});
document.querySelectorAll("[data-toggles=mic]").forEach(each => each.addEventListener("click", toggleMic));
document.querySelectorAll("[data-toggles=camera]").forEach(each => each.addEventListener("click", toggleCamera));
document.querySelectorAll(".choose").forEach(each => each.addEventListener("click", async () => {
    await fillDevices();
    byId("devices").showModal();
}));
for (const kind of ["audio", "video", "output"]) {
    byId(`choose-${kind}`).addEventListener("change", event => choose(kind, event.target.value));
}
navigator.mediaDevices?.addEventListener("devicechange", fillDevices);
addEventListener("hashchange", () => location.reload());
addEventListener("online", () => {
    stay.current?.call.hasten();
    if (stay.isIn && stay.current === null) {
        stay.begin();
    }
});
addEventListener("pagehide", () => stay.end());
addEventListener("pageshow", event => event.persisted && location.reload());
lookAhead();
openDevices().then(devicesChanged);
