// A stream whose worker is drained, or dies, plays again at another worker under the same address.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, beforeEach, test } from "./support/timed.mjs";
import { closings, pairedAfter, startBody } from "./support/body.mjs";
import { closeSharedBrowser, keepWords, keptWords, openTab, remove, screenshot, until, untilEqual } from "./support/browser.mjs";
import { WORDS } from "./support/file.mjs";
import { installStandIns } from "./support/product.mjs";
import { startRole, TOKEN } from "./support/role.mjs";
import { startWorker } from "./support/worker.mjs";

/** How often a worker beats: nobody is sent to one that is late, which it is after one and a half, on a busy machine too. */
const HEARTBEAT = "1s";

/** Where the simulated body is. */
const BODY = "127.0.2.9";

let controller, workers, body, tab, page, url, id, install;

after(closeSharedBrowser);
beforeEach(async () => {
    [controller, body, install] = await Promise.all([startController(), startBody(BODY), installStandIns()]);
    workers = await Promise.all([0, 1].map(() => startWorker({}, {
        controller: { url: controller.origin, token: TOKEN, heartbeat_interval: HEARTBEAT }, drain: { timeout: "60s" },
        bodies: body.bodies, sessions: { web_server: join(install, "web-server") },
    })));
    await until("both workers are up", async () => (await controller.workers()).filter(worker => worker.status === "up").length === 2);
    ({ stream_url: url, session_id: id } = await until("a session", async () => {
        const created = await controller.api("POST", "/api/v1/sessions", { body_ip: BODY });
        if (created.status !== 201) {
            throw new Error(JSON.stringify(created.json));
        }
        return created.json;
    }));
    tab = await openTab({ permissions: ["microphone"] });
    page = tab.page;
    await page.goto(url);
    await untilItPlays("at first");
});
afterEach(async () => {
    await tab?.close();
    // What they have left to drain ends with the second signal.
    (workers ?? []).filter(worker => !worker.isOver()).forEach(worker => worker.signal("SIGTERM"));
    await Promise.all((workers ?? []).map(worker => worker.stop()));
    await controller?.stop();
    await body?.stop();
    await remove(install);
});

async function startController() {
    const controller = await startRole("controller", () => ({
        server: { operator_listen: "none" }, // A worker that is late for less is a busy machine's, and its session stays.
        workers: { heartbeat_interval: HEARTBEAT, heartbeat_timeout: "5s" },
        // What is watched moves when half of it is left to the worker, which is at once.
        sessions: { move: "always" }, drain: { timeout: "120s" },
    }));
    return { ...controller, workers: async () => (await controller.api("GET", "/api/v1/workers")).json?.workers ?? [] };
}

const place = async () => (await controller.api("GET", `/api/v1/sessions/${id}`)).json?.worker_id;

/** A picture moves; when the first look at it was. */
async function untilItPlays(what) {
    const time = () => page.evaluate(() => document.querySelector("video")?.currentTime ?? 0).catch(() => 0);
    let before = 0;
    return until(`it plays ${what}`, async () => {
        const now = await time();
        const moves = now > 0 && before > 0 && now !== before;
        before = now;
        return moves && Date.now();
    });
}

/** It moves while `cause` is done: what the page said of it, and how long there was no stream. */
async function movesBecause(what, words, cause, atLast = async () => {}) {
    const from = await place();
    await page.evaluate(() => { window.sameLoad = true; });
    await keepWords(page);
    const since = Date.now();
    await cause(from);
    await until("the page is loaded anew", () => page.evaluate(() => document.readyState === "complete" && !window.sameLoad).catch(() => false));
    const gap = await untilItPlays("again") - since;
    await until("another worker has it", async () => ![undefined, from].includes(await place()))
        .catch(error => assert.fail(`${error.message}\n${controller.output()}`));
    assert.ok(page.url().startsWith(url), `under the same address, not ${page.url()}`);
    const said = await keptWords(page);
    console.log(`  ${what}: a picture again after ${gap} ms`);
    assert.ok(words.some(key => said.includes(WORDS[key])), said);
    await screenshot(page, `moves-${what}`);
    await untilEqual("one move", async () => (await controller.api("GET", `/api/v1/sessions/${id}`)).json.moves, 1);
    await atLast();
    await bodySawOneGame();
}

/** The game ran on, and nothing is left on the body once the session ends. */
async function bodySawOneGame() {
    const untilEvents = async (what, check) => {
        let seen = [];
        await until(what, async () => check(seen = await body.events()))
            .catch(error => assert.fail(`${error.message}: ${JSON.stringify(seen)}`));
        return seen;
    };
    const before = await untilEvents("two streams of one game, and one client", events => {
        const streams = events.filter(event => event.stream_started);
        return streams.length >= 2 && new Set(streams.map(event => event.stream_started.got)).size === 1 && pairedAfter(events).length === 1;
    });
    assert.deepEqual(closings(before), [], "nothing was closed");
    assert.equal((await controller.api("DELETE", `/api/v1/sessions/${id}`)).status, 204);
    const all = await body.events();
    assert.deepEqual(pairedAfter(all), [], JSON.stringify(all));
    assert.notDeepEqual(closings(all), [], "then the game was closed");
}

const button = name => page.getByRole("button", { name, exact: true }).first();

/** The worker hears the microphone of this load of the page. */
const isHeard = () => until("the microphone is heard", async () => {
    const { state, packets } = await (await fetch(`${url}mic`)).json();
    return state === "live" && packets > 10;
});

// SPEC 4: In Chromium the page of a session that moves says so, and no longer that it ends with the
// drain, and plays again by itself under its link, whose stream process has other numbers now, the
// microphone on as before; the body saw one game all the time, and one client less at the end
// (`tests/browser`)
// Also: `the stream of a killed worker plays again at another one`, `a move is announced in place
// of the drain, as long as it takes`
test("the stream of a drained worker plays again at another one", async () => {
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    await isHeard();
    await movesBecause("drain", ["reconnecting.moving"], async from => {
        const drained = await controller.api("POST", `/api/v1/workers/${from}/drain`, {});
        assert.equal(drained.status, 204, JSON.stringify(drained.json));
    }, async () => {
        // It comes back by itself.
        await isHeard();
        await button(WORDS["mic.mute"]).waitFor();
    });
});

test("the stream of a killed worker plays again at another one", async () => {
    // Whether the page still finds it on its way is chance.
    await movesBecause("death", ["reconnecting.moving", "reconnecting.hint"], async from => {
        const all = await Promise.all(workers.map(async worker => [worker, (await worker.api("GET", "/api/v1/sessions")).json.sessions.length]));
        const [killed] = all.find(([, count]) => count > 0);
        assert.ok(from && killed, "its worker");
        killed.signal("SIGKILL");
    });
});
