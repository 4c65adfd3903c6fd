// A media process of an operator's in a real browser: FFmpeg's picture and sound, and its death while somebody watches.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "./support/timed.mjs";
import { openBrowser, screenshot, until, untilEqual } from "./support/browser.mjs";
import { watchPeers } from "./support/peers.mjs";
import { startWorker } from "./support/worker.mjs";

const BARS = ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
const TONE = ["-f", "lavfi", "-i", "sine=frequency=440"];
const ENGINES = {
    bars: { command: [...BARS, ...TONE], restart_backoff: "100ms", stale_timeout: "8s" },
    mute: { command: BARS, video: "vp8" },
    // Parameter sets in the description only, and B frames.
    hard: { command: BARS, audio: "no", video_encoder: ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        "-g", "50", "-bf", "2", "-flags", "+global_header"] },
};

let worker, browser, page, id;

async function open(engine) {
    worker = await startWorker(ENGINES);
    const reply = await worker.api("POST", "/api/v1/sessions", { body_ip: "127.0.2.1", engine });
    assert.equal(reply.status, 201, JSON.stringify(reply.json));
    id = reply.json.session_id;
    browser = await openBrowser();
    page = browser.page;
    await watchPeers(page);
    await page.goto(reply.json.stream_url);
}

/** Number of peers, and what the last one received of a kind. */
function received(kind) {
    return page.evaluate(async wanted => {
        const stats = [...(await window.peers.at(-1)?.getStats() ?? new Map()).values()];
        const stream = stats.find(each => each.type === "inbound-rtp" && each.kind === wanted);
        const codec = stats.find(each => each.id === stream?.codecId)?.mimeType;
        return { peers: window.peers.length, codec, ssrc: stream?.ssrc, frames: stream?.framesDecoded ?? 0,
            packets: stream?.packetsReceived ?? 0 };
    }, kind);
}

function plays(frames) {
    return until(`${frames} pictures`, async () => {
        const stats = await received("video");
        return stats.frames >= frames && stats;
    }, 90_000);
}

beforeEach(() => { worker = browser = undefined; });
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await worker?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

/** What the worker says of the session. */
const asked = async () => (await worker.api("GET", `/api/v1/sessions/${id}`)).json;

async function survives(signal) {
    await open("bars");
    const before = await plays(50);
    assert.equal(before.codec, "video/H264");
    await until("sound", async () => {
        const sound = await received("audio");
        return sound.packets > 0 && sound.codec === "audio/opus";
    });
    const [pid] = await worker.processes();
    process.kill(pid, signal);
    const begun = Date.now();
    await until("a new process", async () => (await worker.processes()).some(each => each !== pid));
    const { frames } = await received("video");
    const after = await plays(frames + 25);
    console.log(`${signal}: moving again for a second after ${Date.now() - begun} ms`);
    await screenshot(page, `engine-after-${signal}`);
    assert.deepEqual([after.peers, after.ssrc], [before.peers, before.ssrc]);
    await untilEqual("one restart, and the same viewer", async () => {
        const session = await asked();
        return [session.restarts, session.status, session.connections];
    }, [1, "streaming", 1]);
}

// SPEC 8: In Chromium: H.264 and VP8 play; after SIGKILL and after SIGSTOP of the process the same
// connection shows moving pictures again; a viewer counts as a browser
// Also: `a viewer sees pictures again after its process got SIGSTOP, without a new connection`,
// `VP8 without sound plays, and the session ends when its viewer is gone and it is deleted`
test("a viewer sees pictures again after its process got SIGKILL, without a new connection", () => survives("SIGKILL"));

test("a viewer sees pictures again after its process got SIGSTOP, without a new connection", () => survives("SIGSTOP"));

test("a picture whose parameter sets only its description has is seen, and its B frames are told", async () => {
    await open("hard");
    await plays(50);
    const note = page.locator("#note");
    await until("the note", async () => (await note.textContent()) === "The source sends B frames, which browsers show jerkily." && note.isVisible());
    await screenshot(page, "engine-b-frames");
    await until("the warning", async () => {
        const { warnings } = await asked();
        if (!/^the stream process: its picture has B frames.*`-bf 0`/.test(warnings.join())) {
            throw new Error(JSON.stringify(warnings));
        }
        return true;
    });
});

test("VP8 without sound plays, and the session ends when its viewer is gone and it is deleted", async () => {
    await open("mute");
    const picture = await plays(50);
    assert.equal(picture.codec, "video/VP8");
    assert.equal((await received("audio")).packets, 0);
    await untilEqual("one viewer", async () => {
        const { status, connections } = await asked();
        return [status, connections];
    }, ["streaming", 1]);
    await page.goto("about:blank");
    await until("nobody watches", async () => (await asked()).status === "idle", 90_000);
    assert.equal((await worker.api("DELETE", `/api/v1/sessions/${id}`)).status, 204);
    assert.deepEqual(await worker.processes(), []);
});
