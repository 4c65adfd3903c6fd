// Puts our ICE servers and our relay policy into every RTCPeerConnection of the page, keeps the credentials fresh, and
// lets others watch the peers and the signalling socket. Runs before the page's own modules, so that nothing escapes.
//
// The wrappers are proxies of the native constructors: prototype, static members (generateCertificate), instanceof
// and subclassing stay what they were.

const NATIVE_PEER = window.RTCPeerConnection ?? window.webkitRTCPeerConnection;

/** Credentials are renewed when this part of their life is over, so that one that is used now lives on. */
const RENEW_AT = 0.8;

/** After a failed renewal the next attempt comes this much later. */
const RENEW_AGAIN_MS = 15_000;

/** Timers cannot be longer than about 24 days. */
const LONGEST_TIMER_MS = 86_400_000;

/**
 * The ICE servers that are valid now.
 *
 *     fresh ── RENEW_AT of their life, or asked ──► renewing ── 200 ──► fresh, and set on every live peer
 *       ▲                                              │ ├── 404 ──► the settings' list, for ever
 *       └────────── RENEW_AGAIN_MS later ──────────────┘◄┘ anything else
 */
const iceServers = {
    list: SETTINGS.iceServers,
    peers: new Set(),
    timer: 0,
    renewing: null,
    absent: false,
    freshUntil: 0,

    /** Begins to keep them fresh. */
    start() {
        this.plan(SETTINGS.iceTtl);
        const wake = () => {
            if (!document.hidden && this.isStale()) {
                this.renew();
            }
        };
        // A device that slept ran no timers.
        document.addEventListener("visibilitychange", wake);
        window.addEventListener("online", wake);
    },

    /** Whether they should have been renewed by now. */
    isStale() {
        return this.freshUntil > 0 && Date.now() > this.freshUntil;
    },

    /** `ttl` in seconds; null for credentials that do not expire. */
    plan(ttl) {
        clearTimeout(this.timer);
        this.freshUntil = 0;
        if (typeof ttl === "number" && ttl > 0) {
            const life = ttl * 1000 * RENEW_AT;
            this.freshUntil = Date.now() + life;
            this.timer = setTimeout(() => this.renew(), Math.min(life, LONGEST_TIMER_MS));
        }
    },

    /** Resolves when they are as fresh as can be. Several askers share one question. */
    renew() {
        this.renewing ??= this.ask().finally(() => { this.renewing = null; });
        return this.renewing;
    },

    async ask() {
        if (this.absent) {
            return;
        }
        const { ok, status, json } = await call("GET", "_neck/ice");
        if (ok && Array.isArray(json.iceServers)) {
            this.list = json.iceServers;
            this.plan(json.ttl);
            this.apply();
        } else if (status === 404) {
            this.absent = true;
        } else {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.renew(), RENEW_AGAIN_MS);
        }
    },

    /** Live peers use them from their next ICE restart on. */
    apply() {
        for (const peer of this.peers) {
            if (peer.signalingState === "closed") {
                this.peers.delete(peer);
                continue;
            }
            try {
                NATIVE_PEER.prototype.setConfiguration.call(peer, peer.getConfiguration());
            } catch {
                // A peer that cannot take them goes on with what it has.
            }
        }
    },
};

/** The page's configuration with what the operator decided on top. */
function relayed(configuration) {
    const adjusted = { ...configuration };
    if (SETTINGS.forceRelay) {
        adjusted.iceTransportPolicy = "relay";
    }
    if (iceServers.list.length > 0) {
        adjusted.iceServers = iceServers.list.map(server => ({ ...server }));
    }
    return adjusted;
}

/** A peer connection of ours: the same servers and policy, but it is not taken for the stream's. */
function makePeer() {
    const peer = new NATIVE_PEER(relayed({ bundlePolicy: "max-bundle" }));
    iceServers.peers.add(peer);
    return peer;
}

/** Replaces a global constructor by one that passes its arguments through `before` and its objects to `after`. */
function wrapConstructor(names, before, after) {
    const native = window[names[0]];
    if (typeof native !== "function") {
        return;
    }
    const wrapper = new Proxy(native, {
        construct(target, args, newTarget) {
            const made = Reflect.construct(target, before(args), newTarget === wrapper ? target : newTarget);
            after(made);
            return made;
        },
    });
    // Without this, `new peer.constructor()` would be a way around.
    Object.defineProperty(native.prototype, "constructor", { value: wrapper, writable: true, configurable: true });
    for (const name of names.filter(name => name in window)) {
        Object.defineProperty(window, name, { value: wrapper, writable: true, configurable: true });
    }
}

function wrapPeerConnection(watchPeer) {
    const prototype = NATIVE_PEER?.prototype;
    if (!prototype) {
        return;
    }
    wrapConstructor(
        ["RTCPeerConnection", "webkitRTCPeerConnection"],
        ([configuration, ...rest]) => [relayed(configuration), ...rest],
        peer => {
            iceServers.peers.add(peer);
            watchPeer(peer);
        },
    );
    const native = prototype.setConfiguration;
    const wrapped = { setConfiguration(configuration) { return native.call(this, relayed(configuration)); } };
    Object.defineProperty(prototype, "setConfiguration", {
        value: wrapped.setConfiguration, writable: true, configurable: true, enumerable: true,
    });
}

/** How long a relay may take to give an address; it answers in one or two round trips, and lost questions are asked again. */
const RELAY_LIMIT_MS = 2_000;

/** Whether one of our relays gives an address now; true where the stream needs none. */
async function relayAnswers() {
    const isRelay = server => [server.urls].flat().some(url => /^turns?:/.test(url));
    if (!SETTINGS.forceRelay || !NATIVE_PEER || !iceServers.list.some(isRelay)) {
        return true;
    }
    const peer = new NATIVE_PEER(relayed({}));
    try {
        const answered = new Promise(resolve => {
            peer.addEventListener("icecandidate", ({ candidate }) => candidate?.candidate && resolve(true));
            setTimeout(() => resolve(false), RELAY_LIMIT_MS);
        });
        peer.createDataChannel("neck");
        await peer.setLocalDescription(await peer.createOffer());
        return await answered;
    } catch {
        // A browser that makes no more peers says nothing of the relay.
        return true;
    } finally {
        peer.close();
    }
}

/**
 * Paths of the sockets that bring signalling or media, below the session's base. Version-specific: 2.x and 3.x of
 * moonlight-web-stream.
 */
const SIGNALLING = ["api/host/stream", "api/host/stream/web_socket"];

function wrapWebSocket(watchSocket) {
    wrapConstructor(["WebSocket"], args => args, socket => {
        if (SIGNALLING.some(path => new URL(socket.url).pathname === SETTINGS.base + path)) {
            watchSocket(socket);
        }
    });
}
