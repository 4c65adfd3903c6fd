// The last file: puts the parts together. One global name, which also keeps a second copy from starting.

Object.defineProperty(window, "__neck", { value: Object.freeze({ version: VERSION }) });

/** Runs when the page can be written to. */
function whenParsed(action) {
    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", action, { once: true });
    } else {
        action();
    }
}

function startStream(overlay) {
    const mic = SETTINGS.mic ? new Mic() : null;
    const media = new Media(() => mic?.peer ?? null);
    const drain = new Drain(overlay);
    const stop = () => {
        mic?.turnOff();
        drain.stop();
        facts.tellNow();
    };
    const watch = new Watch(media, {
        trouble: (kind, title, hint) => overlay.notice(kind, title, hint),
        fine: () => overlay.clear(),
        interrupted: () => facts.tell(),
        draining: seconds => drain.tell(seconds),
        beforeReload: () => store.set("mic", mic?.isOn ? { muted: mic.isMuted } : null),
        ended: reason => {
            stop();
            end.ended(reason);
        },
        lost: again => {
            stop();
            end.lost(again);
        },
        stuck: (why, again) => {
            stop();
            end.stuck(why, again);
        },
    });
    const end = new End(overlay, new Report(watch, media));
    const facts = new Facts(media, watch);
    wrapPeerConnection(peer => media.peer(peer, watch.look));
    wrapWebSocket(socket => {
        media.socket(socket, watch.look);
        watchForProxy(socket, () => {
            watch.stop();
            stop();
            end.blocked();
        });
    });
    // Who came by the link that only watches ends nothing: closing the page is leaving.
    const exit = SETTINGS.viewer ? null : new Exit(overlay, () => {
        watch.stop();
        mic?.turnOff();
    }, () => end.ended("quit"));
    iceServers.start();
    media.start();
    watch.start();
    whenParsed(() => {
        // Of several streams in tabs each is found by its name.
        if (SETTINGS.experience) {
            document.title = SETTINGS.experience;
        }
        fillDock(overlay, media, mic, exit);
    });
}

function fillDock(overlay, media, mic, exit) {
    // The stream page of moonlight-web-stream has an exit button of its own; our player's page has none.
    if (SETTINGS.engine && SETTINGS.engine !== "moonlight") {
        exit?.addButton();
    }
    new Stats(overlay, media);
    if (mic) {
        new MicView(overlay, mic);
        resumeMic(mic);
    }
}

/** The page reloaded itself while the person was speaking: they go on without a click, if the browser lets them. */
async function resumeMic(mic) {
    const kept = store.get("mic", null);
    store.set("mic", null);
    if (kept && await micPermission() === "granted") {
        mic.turnOn({ muted: Boolean(kept.muted) });
    }
}

/** The page of a session that has ended: only the end, as it was. */
function startEnded(overlay) {
    const media = new Media(() => null);
    const watch = { disconnects: store.get("disconnects", 0) };
    whenParsed(() => new End(overlay, new Report(watch, media)).ended(SETTINGS.endReason));
}

dropCredentials();
confineCookies();
if (SETTINGS.endReason) {
    startEnded(new Overlay());
} else {
    startStream(new Overlay());
}
