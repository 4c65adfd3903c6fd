// A browser publishes into a media process (`ingest: process`): viewers see what the process makes of it.
import assert from "node:assert/strict";
import { test } from "./support/timed.mjs";
import { openBrowser, screenshot, until, untilEqual } from "./support/browser.mjs";
import { publish, received, watchPeers } from "./support/peers.mjs";
import { startWorker } from "./support/worker.mjs";

test("what a browser publishes goes through the process, and viewers see its picture and hear its sound", async () => {
    const command = ["/usr/bin/ffmpeg", "-vf", "scale=200:100"];
    const worker = await startWorker({ through: { command, ingest: "process" } });
    const browser = await openBrowser({ autoplay: true });
    try {
        const reply = await worker.api("POST", "/api/v1/sessions", { body_ip: "127.0.2.1", engine: "through" });
        assert.equal(reply.status, 201, JSON.stringify(reply.json));
        const viewer = browser.page;
        await watchPeers(viewer);
        await viewer.goto(reply.json.stream_url);
        assert.deepEqual(await worker.processes(), [], "nobody publishes yet");
        const publisher = await browser.context.newPage();
        await publisher.goto(`${worker.origin}/api/v1/health`);
        const begun = Date.now();
        const endpoint = new URL("whip", reply.json.stream_url).href;
        const { status, location: place } = await publish(publisher, endpoint, worker.token, { sound: true });
        assert.equal(status, 201);
        assert.match(place, /\/whip\/[0-9a-f]{32}$/);
        const now = await until("the picture that went through the process", async () => {
            const now = await received(viewer);
            return now.width === 200 && now.frames > 25 && now.sound > 25 && now;
        }, 90_000);
        console.log(`${now.frames} pictures ${Date.now() - begun} ms after the publisher's offer`);
        assert.equal(now.codec, "video/H264", "the process encodes, whatever the browser sends");
        await screenshot(viewer, "whip-through-process");
        assert.equal((await fetch(place, { method: "DELETE" })).status, 200);
        await until("the process is gone with its publisher", async () => (await worker.processes()).length === 0, 60_000);
        await untilEqual("no restart", async () => {
            const { restarts, status } = (await worker.api("GET", `/api/v1/sessions/${reply.json.session_id}`)).json;
            return [restarts, status];
        }, [0, "streaming"]);
        assert.deepEqual(browser.errors, []);
    } finally {
        await browser.close();
        await worker.stop();
    }
});
