// The microphone's button against a real peer in another page: asked after a click and a reason, heard, let go.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "./support/timed.mjs";
import vm from "node:vm";
import { openAnswerer } from "./support/answerer.mjs";
import { IS_FIREFOX, openBrowser, until, untilEqual } from "./support/browser.mjs";
import { prepareFile, WORDS } from "./support/file.mjs";
import { startSession } from "./support/standin.mjs";

const open = prepareFile();
const MIC = { settings: { mic: true }, options: { permissions: ["microphone"] } };

/** Counts what the page asks of the browser, and keeps what it got. */
const spyOnInput = page => page.addInitScript(() => {
    window.asked = [];
    window.tracks = [];
    const native = navigator.mediaDevices?.getUserMedia;
    if (native) {
        navigator.mediaDevices.getUserMedia = async wanted => {
            window.asked.push(wanted.audio);
            const stream = await native.call(navigator.mediaDevices, wanted);
            window.tracks.push(...stream.getTracks());
            return stream;
        };
    }
});

async function openWithAnswerer(more = {}) {
    const opened = await open({ ...MIC, ...more, playing: false });
    const { page, session, tab } = opened;
    await spyOnInput(page);
    const { listened } = session;
    await page.goto(session.url);
    if (more.events) {
        await until("this load of the page listens to events", () => session.listened > listened);
    }
    const answerer = await openAnswerer(tab.context);
    session.answers["POST mic/offer"] = answerer.offer;
    session.answers["PATCH mic"] = answerer.patch;
    session.answers["GET mic"] = [200, { state: "none", packets: 0, level: 0 }];
    session.answers["DELETE mic"] = [204];
    await page.bringToFront();
    const heldDevices = () => page.evaluate(() => window.tracks.filter(track => track.readyState === "live").length);
    const turnOn = async () => {
        await opened.button(WORDS.mic).click();
        await opened.button(WORDS["mic.turnOn"]).click();
        await opened.button(WORDS["mic.mute"]).waitFor();
    };
    return { ...opened, answerer, heldDevices, turnOn };
}

const hears = async answerer => {
    const before = await answerer.packets();
    await until("more packets are heard", async () => await answerer.packets() > before + 10);
};

// SPEC 7: The page's button: asks after a click and a reason, live, muted, another device, comes
// back after trouble, gives way to another window, says what to do for each refusal, never holds
// the device after stop or end
// Also: `a muted microphone sends silence, and speaks again at a click`, `another device is taken
// without a new connection, and the old one is let go`, `a microphone whose connection breaks comes
// back by itself`, `a microphone that another window took over is given up without stopping the
// other`, `a refusal of the server ends in words, and holds no device`, `the end of the stream lets
// the device go`, `a page that was blocked by the person says how to allow it`, `a page inside
// another that gives it no microphone says so`, `a page without https says that it needs it, and
// does not offer to try again`, `a computer without a microphone is told to connect one`, `a page
// that reloaded by itself goes on with the microphone, muted if it was`, `the microphone's button
// brings the voice to the media server, and lets it go`
test("the browser is asked only after a click and a reason; then the voice is heard until it is turned off", async () => {
    const { session, page, button, seen, answerer, heldDevices, turnOn } = await openWithAnswerer();
    await button(WORDS.mic).click();
    await seen(WORDS["mic.why.text"]);
    assert.deepEqual(await page.evaluate(() => window.asked), [], "nothing was asked yet");
    await button(WORDS["mic.notNow"]).click();
    await turnOn();
    const [{ channelCount, echoCancellation }] = await page.evaluate(() => window.asked);
    assert.deepEqual([channelCount, echoCancellation], [1, true]);
    await hears(answerer);
    await button(WORDS["mic.settings"]).click();
    await button(WORDS["mic.turnOff"]).click();
    await untilEqual("the device is let go", heldDevices, 0);
    await until("the server is told", () => session.called("DELETE", "mic").length === 1);
});

test("a muted microphone sends silence, and speaks again at a click", async () => {
    const { page, button, turnOn } = await openWithAnswerer();
    await turnOn();
    await button(WORDS["mic.mute"]).click();
    await button(WORDS["mic.unmute"]).waitFor();
    await untilEqual("nothing is sent", () => page.evaluate(() => window.tracks[0].enabled), false);
    await button(WORDS["mic.unmute"]).click();
    await button(WORDS["mic.mute"]).waitFor();
    await untilEqual("it is sent again", () => page.evaluate(() => window.tracks[0].enabled), true);
});

test("the end of the stream lets the device go", async () => {
    const { session, seen, heldDevices, turnOn } = await openWithAnswerer({ events: true });
    await turnOn();
    session.emit("ended", { reason: "deleted" });
    await seen(WORDS.ended);
    await untilEqual("the device is let go", heldDevices, 0);
});

test("a microphone whose connection breaks comes back by itself", async () => {
    const { session, answerer, turnOn, seen, button } = await openWithAnswerer();
    await turnOn();
    session.answers["PATCH mic"] = [404, {}];
    await answerer.page.evaluate(() => window.peer.close());
    await until("a new offer", () => session.called("POST", "mic/offer").length === 2);
    await hears(answerer);
    await button(WORDS["mic.mute"]).waitFor();
    await seen(WORDS["mic.live"]);
});

test("a microphone that another window took over is given up without stopping the other", async () => {
    const { session, page, answerer, turnOn, heldDevices } = await openWithAnswerer();
    await turnOn();
    let packets = 0;
    session.answers["GET mic"] = () => [200, { state: "live", packets: packets += 50, level: 9 }];
    await answerer.page.evaluate(() => window.peer.close());
    // The browser notices a connection that went silent after some seconds.
    await page.getByText(WORDS["mic.taken.text"]).waitFor();
    await untilEqual("the device is let go", heldDevices, 0);
    assert.deepEqual(session.called("DELETE", "mic"), []);
});

test("a refusal of the server ends in words, and holds no device", async () => {
    const { session, button, seen, heldDevices } = await openWithAnswerer();
    await button(WORDS.mic).click();
    let name = WORDS["mic.turnOn"];
    for (const [answer, words] of [[[503, {}, { "Retry-After": "5" }], WORDS["mic.busy.text"]], [[500, {}], WORDS["mic.failed.text"]]]) {
        session.answers["POST mic/offer"] = answer;
        await button(name).click();
        await seen(words);
        await untilEqual("the device is let go", heldDevices, 0);
        name = WORDS.tryAgain;
    }
});

test("another device is taken without a new connection, and the old one is let go", async runner => {
    if (IS_FIREFOX) {
        return runner.skip("Firefox has one fake microphone");
    }
    const { session, page, button, answerer, turnOn, heldDevices } = await openWithAnswerer();
    await turnOn();
    await button(WORDS["mic.settings"]).click();
    const list = page.getByLabel(WORDS["mic.device"]);
    const devices = await until("several devices", async () => {
        const all = await list.locator("option").evaluateAll(options => options.map(({ value }) => value));
        return all.length > 1 && all;
    });
    await list.selectOption(devices.at(-1));
    await until("it is the other one", () => page.evaluate(wanted =>
        window.tracks.length === 2 && window.tracks[1].getSettings().deviceId === wanted, devices.at(-1)));
    await until("one device is held", async () => await heldDevices() === 1);
    await hears(answerer);
    assert.equal(session.called("POST", "mic/offer").length, 1);
    return undefined;
});

// SPEC 7: It offers relays only where `sessions.force_relay` says so; mono, 20 ms, nothing sent in
// silence
// Also: `the encoder is told: mono, 20 ms, silence not sent`
test("with force_relay only relays are offered", async () => {
    const { session, button } = await openWithAnswerer({ settings: { mic: true, forceRelay: true, iceServers: [{ urls: ["turn:127.0.0.1:19302"], username: "u", credential: "c" }] } });
    session.answers["POST mic/offer"] = [500, {}];
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    const { body } = await until("the offer", () => session.called("POST", "mic/offer")[0]);
    assert.deepEqual(body.sdp.match(/^a=candidate:.*$/gm)?.filter(line => !line.includes("typ relay")) ?? [], []);
    assert.match(body.sdp, /a=sendonly/);
});

test("a page that was blocked by the person says how to allow it", async () => {
    const { button, seen } = await open({ settings: { mic: true }, options: { microphone: "denied" }, playing: false });
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    await seen(WORDS["mic.blocked.text"]);
});

test("a page inside another that gives it no microphone says so", async () => {
    const { session, page } = await open({ ...MIC, playing: false });
    await page.goto(`${session.origin}/home`);
    await page.evaluate(url => {
        const frame = document.createElement("iframe");
        frame.allow = "microphone 'none'";
        frame.width = "1000";
        frame.height = "700";
        frame.src = url;
        document.body.append(frame);
    }, session.url);
    const frame = page.frameLocator("iframe");
    await frame.getByRole("button", { name: WORDS.mic, exact: true }).click();
    await frame.getByRole("button", { name: WORDS["mic.turnOn"] }).click();
    await frame.getByText(WORDS["mic.embedded.text"]).waitFor();
});

test("a page without https says that it needs it, and does not offer to try again", async () => {
    const { session, page, button, seen } = await open({ settings: { mic: true }, playing: false });
    await page.goto(session.url.replace("127.0.0.1", "stream.test"));
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    await seen(WORDS["mic.insecure.text"]);
    await untilEqual("no other try is offered", () => page.getByRole("button", { name: WORDS.tryAgain }).count(), 0);
});

test("a computer without a microphone is told to connect one", async () => {
    const session = await startSession({ mic: true });
    const browser = await openBrowser({ openShadow: true, permissions: ["microphone"] });
    try {
        const { page } = browser;
        await page.goto(session.url);
        await page.getByRole("button", { name: WORDS.mic, exact: true }).click();
        await page.getByRole("button", { name: WORDS["mic.turnOn"] }).click();
        await page.getByText(WORDS["mic.noDevice.text"]).waitFor();
    } finally {
        await browser.close();
        await session.stop();
    }
});

test("a page that reloaded by itself goes on with the microphone, muted if it was", async () => {
    const { session, page, button, turnOn, answerer } = await openWithAnswerer();
    if (IS_FIREFOX) {
        // No driver can make it remember a permission: as if the person had.
        await page.addInitScript(() => { navigator.permissions.query = async () => ({ state: "granted" }); });
    }
    await turnOn();
    await button(WORDS["mic.mute"]).click();
    session.status = [200, { status: "starting", restarts: 1 }, {}];
    await session.killChild();
    await page.getByText(WORDS.reconnecting).waitFor();
    await session.startChild();
    session.status = [200, { status: "ready", restarts: 1 }, {}];
    await until("a second offer", () => session.called("POST", "mic/offer").length === 2);
    await button(WORDS["mic.unmute"]).waitFor();
    await button(WORDS["mic.unmute"]).click();
    await hears(answerer);
});

test("the encoder is told: mono, 20 ms, silence not sent", async () => {
    const source = await readFile(new URL("../../web/overlay/mic_link.js", import.meta.url), "utf8");
    const asSpeech = vm.runInNewContext(`${source}; asSpeech`, {});
    const answer = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1", "a=recvonly", ""];
    assert.deepEqual(asSpeech(answer.join("\r\n")).split("\r\n"), ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=20;useinbandfec=1;stereo=0;usedtx=1;maxaveragebitrate=40000", "a=ptime:20", "a=recvonly", ""]);
    assert.equal(asSpeech("v=0\r\nm=video 9 X 96\r\n"), "v=0\r\nm=video 9 X 96\r\n");
});
