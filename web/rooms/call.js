// One stay in a room, step by step as docs/webrtc.md tells it: credentials, a peer connection, signalling.
//
//   Call.open ─▶ credentials (REST) ─▶ RTCPeerConnection ─▶ WebSocket ─▶ join ─▶ welcome ─▶ offers and answers, both ways
//
// A call that has ended is no use any more: who wants to go on opens another one.

/** Where the interface is, also behind a proxy that serves us below a path. */
const API = new URL("../v1/webrtc/", location.href);

/** How long the way to the server may be lost before ICE is restarted; browsers often find it again by themselves. */
const TROUBLE_MS = 2_000;

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
    #socket;
    #listener;
    #isOffering = false;
    #isDirect;
    #trouble = 0;
    #work = Promise.resolve();
    #isOver = false;

    constructor(fresh, socket, listener) {
        const peer = this.peer = new RTCPeerConnection(reaching(fresh));
        this.#isDirect = fresh === null;
        this.#socket = socket;
        this.#listener = listener;
        peer.onnegotiationneeded = () => this.#queue(() => this.#offer());
        peer.ontrack = () => listener.place();
        peer.onconnectionstatechange = () => this.#changed();
        socket.onmessage = event => this.#queue(() => this.#take(JSON.parse(event.data)));
        socket.onclose = () => this.#over();
    }

    /** Opens one. `seat` says who comes where: `room`, `token`, `name`. */
    static async open({ room, token, name }, tracks, listener) {
        const fresh = await credentials(token);
        const address = new URL(`signal?room=${encodeURIComponent(room)}`, API);
        address.protocol = address.protocol.replace("http", "ws");
        const socket = new WebSocket(address, ["Bearer", token]);
        const call = new Call(fresh, socket, listener);
        socket.onopen = () => {
            call.send("join", { roomId: room, userId: name });
            const own = new MediaStream();
            call.senders = Object.fromEntries(Object.entries(tracks).map(([kind, track]) => [kind, track ? call.peer.addTrack(track, own) : null]));
        };
        return call;
    }

    send(type, data) {
        if (this.#socket.readyState === WebSocket.OPEN) {
            this.#socket.send(JSON.stringify({ type, data }));
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
        this.peer.close();
        this.#socket.close();
        this.#listener.close();
    }
}
