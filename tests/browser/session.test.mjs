// The whole product in a real browser: controller, worker, child and page of `hydraneckwebrtc demo`.
import assert from "node:assert/strict";
import http from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { FAKE_MICROPHONE, openBrowser, readable, screenshot, until, untilPlaying, untilReadable } from "./support/chromium.mjs";
import { childrenNamed, startDemo } from "./support/demo.mjs";
import { strings } from "./support/standin.mjs";

const WORDS = (await strings()).en;
let demo, browser, page, openShadow;

async function open(...flags) {
    demo = await startDemo(...flags);
    browser = await openBrowser({ openShadow, args: FAKE_MICROPHONE, permissions: ["microphone"] });
    page = browser.page;
    // The way back is on this machine too; nothing else is to be asked for.
    await page.route(url => url.hostname !== "127.0.0.1", route =>
        route.fulfill({ contentType: "text/html", body: "<title>Home</title>home" }));
    await page.goto(demo.url);
}

/** Where the overlay leads, from the script that the page got. */
async function returnUrl() {
    const script = await (await fetch(`${demo.url}_neck/overlay.js`)).text();
    return JSON.parse(script.match(/"returnUrl":("[^"]*")/)[1]);
}

beforeEach(() => {
    demo = browser = undefined;
    openShadow = false;
});
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await demo?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

test("the printed URL plays video through the controller's port", async () => {
    await open();
    await untilPlaying(page, 30_000);
    assert.match(page.url(), new RegExp(`^${demo.origin}/session/${demo.sessionId}/`));
    assert.match(await page.content(), /<head[^>]*>\s*<script src="\/session\/[0-9a-f]{32}\/_neck\/overlay\.js"><\/script>/);
    assert.doesNotMatch(await readable(page), /Reconnecting|ended/);
    await screenshot(page, "demo-playing");
});

test("with force-relay the page's own peer connection is relay only", async () => {
    await open("--force-relay");
    const policy = await until("the page's peer connection", () => page.evaluate(() =>
        window.app?.getStream().peer?.getConfiguration().iceTransportPolicy));
    assert.equal(policy, "relay");
});

test("after DELETE the page says that the stream ended and leads back", async () => {
    await open();
    await untilPlaying(page, 30_000);
    const back = await returnUrl();
    const reply = await demo.api("DELETE", `/api/v1/sessions/${demo.sessionId}`);
    assert.equal(reply.status, 204, reply.text);
    await untilReadable(page, "Stream ended");
    await untilReadable(page, "The session was closed by the service.");
    await screenshot(page, "demo-ended");
    assert.deepEqual(childrenNamed(demo.pid, "web-server"), []);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForURL(back);
});

test("the exit button ends the session on the worker and leads back", async () => {
    await open();
    await untilPlaying(page, 30_000);
    const back = await returnUrl();
    await until("the session streams", async () => await demo.sessionState() === "streaming");
    await page.click("#sidebar-parent .sidebar-stream-buttons button:text-is('Exit')");
    await page.waitForURL(back);
    await until("the session has ended as quit", async () => await demo.sessionState() === "ended quit");
    assert.deepEqual(childrenNamed(demo.pid, "web-server"), []);
    await page.click("a:text-is('Start new stream')");
    await untilPlaying(page, 30_000);
});

test("a killed child shows Reconnecting, then the stream plays again", async () => {
    await open();
    await untilPlaying(page, 30_000);
    const [child] = childrenNamed(demo.pid, "web-server");
    process.kill(child, "SIGKILL");
    await untilReadable(page, "Reconnecting…");
    await screenshot(page, "demo-reconnecting");
    await untilPlaying(page, 30_000);
    await until("the notice is gone", async () => !(await readable(page)).includes("Reconnecting"));
    assert.notDeepEqual(childrenNamed(demo.pid, "web-server"), [child]);
});

const button = name => page.getByRole("button", { name, exact: true }).first();

test("a child killed beyond its budget ends the stream, and the page says that it crashed", async () => {
    await open();
    await untilPlaying(page, 30_000);
    const killed = new Set();
    await until("every child was killed until there are no more", async () => {
        for (const child of childrenNamed(demo.pid, "web-server").filter(pid => !killed.has(pid))) {
            killed.add(child);
            process.kill(child, "SIGKILL");
        }
        return await demo.sessionState() === "ended crashed";
    }, 60_000);
    assert.equal(killed.size, 3, "the first one and two restarts");
    await untilReadable(page, "Stream ended");
    await untilReadable(page, WORDS["reason.crashed"]);
});

test("the end is rated through the controller, and a reload of the ended page still shows it", async () => {
    openShadow = true;
    await open();
    await untilPlaying(page, 30_000);
    await demo.api("DELETE", `/api/v1/sessions/${demo.sessionId}`);
    await page.getByRole("radio", { name: WORDS["rating.5"] }).check({ force: true });
    await button(WORDS["rating.send"]).click();
    await page.getByText(WORDS["rating.thanks"]).waitFor();
    await button(WORDS["rating.change"]).waitFor();
    await page.reload();
    await page.getByRole("dialog", { name: "Stream ended" }).waitFor();
    await page.getByText(WORDS["reason.deleted"]).filter({ visible: true }).last().waitFor();
    await page.getByText(WORDS["rating.thanks"]).waitFor();
    await screenshot(page, "demo-ended-reloaded");
});

test("the microphone's button brings the voice to the media server, and lets it go", async () => {
    openShadow = true;
    await open();
    await untilPlaying(page, 30_000);
    const heard = async () => (await (await fetch(`${demo.url}mic`)).json());
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    await button(WORDS["mic.mute"]).waitFor({ timeout: 20_000 });
    const first = await until("packets of a live microphone", async () => {
        const answer = await heard();
        return answer.state === "live" && answer.packets > 20 && answer;
    });
    await until("more of them", async () => (await heard()).packets > first.packets + 50);
    await screenshot(page, "demo-mic-live");
    await button(WORDS["mic.settings"]).click();
    await button(WORDS["mic.turnOff"]).click();
    await until("it is gone on the server", async () => (await heard()).state === "none");
});

test("a page that is opened while its stream restarts waits in words and opens by itself", async () => {
    await open();
    await untilPlaying(page, 30_000);
    const [child] = childrenNamed(demo.pid, "web-server");
    process.kill(child, "SIGKILL");
    await page.goto(demo.url, { waitUntil: "commit" }).catch(() => {});
    await screenshot(page, "demo-waiting");
    await untilPlaying(page, 30_000);
});

test("our own page of an unknown session speaks the person's language", async () => {
    demo = await startDemo();
    browser = await openBrowser({ locale: "fr-BE" });
    page = browser.page;
    const unknown = demo.url.replace(demo.sessionId, "f".repeat(32));
    await page.goto(unknown);
    const words = (await strings()).fr;
    await untilReadable(page, words.ended);
    await untilReadable(page, words["reason.unknown"]);
    await untilReadable(page, `link ${words.startNew}`);
    assert.equal(await page.evaluate(() => document.documentElement.lang), "fr");
    await screenshot(page, "page-unknown-fr");
});

test("our own player's page has the overlay with a way out", async () => {
    openShadow = true;
    await open();
    await page.goto("about:blank");
    const reply = await demo.api("POST", "/api/v1/sessions", { body_ip: await bodyAddress(), engine: "demo", replace: true });
    const { stream_url: url, session_id: id } = reply.json();
    await page.goto(url);
    await untilPlaying(page, 30_000);
    await screenshot(page, "demo-player");
    await button(WORDS.exit).click();
    await button(WORDS["exit.leave"]).click();
    await until("the session has ended as quit", async () => {
        const { sessions } = (await demo.api("GET", "/api/v1/sessions")).json();
        return sessions.find(session => session.id === id)?.reason === "quit";
    });
});

async function bodyAddress() {
    const { sessions } = (await demo.api("GET", "/api/v1/sessions")).json();
    return sessions[0].body_ip;
}

test("posts from a page of another origin change nothing", async () => {
    await open();
    await untilPlaying(page, 30_000);
    // Another name and port of this machine: another origin, and another site.
    const server = http.createServer((request, reply) => reply.setHeader("Content-Type", "text/html").end("<title>Elsewhere</title>"));
    await new Promise(done => server.listen(0, "127.0.0.1", done));
    const elsewhere = await browser.context.newPage();
    await elsewhere.goto(`http://localhost:${server.address().port}/`);
    server.close();
    const target = `${demo.origin}/session/${demo.sessionId}/`;
    const sent = [];
    elsewhere.on("response", reply => sent.push(`${reply.request().method()} ${new URL(reply.url()).pathname.split("/").at(-1)} ${reply.status()}`));
    await elsewhere.evaluate(async base => {
        const tries = ["quit", "rating", "mic/offer", "_neck/facts"].flatMap(path => ["text/plain", "application/json"].map(type =>
            fetch(base + path, { method: "POST", mode: type === "text/plain" ? "no-cors" : "cors", headers: { "Content-Type": type },
                body: '{"stars":1,"type":"offer","sdp":"v=0"}' }).catch(() => null)));
        await Promise.all(tries);
        navigator.sendBeacon(base + "quit", new Blob(["{}"], { type: "text/plain" }));
        const form = document.createElement("form");
        form.method = "post";
        form.action = base + "quit";
        form.target = "_blank";
        document.body.append(form);
        form.submit();
    }, target);
    await until("answers to the simple posts", () => sent.filter(line => line.startsWith("POST")).length >= 4);
    assert.deepEqual(sent.filter(line => line.startsWith("POST") && !/ 4(03|15)$/.test(line)), [], sent.join("\n"));
    assert.match(await demo.sessionState(), /^(streaming|idle)$/);
    const before = await page.evaluate(() => document.querySelector("video").currentTime);
    await until("it plays on", async () => await page.evaluate(() => document.querySelector("video").currentTime) > before + 1);
});
