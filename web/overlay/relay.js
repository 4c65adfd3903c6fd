// Puts our ICE servers and our relay policy into every RTCPeerConnection of the page, and lets status.js watch the
// peers and the signalling socket. Runs before the page's own modules, so that nothing escapes.
//
// The wrappers are proxies of the native constructors: prototype, static members (generateCertificate), instanceof
// and subclassing stay what they were.

/** The page's configuration with what the operator decided on top. */
function relayed(configuration) {
    const adjusted = { ...configuration };
    if (SETTINGS.forceRelay) {
        adjusted.iceTransportPolicy = "relay";
    }
    if (SETTINGS.iceServers.length > 0) {
        adjusted.iceServers = SETTINGS.iceServers.map(server => ({ ...server }));
    }
    return adjusted;
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
    const prototype = window.RTCPeerConnection?.prototype;
    if (!prototype) {
        return;
    }
    wrapConstructor(
        ["RTCPeerConnection", "webkitRTCPeerConnection"],
        ([configuration, ...rest]) => [relayed(configuration), ...rest],
        watchPeer,
    );
    const native = prototype.setConfiguration;
    const wrapped = { setConfiguration(configuration) { return native.call(this, relayed(configuration)); } };
    Object.defineProperty(prototype, "setConfiguration", {
        value: wrapped.setConfiguration, writable: true, configurable: true, enumerable: true,
    });
}

/** Path of the signalling socket below the session's base. Version-specific: 2.x of moonlight-web-stream. */
const SIGNALLING = "api/host/stream";

function wrapWebSocket(watchSocket) {
    wrapConstructor(["WebSocket"], args => args, socket => {
        if (new URL(socket.url).pathname === SETTINGS.base + SIGNALLING) {
            watchSocket(socket);
        }
    });
}
