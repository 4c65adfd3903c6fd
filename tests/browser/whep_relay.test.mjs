// Viewers that may use relays only, through a real coturn: pictures, joining in the middle, and an ICE restart when the relay dies.
import assert from "node:assert/strict";
import { after, before, test } from "./support/timed.mjs";
import { openBrowser, screenshot, until } from "./support/browser.mjs";
import { startCoturn } from "./support/coturn.mjs";
import { received, watchPeers } from "./support/peers.mjs";
import { startWorker } from "./support/worker.mjs";

/** Ten seconds from one key frame to the next: who joins in between has to be helped. */
const LONG_GROUPS = {
    command: ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"],
    video: "vp8", video_encoder: ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k", "-g", "250"],
};

let coturn, worker, url, browser;
before(async () => {
    coturn = await startCoturn();
    worker = await startWorker({ long: LONG_GROUPS }, { sessions: { force_relay: true }, ice_servers: coturn.servers(600) });
    const reply = await worker.api("POST", "/api/v1/sessions", { body_ip: "127.0.2.1", engine: "long" });
    assert.equal(reply.status, 201, JSON.stringify(reply.json));
    url = reply.json.stream_url;
    browser = await openBrowser();
});
after(async () => {
    await browser?.close();
    await worker?.stop();
    await coturn?.close();
});

/** A page of the player, and the WHEP requests it makes, as "POST 201". */
async function open() {
    const page = await browser.context.newPage();
    const calls = [];
    page.on("response", response => {
        if (/\/whep(\/|$)/.test(new URL(response.url()).pathname)) {
            calls.push(`${response.request().method()} ${response.status()}`);
        }
    });
    await watchPeers(page);
    await page.goto(url);
    return { page, calls };
}

const plays = (page, frames) => until(`${frames} pictures`, async () => {
    const now = await received(page);
    return now.state === "playing" && now.frames > frames && now;
});

// SPEC 8 whep: Viewers that may use relays only, through a real coturn: pictures and sound, a
// picture within a second for who joins in the middle; when the relay dies the player restarts ICE
// by `PATCH`, and pictures go on without a new `POST` or a reload
// Also: `who joins a group of ten seconds in the middle, through the relay, sees a picture within a
// second`, `a relay that dies under a viewer: ICE is restarted by PATCH and pictures go on, without
// a new POST or a reload`
test("a viewer that may use relays only sees pictures and hears sound through coturn", async () => {
    const { page } = await open();
    const now = await plays(page, 25);
    assert.equal(now.way, "relay", JSON.stringify(now));
    await until("sound", async () => (await received(page)).sound > 25);
    await until("coturn says that it relays to us", () => /peer 127\.0\.0\.1/.test(coturn.log))
        .catch(error => assert.fail(`${error.message}:\n${coturn.log}`));
    await page.close();
});

test("who joins a group of ten seconds in the middle, through the relay, sees a picture within a second", async () => {
    const { page: early } = await open();
    await plays(early, 40);
    const took = [];
    // A busy machine may hold one browser up; it is about ours.
    for (let joiner = 0; joiner < 8 && !took.some(({ all }) => all <= 1_000); joiner += 1) {
        const { page } = await open();
        await until("a picture", () => page.evaluate(() => window.firstPicture));
        took.push(await page.evaluate(() => ({
            all: Math.round(window.firstPicture - window.begun), afterConnecting: Math.round(window.firstPicture - window.connected),
        })));
        assert.equal((await received(page)).way, "relay");
        await page.close();
    }
    console.log(`joined in the middle through a relay, ms from the offer and from connecting to the first picture: ${JSON.stringify(took)}`);
    assert.ok(took.some(({ all }) => all <= 1_000), JSON.stringify(took));
    await early.close();
});

test("a relay that dies under a viewer: ICE is restarted by PATCH and pictures go on, without a new POST or a reload", async () => {
    const { page, calls } = await open();
    const before = await plays(page, 25);
    await page.evaluate(() => { window.sameLoad = true; });
    await coturn.stop();
    await coturn.start();
    const begun = Date.now();
    await until("the ICE restart is answered", () => calls.includes("PATCH 200"), 60_000);
    const { frames } = await received(page);
    const now = await plays(page, frames + 25);
    console.log(`pictures for a second again ${Date.now() - begun} ms after the relay came back: ${calls.join(", ")}`);
    assert.deepEqual([now.peers, now.ssrc, now.way], [before.peers, before.ssrc, "relay"]);
    assert.equal(calls.filter(call => call.startsWith("POST")).length, 1, calls.join());
    assert.equal(await page.evaluate(() => window.sameLoad), true);
    await screenshot(page, "whep-relay-restarted");
    assert.deepEqual(browser.errors, []);
});
