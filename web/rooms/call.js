// One stay in a room, step by step as docs/webrtc.md tells it: credentials, a peer connection, signalling.
//
//   Call.open ─▶ credentials (REST) ─▶ RTCPeerConnection ─▶ WebSocket ─▶ join ─▶ welcome ─▶ offers and answers, both ways
//                                                              ▲                              │ the WebSocket breaks
//                                                              └── resume ─▶ resumed ◀────────┘ media goes on
//
// A WebSocket that breaks, as when the controller restarts, is no end: media goes by another way. A new one takes the place in the room
// back, and both sides say again what the other has not heard. A call that has ended is no use any more: who wants to go on opens another.

/** Where the interface is, also behind a proxy that serves us below a path. */
const API = new URL("../v1/webrtc/", location.href);

/** How long the way to the server may be lost before ICE is restarted; browsers often find it again by themselves. */
const TROUBLE_MS = 2_000;

/** Pauses in milliseconds between attempts to signal again: the last is kept. Each is shortened by up to a third, so that a whole room does
 * not come back at the same moment. */
const AGAIN_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];

/** An attempt to signal again that has no answer for this long is given up for the next one. */
const ANSWER_MS = 10_000;

/** Messages of ours that are kept to be said again. More is not said while the server has not heard one of them. */
const KEPT = 64;

/** What the server refused, by status. */
class Refused extends Error {
    constructor(status) {
        super(`status ${status}`);
        this.status = status;
    }
}

/** TURN credentials for a room's relays; null: this server has none, or knows none yet (a controller that has just started), and media goes
 * directly until signalling says otherwise. */
async function credentials(token) {
    const reply = await fetch(new URL("turn/credentials", API), {
        method: "POST", headers: { "Authorization": `Bearer ${token}` },
    });
    if (reply.status === 503) {
        return null;
    }
    if (!reply.ok) {
        throw new Refused(reply.status);
    }
    return reply.json();
}

/** What a peer connection is told of these credentials. Rooms are reached by their relays alone, where there are any. */
const reaching = fresh => fresh === null ? { iceServers: [] } : {
    iceServers: [{ urls: fresh.urls, username: fresh.username, credential: fresh.credential }],
    iceTransportPolicy: "relay",
};

/** Is told of everything: `hear(message)` of each message of the server, `place()` when tracks may have moved, `relayed()` when media turns out
 * to have relays, `state(name)` of the media, and `close()` once at the end. */
class Call {
    #signal;
    #socket = null;
    #listener;
    #isOffering = false;
    #isDirect;
    #trouble = 0;
    #work = Promise.resolve();
    #isOver = false;
    /** What takes the place back. */
    #place = null;
    /** Messages that came by the present WebSocket, or by the one that broke; ours by it, of which the oldest are kept no more. */
    #heard = 0;
    #said = [];
    #forgotten = 0;
    #isBroken = false;
    #attempt = 0;
    #again = 0;

    /** `signal()` opens a WebSocket. */
    constructor(fresh, signal, listener) {
        const peer = this.peer = new RTCPeerConnection(reaching(fresh));
        this.#isDirect = fresh === null;
        this.#signal = signal;
        this.#listener = listener;
        peer.onnegotiationneeded = () => this.#queue(() => this.#offer());
        peer.ontrack = () => listener.place();
        peer.onconnectionstatechange = () => this.#changed();
    }

    /** Opens one. `seat` says who comes where: `room`, `token`, `name`. */
    static async open({ room, token, name }, tracks, listener) {
        const fresh = await credentials(token);
        const address = new URL(`signal?room=${encodeURIComponent(room)}`, API);
        address.protocol = address.protocol.replace("http", "ws");
        const call = new Call(fresh, () => new WebSocket(address, ["Bearer", token]), listener);
        call.#connect(() => {
            call.send("join", { roomId: room, userId: name });
            const own = new MediaStream();
            call.senders = Object.fromEntries(Object.entries(tracks).map(([kind, track]) => [kind, track ? call.peer.addTrack(track, own) : null]));
        });
        return call;
    }

    /** Signals by a new WebSocket, which `begin` speaks to first. */
    #connect(begin) {
        const socket = this.#socket = this.#signal();
        socket.onopen = begin;
        socket.onmessage = event => this.#socket === socket && this.#hear(JSON.parse(event.data));
        socket.onclose = ({ wasClean }) => this.#socket === socket && this.#closed(wasClean);
    }

    #hear(message) {
        const { type, data } = message;
        if (type === "resumed") {
            return this.#resumed(data);
        }
        this.#heard += 1;
        if (type === "welcome") {
            this.#place = { peerId: data.peerId, resumeToken: data.resumeToken };
        }
        return this.#queue(() => this.#take(message));
    }

    /** The server says why it ends a WebSocket; all else ends one without a word. */
    #closed(isSaid) {
        if (isSaid || !this.#place?.resumeToken) {
            this.#over();
        } else if (!this.#isOver) {
            this.#isBroken = true;
            const pause = AGAIN_MS[Math.min(this.#attempt, AGAIN_MS.length - 1)];
            this.#attempt += 1;
            clearTimeout(this.#again);
            this.#again = setTimeout(() => this.#resume(), pause * (1 - Math.random() / 3));
        }
    }

    /** Signals again now, if that is broken. */
    hasten() {
        if (this.#isBroken && this.#socket.readyState === WebSocket.CLOSED) {
            clearTimeout(this.#again);
            this.#resume();
        }
    }

    #resume() {
        this.#connect(() => this.#socket.send(JSON.stringify({ type: "resume", data: { ...this.#place, heard: this.#heard } })));
        const socket = this.#socket;
        this.#again = setTimeout(() => {
            this.#socket = { readyState: WebSocket.CLOSED, close: () => {} };
            socket.close();
            this.#closed(false);
        }, ANSWER_MS);
    }

    #resumed({ heard, resumeToken }) {
        if (heard < this.#forgotten) {
            this.leave();
            return;
        }
        const again = this.#said.slice(heard - this.#forgotten);
        clearTimeout(this.#again);
        this.#place.resumeToken = resumeToken;
        // By the new WebSocket one message came, and one was said: the resume.
        [this.#isBroken, this.#attempt, this.#heard, this.#said, this.#forgotten] = [false, 0, 1, [], 1];
        again.forEach(text => this.#say(text));
    }

    #say(text) {
        // There is nothing to say to who has not joined.
        if (!this.#isBroken && this.#socket.readyState === WebSocket.CONNECTING) {
            return;
        }
        this.#said.push(text);
        if (this.#said.length > KEPT) {
            this.#said.shift();
            this.#forgotten += 1;
        }
        if (!this.#isBroken && this.#socket.readyState === WebSocket.OPEN) {
            this.#socket.send(text);
        }
    }

    /** Says something: now, or once it is heard again. */
    send(type, data) {
        if (!this.#isOver) {
            this.#say(JSON.stringify({ type, data }));
        }
    }

    /** Sends this instead of what was sent of its kind; null: nothing. */
    async replace(kind, track) {
        const sender = this.senders?.[kind];
        if (sender) {
            await sender.replaceTrack(track);
        } else if (track && this.senders && !this.#isOver) {
            this.senders[kind] = this.peer.addTrack(track, new MediaStream());
        }
    }

    /** Ends it. */
    leave() {
        this.send("leave", {});
        this.#over();
    }

    /** Does one thing after the other: an answer is applied before the next offer is read. */
    #queue(step) {
        // After a description that could not be applied both ends are in different states for ever: only a new call helps.
        this.#work = this.#work.then(() => this.#isOver || step()).catch(error => {
            console.warn("room:", error);
            this.leave();
        });
    }

    async #take(message) {
        const { type, data } = message;
        switch (type) {
            case "offer": await this.#offered(data); break;
            case "answer": await this.#answered(data); break;
            case "turn-credentials":
            case "refresh-credentials": this.#relay(data); break;
            default: this.#listener.hear(message);
        }
    }

    /** Who began without relays finds them only by gathering anew. */
    #relay(fresh) {
        this.peer.setConfiguration(reaching(fresh));
        if (this.#isDirect) {
            this.#isDirect = false;
            this.peer.restartIce();
            this.#listener.relayed();
        }
    }

    async #offer() {
        // An offer of the server's was faster: what is new here is part of the answer, or wanted anew after it.
        if (this.peer.signalingState !== "stable") {
            return;
        }
        this.#isOffering = true;
        await this.peer.setLocalDescription();
        this.send("offer", { sdp: this.peer.localDescription.sdp });
    }

    /** An offer that crosses ours wins: the browser takes ours back, and wants it anew when this one is answered. */
    async #offered({ sdp }) {
        this.#isOffering = false;
        await this.peer.setRemoteDescription({ type: "offer", sdp });
        await this.peer.setLocalDescription();
        this.send("answer", { sdp: this.peer.localDescription.sdp });
        this.#listener.place();
    }

    async #answered({ sdp }) {
        if (!this.#isOffering) {
            return;
        }
        this.#isOffering = false;
        await this.peer.setRemoteDescription({ type: "answer", sdp });
        this.#listener.place();
    }

    #changed() {
        const state = this.peer.connectionState;
        clearTimeout(this.#trouble);
        if (state === "disconnected") {
            this.#trouble = setTimeout(() => this.peer.restartIce(), TROUBLE_MS);
        }
        this.#listener.state(state);
        if (state === "failed") {
            this.leave();
        }
    }

    #over() {
        if (this.#isOver) {
            return;
        }
        this.#isOver = true;
        clearTimeout(this.#trouble);
        clearTimeout(this.#again);
        this.peer.close();
        this.#socket.close();
        this.#listener.close();
    }
}
