// The overlay in a real browser, over the stand-in's page. One behaviour each; screenshots go to target/screenshots.
import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "./support/timed.mjs";
import {
    clickReadable, closeSharedBrowser, openTab, readable, screenshot, takeByClick, until, untilEqual, untilPlaying, untilReadable, untilUnreadable,
} from "./support/browser.mjs";
import { startSession } from "./support/standin.mjs";

let session, browser, page;

async function open(settings, options, faults) {
    session = await startSession(settings, faults);
    // The shadow root stays closed here, as it is for people.
    browser = await openTab({ openShadow: false, viewport: { width: 1280, height: 720 }, ...options });
    page = browser.page;
    await page.goto(session.url);
}

after(closeSharedBrowser);
beforeEach(() => { session = browser = undefined; });
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await session?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

test("the clip plays and the overlay shows nothing", async () => {
    await open();
    await untilPlaying(page);
    assert.doesNotMatch(await readable(page), /Reconnecting|ended/);
    assert.deepEqual(await page.evaluate(() => Object.keys(window).filter(name => /neck|overlay|watch|relay/i.test(name))), []);
    await screenshot(page, "playing");
});

test("the clip goes on beyond its length", async () => {
    await open();
    await until("8 s of video", async () => await page.evaluate(() => document.querySelector("video").currentTime) > 8);
});

// SPEC 6: Relay only, with the worker's ICE servers
// Also: `with force-relay the page's own peer connection is relay only`, `the wrapped constructor
// keeps what the native one had`, `without force_relay the page's configuration is its own`
test("every peer connection of the page is relay only and has our servers", async () => {
    await open({ forceRelay: true, iceServers: [{ urls: ["turn:127.0.0.1:3478"], username: "u", credential: "c" }] });
    const made = await until("the page's peer connection", () => page.evaluate(() => {
        const configuration = window.app?.getStream().peer?.getConfiguration();
        return configuration && { policy: configuration.iceTransportPolicy, urls: configuration.iceServers.flatMap(s => s.urls) };
    }));
    assert.deepEqual(made, { policy: "relay", urls: ["turn:127.0.0.1:3478"] });
});

test("the wrapped constructor keeps what the native one had", async () => {
    await open({ forceRelay: true, iceServers: [] });
    const seen = await page.evaluate(async () => {
        const servers = [{ urls: "stun:127.0.0.1:19302" }];
        const peer = new RTCPeerConnection({ iceServers: servers });
        class Sub extends RTCPeerConnection {}
        const sub = new Sub();
        const bare = new peer.constructor();
        peer.setConfiguration({ iceServers: servers, iceTransportPolicy: "all" });
        const result = {
            instance: peer instanceof RTCPeerConnection && sub instanceof Sub && sub instanceof RTCPeerConnection,
            name: RTCPeerConnection.name,
            certificate: typeof await RTCPeerConnection.generateCertificate({ name: "ECDSA", namedCurve: "P-256" }),
            // Chromium has it under its old name too.
            alias: [undefined, RTCPeerConnection].includes(window.webkitRTCPeerConnection),
            policies: [peer, sub, bare].map(each => each.getConfiguration().iceTransportPolicy),
            kept: peer.getConfiguration().iceServers[0].urls,
            socket: [WebSocket.OPEN, new WebSocket("ws://127.0.0.1:9/") instanceof WebSocket],
        };
        for (const each of [peer, sub, bare]) each.close();
        return result;
    });
    assert.deepEqual(seen, {
        instance: true, name: "RTCPeerConnection", certificate: "object", alias: true,
        policies: ["relay", "relay", "relay"], kept: ["stun:127.0.0.1:19302"], socket: [1, true],
    });
});

test("without force_relay the page's configuration is its own", async () => {
    await open();
    const policy = await page.evaluate(() => new RTCPeerConnection({ iceTransportPolicy: "all" }).getConfiguration().iceTransportPolicy);
    assert.equal(policy, "all");
});

// SPEC 6: Short trouble shows "Reconnecting…" and recovers
// Also: `a killed child shows Reconnecting, then the stream plays again`, `trouble of the peer
// shows after a while and goes when it recovers`, `a lost socket is no trouble while the peer is
// connected`, `503 means wait, as long as Retry-After says`, `a restart that the server tells of is
// told, and the page comes back when it says ready`, `a page that is opened while its stream
// restarts waits in words and opens by itself`
test("a crashed child shows Reconnecting, then the stream plays again", async () => {
    await open();
    await untilPlaying(page);
    session.status = [200, { status: "starting", restarts: 1 }, {}];
    await session.killChild();
    await untilReadable(page, "Reconnecting…");
    await screenshot(page, "reconnecting");
    await session.startChild();
    session.status = [200, { status: "ready", restarts: 1 }, {}];
    await untilPlaying(page);
    await untilUnreadable(page, "Reconnecting");
});

test("a reload waits until the page itself answers", async () => {
    await open();
    await untilPlaying(page);
    await session.killChild();
    await until("several questions", () => session.asked >= 3);
    await untilReadable(page, "Reconnecting");
    await session.startChild();
    await untilPlaying(page);
});

test("a stream that never comes back is not reloaded for ever", async () => {
    await open();
    let loads = 0;
    page.on("load", () => { loads += 1; });
    await page.routeWebSocket(/api\/host\/stream/, socket => socket.close());
    await page.reload();
    await untilReadable(page, "Connection lost", 120_000);
    await screenshot(page, "lost");
    await untilEqual("the first load and four automatic ones", () => loads, 5);
});

// SPEC 6: "Stream ended" with the reason in words and the way back
// Also: `after DELETE the page says that the stream ended and leads back`, `an end is seen although
// the socket stays open`, `the server's word ends the stream at once, with its reason, while
// everything still plays`, `a child killed beyond its budget ends the stream, and the page says
// that it crashed`, `a page of an ended session shows the end at once, and nothing of a stream`,
// `our own page of an unknown session speaks the person's language`
test("the end shows its reason and the way back, one Tab away, and no key reaches the page", async () => {
    await open();
    await untilPlaying(page);
    session.status = [404, { status: "ended", reason: "deleted" }, {}];
    await session.killChild();
    await untilReadable(page, "Stream ended");
    await untilReadable(page, "The session was closed by the service.");
    await screenshot(page, "ended");
    assert.doesNotMatch(await focusedLine(), /^(link|button|radio)/m, "the focus is on no control: a key for the stream does nothing");
    const keysBefore = await page.evaluate(() => window.app.input.length);
    await page.keyboard.press("Tab");
    // The first Tab reaches the way back.
    await untilReadable(page, "link Start new stream focused");
    await screenshot(page, "ended-focus");
    assert.equal(await page.evaluate(() => window.app.input.length), keysBefore, "no key reached the page");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${session.origin}/home`);
});

const focusedLine = async () => (await readable(page)).split("\n").filter(line => line.endsWith(" focused")).join("\n");

test("an end is seen although the socket stays open", async () => {
    await open();
    await untilPlaying(page);
    session.status = [404, { status: "ended", reason: "max_duration" }, {}];
    await untilReadable(page, "The time for this stream is over.");
    await untilReadable(page, "link Start new stream");
});

/** Nothing is to happen for so many milliseconds of the page's, which may be stopped with its machine. */
const pass = time => page.evaluate(wait => new Promise(done => setTimeout(done, wait)), time);

/** Makes the page's peer connection tell this state. */
async function peerSays(state) {
    await until("the page's peer connection", () => page.evaluate(told => {
        const peer = window.app?.getStream().peer;
        if (peer) {
            Object.defineProperty(peer, "connectionState", { value: told, configurable: true });
            peer.dispatchEvent(new Event("connectionstatechange"));
        }
        return Boolean(peer);
    }, state));
}

test("trouble of the peer shows after a while and goes when it recovers", async () => {
    await open({}, {}, { no_streamer: true });
    // The words come after three seconds, which a look of a busy machine may take.
    await until("a look within two seconds", async () => {
        await peerSays("connected");
        await untilUnreadable(page, "Reconnecting");
        const since = Date.now();
        await peerSays("disconnected");
        const tree = await readable(page);
        const isInTime = Date.now() - since < 2_000;
        assert.ok(!isInTime || !tree.includes("Reconnecting"), tree);
        return isInTime;
    });
    await untilReadable(page, "Reconnecting…");
    await screenshot(page, "shaky");
    await peerSays("connected");
    await untilUnreadable(page, "Reconnecting");
});

test("a failed peer is no trouble while media comes over the socket", async () => {
    await open();
    await untilPlaying(page);
    await peerSays("failed");
    await pass(4_500);
    assert.doesNotMatch(await readable(page), /Reconnecting/);
});

test("a lost socket is no trouble while the peer is connected", async () => {
    await open({}, {}, { no_streamer: true });
    await peerSays("connected");
    await session.killChild();
    await pass(2_000);
    assert.doesNotMatch(await readable(page), /Reconnecting/);
});

test("503 means wait, as long as Retry-After says", async () => {
    await open();
    await untilPlaying(page);
    session.status = [503, { error: "starting" }, { "Retry-After": "2" }];
    await session.killChild();
    await untilReadable(page, "Reconnecting…");
    // Trouble may begin with two questions of its own.
    const from = session.asked + 2;
    await until("more questions", () => session.asked > from + 3);
    const took = session.askedAt[from + 3] - session.askedAt[from];
    assert.ok(took > 3_500, `three pauses between questions took ${took} ms`);
    session.status = [404, { status: "ended", reason: "crashed" }, {}];
    await untilReadable(page, "The stream stopped because of a technical problem.");
});

// SPEC 6: Exit button: `POST …/quit`, then `return_url`
// Also: `the page's exit button is known in a language that nobody here reads`, `another button of
// the page is left alone`, `the question before leaving can be taken back with Escape, and leaving
// quits`, `a page that goes before the server confirmed says again that it leaves`, `our own
// player's page has the overlay with a way out`
test("the page's exit button quits the session and leads back", async () => {
    await open();
    await untilPlaying(page);
    await page.click("#sidebar-parent .sidebar-stream-buttons button:text-is('Exit')");
    await page.waitForURL(`${session.origin}/home`);
    await untilEqual("the server is told", () => session.called("POST", "quit").map(({ type, body }) => [type, body]), [["application/json", {}]]);
});

test("the page's exit button is known in a language that nobody here reads", async () => {
    await open();
    await untilPlaying(page);
    await page.evaluate(() => {
        const [other, exit] = document.querySelectorAll("#sidebar-parent .sidebar-stream-buttons button");
        other.textContent = "Exit";
        other.onclick = () => { window.clicked = true; };
        exit.textContent = "종료";
        other.click();
    });
    assert.equal(await page.evaluate(() => window.clicked), true, "the button before it is left alone");
    assert.deepEqual(session.called("POST", "quit"), []);
    await page.click("#sidebar-parent .sidebar-stream-buttons button:text-is('종료')");
    await page.waitForURL(`${session.origin}/home`);
    await untilEqual("the server is told once", () => session.called("POST", "quit").length, 1);
});

test("another button of the page is left alone", async () => {
    await open();
    await untilPlaying(page);
    await page.evaluate(() => {
        const button = document.createElement("button");
        button.textContent = "Exit";
        button.onclick = () => { window.clicked = true; };
        document.querySelector("#root").append(button);
        button.click();
    });
    assert.equal(await page.evaluate(() => window.clicked), true);
    assert.deepEqual(session.called("POST", "quit"), []);
});

for (const [locale, ended] of [["nl-BE", "Stream beëindigd"], ["fr-FR", "Stream terminé"], ["de-AT", "Stream beendet"], ["ja-JP", "Stream ended"]]) {
    test(`${locale} reads “${ended}”`, async () => {
        await open({}, { locale, viewport: { width: 390, height: 700 } });
        session.status = [404, { status: "ended", reason: "body_lost" }, {}];
        await session.killChild();
        await untilReadable(page, ended);
        await screenshot(page, `ended-${locale}`);
    });
}

test("an element that the page made full screen does not keep the card away", async () => {
    await open();
    await untilPlaying(page);
    await takeByClick(page, [640, 400], "#root", "requestFullscreen", "fullscreenElement");
    session.status = [404, { status: "ended", reason: "idle_timeout" }, {}];
    await session.killChild();
    await untilReadable(page, "Stream ended");
    await screenshot(page, "ended-fullscreen");
    await clickReadable(page, "link", "Start new stream");
    await page.waitForURL(`${session.origin}/home`);
});
