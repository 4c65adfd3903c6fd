// Who is in the room: a tile for each person, with the picture, the sound, and who speaks.
//
// Whose track one is, the server says: `track-added` tells its id, `track-placed` the section (`mid`) of the connection that
// carries it. A section is used again for the next person, so that a track's own id and stream say nothing.

/** How wide a tile is to its height. */
const SHAPE = 16 / 9;

/** How often it is looked whether pictures move, in milliseconds. */
const LOOK_MS = 1_000;

class People {
    #grid = byId("grid");
    /** By peer id. */
    #people = new Map();
    /** Track id to its section; it may be told before the track itself. */
    #places = new Map();
    #own = null;

    constructor() {
        new ResizeObserver(() => this.#arrange()).observe(this.#grid);
        setInterval(() => this.#look(), LOOK_MS);
    }

    /** Browsers do not always say that a track is mute no more. */
    #look() {
        for (const person of this.#people.values()) {
            const { currentTime, videoWidth } = person.video;
            person.moves = videoWidth > 0 && currentTime !== person.time;
            person.time = currentTime;
            this.#show(person);
        }
    }

    get count() {
        return this.#people.size;
    }

    /** The person of this page. */
    get own() {
        return this.#people.get(this.#own);
    }

    /** A room was entered: those who are in it, and who of them this page is. */
    enter({ peerId, participants }) {
        this.clear();
        this.#own = peerId;
        participants.forEach(person => this.add(person));
    }

    clear() {
        this.#people.forEach(person => person.tile.remove());
        this.#people.clear();
        this.#places.clear();
        this.#own = null;
    }

    nameOf(peerId) {
        return this.#people.get(peerId)?.name ?? "";
    }

    add({ peerId, userId }) {
        if (this.#people.has(peerId)) {
            return;
        }
        const person = this.#make(peerId, /^anon-[0-9a-f]+$/.test(userId) ? say("guest") : userId);
        this.#people.set(peerId, person);
        // Oneself comes first.
        this.#grid[person.isOwn ? "prepend" : "append"](person.tile);
        this.#arrange();
    }

    remove(peerId) {
        this.#people.get(peerId)?.tile.remove();
        this.#people.delete(peerId);
        this.#arrange();
    }

    #make(peerId, name) {
        const isOwn = peerId === this.#own;
        const video = make("video", "picture", { playsinline: "", autoplay: "", muted: "", "aria-hidden": "true" });
        video.muted = true;
        const sound = isOwn ? null : make("audio", "", { autoplay: "" });
        const initial = make("span", "initial", { "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
        const words = make("span", "name", {}, isOwn ? say("own", { name }) : name);
        const state = make("span", "state");
        const tile = make("li", isOwn ? "tile own" : "tile", {}, video, initial, make("p", "label", {}, words, state), ...sound ? [sound] : []);
        tile.dataset.peer = peerId;
        return { peerId, name, isOwn, tile, video, sound, state, tracks: new Map(), states: { audio: null, video: null }, time: 0, moves: false };
    }

    trackAdded({ peerId, trackId, kind }) {
        this.#people.get(peerId)?.tracks.set(trackId, kind);
    }

    trackPlaced({ trackId, mid }) {
        this.#places.set(trackId, mid);
    }

    trackRemoved({ peerId, trackId }) {
        this.#people.get(peerId)?.tracks.delete(trackId);
        this.#places.delete(trackId);
    }

    /** What somebody says of their microphone or camera. */
    state({ peerId, kind, enabled }) {
        const person = this.#people.get(peerId);
        if (person) {
            person.states[kind] = enabled;
            this.#show(person);
        }
    }

    speaking(speakers) {
        const loud = new Set(speakers.map(({ peerId }) => peerId));
        this.#people.forEach(person => person.tile.classList.toggle("speaks", loud.has(person.peerId)));
    }

    /** Gives everybody the tracks that this connection carries for them. */
    place(peer, volume) {
        const byMid = new Map(peer.getTransceivers().map(one => [one.mid, one.receiver.track]));
        for (const person of this.#people.values()) {
            if (person.isOwn) {
                continue;
            }
            for (const [kind, element] of [["video", person.video], ["audio", person.sound]]) {
                const track = [...person.tracks].filter(([, of]) => of === kind)
                    .map(([id]) => byMid.get(this.#places.get(id))).find(found => found?.kind === kind);
                show(element, track ?? null);
                if (track) {
                    track.onmute = track.onunmute = () => this.#show(person);
                }
            }
            this.#show(person);
        }
        volume();
    }

    /** Shows what this page sends. */
    showOwn({ audio, video }, isMuted) {
        const { own } = this;
        if (own) {
            show(own.video, video);
            own.states = { audio: audio !== null && !isMuted, video: video !== null };
            this.#show(own);
        }
    }

    #show(person) {
        const [picture] = person.video.srcObject?.getTracks() ?? [];
        // A track from the room is mute until its first picture, and while the room does not send it.
        const hasPicture = picture !== undefined && person.states.video !== false && (person.isOwn || person.moves || !picture.muted);
        person.tile.classList.toggle("pictured", hasPicture);
        const isSilent = person.states.audio === false;
        person.tile.classList.toggle("silent", isSilent);
        put(person.state, isSilent ? say("silent") : "");
    }

    /** Every element that sounds. */
    get sounds() {
        return [...this.#people.values()].flatMap(({ sound }) => sound ? [sound] : []);
    }

    /** As many columns as give the largest tiles. */
    #arrange() {
        const { clientWidth: width, clientHeight: height } = this.#grid;
        const count = Math.max(this.#people.size, 1);
        const sizes = Array.from({ length: count }, (_, index) => {
            const columns = index + 1;
            return Math.min(width / columns, height / Math.ceil(count / columns) * SHAPE);
        });
        const columns = sizes.indexOf(Math.max(...sizes)) + 1;
        this.#grid.style.setProperty("--columns", columns);
        this.#grid.style.setProperty("--rows", Math.ceil(count / columns));
    }
}

/** Gives an element this track alone; null: nothing. */
function show(element, track) {
    const shown = element.srcObject?.getTracks()[0] ?? null;
    if (shown !== track) {
        element.srcObject = track ? new MediaStream([track]) : null;
    }
}
