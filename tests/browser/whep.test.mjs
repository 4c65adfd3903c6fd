// Our player in Chromium, through the controller's port: picture and sound of the built-in clip by WHEP, a publisher by WHIP.
import assert from "node:assert/strict";
import { after, before, test } from "./support/timed.mjs";
import { keepPeers, openBrowser, screenshot, until } from "./support/chromium.mjs";
import { startDemo } from "./support/demo.mjs";

let demo;
before(async () => { demo = await startDemo(); });
after(async () => { await demo?.stop(); });

/** A session of the built-in clip: its URL. */
async function clip(body) {
    const reply = await fetch(`${demo.origin}/api/v1/sessions`, {
        method: "POST",
        headers: { "Authorization": `Bearer ${demo.token}`, "Content-Type": "application/json" },
        body: JSON.stringify({ body_ip: body, engine: "demo" }),
    });
    const session = await reply.json();
    assert.equal(reply.status, 201, JSON.stringify(session));
    return session.stream_url;
}

/** Opens a page whose peer connections can be asked for their statistics. */
async function open(browser, url) {
    const page = await browser.context.newPage();
    await page.addInitScript(keepPeers);
    await page.goto(url);
    return page;
}

const seen = page => page.evaluate(async () => {
    const peer = window.peers.at(-1);
    const stats = peer ? [...(await peer.getStats()).values()] : [];
    const inbound = kind => stats.find(one => one.type === "inbound-rtp" && one.kind === kind) ?? {};
    const video = document.querySelector("video");
    return {
        peers: window.peers.length, state: document.body.dataset.state, connection: peer?.connectionState,
        decoded: inbound("video").framesDecoded ?? 0, lost: inbound("video").packetsLost ?? 0,
        sound: inbound("audio").packetsReceived ?? 0, energy: inbound("audio").totalAudioEnergy ?? 0,
        cipher: stats.find(one => one.type === "transport")?.srtpCipher, time: video.currentTime, width: video.videoWidth,
        muted: video.muted,
    };
});

test("the player shows moving pictures with sound over DTLS-SRTP", async () => {
    const browser = await openBrowser();
    try {
        const page = await open(browser, await clip("127.0.0.2"));
        const first = await until("pictures", async () => {
            const now = await seen(page);
            return now.state === "playing" && now.decoded > 10 && now;
        });
        assert.equal(first.cipher, "SRTP_AEAD_AES_256_GCM", JSON.stringify(first));
        assert.ok(first.muted, "browsers let a page begin without sound only");
        await page.getByRole("button", { name: "Sound on" }).click();
        const later = await until("more pictures, and sound", async () => {
            const now = await seen(page);
            return now.decoded > first.decoded + 50 && now.energy > first.energy && now;
        });
        assert.equal(later.lost, 0);
        assert.ok(later.time > first.time && later.width > 0, JSON.stringify(later));
        await page.getByRole("button", { name: "Full screen" }).click();
        await until("full screen", () => page.evaluate(() => document.fullscreenElement !== null));
        await screenshot(page, "whep-player");
        console.log("seen", JSON.stringify(later));
        assert.deepEqual(browser.errors, []);
    } finally {
        await browser.close();
    }
});

test("who joins in the middle sees a picture at once", async () => {
    const browser = await openBrowser();
    try {
        const url = await clip("127.0.0.3");
        const first = await open(browser, url);
        await until("the clip plays", async () => (await seen(first)).decoded > 30);
        const page = await browser.context.newPage();
        await page.addInitScript(() => {
            addEventListener("DOMContentLoaded", () => {
                const video = document.querySelector("video");
                video.requestVideoFrameCallback(() => { window.firstPicture = performance.now(); });
            });
        });
        await page.goto(url);
        const took = await until("a picture", () => page.evaluate(() => window.firstPicture));
        console.log(`first picture ${Math.round(took)} ms after the page was asked for`);
        assert.ok(took < 3_000, `${took} ms`);
    } finally {
        await browser.close();
    }
});

test("a viewer whose connection is taken away comes back by itself", async () => {
    const browser = await openBrowser();
    try {
        let location = null;
        const viewer = await open(browser, await clip("127.0.0.4"));
        viewer.on("response", response => { location = response.headers().location ?? location; });
        await viewer.reload();
        await until("pictures", async () => (await seen(viewer)).decoded > 10);
        const before = (await seen(viewer)).peers;
        const reply = await fetch(new URL(location, demo.origin), { method: "DELETE" });
        assert.equal(reply.status, 200);
        const again = await until("pictures of a new connection", async () => {
            const now = await seen(viewer);
            return now.peers > before && now.state === "playing" && now.decoded > 10 && now;
        }, 40_000);
        console.log("seen", JSON.stringify(again));
    } finally {
        await browser.close();
    }
});

test("a browser publishes and viewers see it instead of the clip", async () => {
    const browser = await openBrowser();
    try {
        const url = await clip("127.0.0.5");
        const viewer = await open(browser, url);
        const before = await until("the clip", async () => {
            const now = await seen(viewer);
            return now.decoded > 10 && now;
        });
        const publisher = await open(browser, `${demo.origin}/api/v1/health`);
        const status = await publisher.evaluate(async ({ endpoint, token }) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
            const paint = canvas.getContext("2d");
            setInterval(() => {
                paint.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
                paint.fillRect(0, 0, 320, 240);
            }, 40);
            const peer = new RTCPeerConnection();
            canvas.captureStream(25).getTracks().forEach(track => peer.addTransceiver(track, { direction: "sendonly" }));
            await peer.setLocalDescription(await peer.createOffer());
            const reply = await fetch(endpoint, {
                method: "POST", body: peer.localDescription.sdp,
                headers: { "Content-Type": "application/sdp", "Authorization": `Bearer ${token}` },
            });
            await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
            return reply.status;
        }, { endpoint: new URL("whip", url).href, token: demo.token });
        assert.equal(status, 201);
        const during = await until("the publisher's picture", async () => {
            const now = await seen(viewer);
            return now.width === 320 && now;
        });
        assert.notEqual(before.width, 320);
        assert.equal(during.peers, before.peers, "no renegotiation");
        await screenshot(viewer, "whip-published");
        await publisher.close();
        await until("the clip again", async () => (await seen(viewer)).width === before.width, 60_000);
    } finally {
        await browser.close();
    }
});
