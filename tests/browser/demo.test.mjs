// `hydraneckwebrtc demo` as its user sees it: the built-in clip by WebRTC, and a microphone that arrives.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "./support/timed.mjs";
import { openBrowser, screenshot, until } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";
import { watchPeers } from "./support/peers.mjs";

let demo, browser, page;

async function open(options) {
    demo = await startDemo();
    browser = await openBrowser(options);
    page = browser.page;
    await watchPeers(page);
    await page.goto(demo.url);
}

/** What the page's peers received of a kind, and how. */
function received(kind) {
    return page.evaluate(async wanted => {
        for (const peer of window.peers) {
            const stats = [...(await peer.getStats()).values()];
            const stream = stats.find(each => each.type === "inbound-rtp" && each.kind === wanted);
            if (stream) {
                const codec = stats.find(each => each.id === stream.codecId);
                const transport = stats.find(each => each.type === "transport");
                return { ...stream, mimeType: codec?.mimeType, dtls: transport?.dtlsState, srtp: transport?.srtpCipher };
            }
        }
        return undefined;
    }, kind);
}

beforeEach(() => { demo = browser = undefined; });
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await demo?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

// SPEC 1: `demo` prints a URL that plays video in a browser, through the controller's port
// SPEC 1: `demo` plays picture and sound by WebRTC (VP8, Opus) over the loop's end; who leaves
// comes to a page from which a new stream begins
// Also: `who leaves the demo comes to a page from which a new stream begins`
test("demo plays picture and sound by WebRTC through the controller's port", async () => {
    await open({ autoplay: true });
    assert.match(page.url(), new RegExp(`^${demo.origin}/session/${demo.sessionId}/`));
    const session = (await demo.api("GET", `/api/v1/sessions/${demo.sessionId}`)).json();
    assert.equal(session.engine, "demo");
    const picture = await until("300 pictures: more than one round of the clip", async () => {
        const stats = await received("video");
        return stats?.framesDecoded >= 300 && stats;
    }, 120_000);
    await page.evaluate(() => document.querySelectorAll("video").forEach(video => { video.muted = false; }));
    const sound = await until("a tone", async () => {
        const stats = await received("audio");
        return stats?.totalAudioEnergy > 0.001 && stats;
    });
    await screenshot(page, "demo-webrtc");
    console.log(`${picture.mimeType} ${picture.framesDecoded} pictures, ${picture.framesPerSecond} fps, `
        + `${picture.packetsLost} lost; ${sound.mimeType} ${sound.packetsReceived} packets, level ${sound.audioLevel}; `
        + `DTLS ${picture.dtls}, ${picture.srtp}`);
    assert.deepEqual([picture.mimeType, sound.mimeType, picture.dtls], ["video/VP8", "audio/opus", "connected"]);
    assert.equal(picture.frameWidth, 640);
});

// SPEC 1: `demo`'s body says what it hears of the microphone: packets, seconds of sound, bits,
// losses (no loudness: it does not decode)
// Also: `packets_and_their_sound_are_counted_and_strange_ones_apart`, `opus_says_how_long_it_lasts`
test("the simulated body says what it hears of the microphone", async () => {
    await open({ microphone: "fake", permissions: ["microphone"] });
    const status = await page.evaluate(async () => {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
        const peer = new RTCPeerConnection();
        window.mic = peer;
        stream.getTracks().forEach(track => peer.addTrack(track, stream));
        await peer.setLocalDescription(await peer.createOffer());
        const reply = await fetch("mic/offer", {
            method: "POST", headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ type: "offer", sdp: peer.localDescription.sdp }),
        });
        if (reply.ok) {
            await peer.setRemoteDescription(await reply.json());
        }
        return reply.status;
    });
    assert.equal(status, 200);
    // Its first may tell of a busy machine.
    let lines = [];
    const line = await until("a line of the body", () => {
        lines = [...demo.output().matchAll(/the body hears the microphone: (\d+) packets\/s, ([\d.]+) s of sound .*/g)];
        return lines.find(([, packets, seconds]) => Number(packets) > 20 && Number(seconds) > 1);
    }).catch(error => assert.fail(`${error.message}: ${lines.map(([text]) => text).join("\n")}`));
    console.log(line[0]);
    await page.evaluate(() => window.mic.close());
    await until("its silence", () => demo.output().includes("the body hears the microphone no more"));
});

test("who leaves the demo comes to a page from which a new stream begins", async () => {
    await open({ autoplay: true, openShadow: true });
    const plays = () => until("moving pictures", () => page.evaluate(() => document.querySelector("video")?.currentTime > 0.5));
    await plays();
    await page.getByRole("button", { name: "Leave the stream" }).click();
    await page.getByRole("button", { name: "Leave", exact: true }).click();
    await page.waitForURL(address => !address.pathname.includes("/session/"));
    await page.click("a:text-is('Start new stream')");
    await page.waitForURL(address => address.pathname.includes("/session/") && !address.href.startsWith(demo.url));
    await plays();
});
