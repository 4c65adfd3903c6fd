// The whole product in a real browser: controller, worker, stream process and page.
import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "./support/timed.mjs";
import {
    closeSharedBrowser, keepWords, keptWords, openTab, readable, screenshot, until, untilEqual, untilPlaying, untilReadable, untilUnreadable,
} from "./support/browser.mjs";
import { childrenNamed } from "./support/demo.mjs";
import { startProduct } from "./support/product.mjs";
import { strings } from "./support/standin.mjs";

const WORDS = (await strings()).en;
let product, browser, page;

async function open(options, openShadow = false) {
    product = await startProduct(options);
    browser = await openTab({ openShadow });
    page = browser.page;
    await page.goto(product.url);
}

/** Where the overlay leads, from the script that the page got. */
async function returnUrl() {
    const script = await (await fetch(`${product.url}_neck/overlay.js`)).text();
    return JSON.parse(script.match(/"returnUrl":("[^"]*")/)[1]);
}

after(closeSharedBrowser);
beforeEach(() => { product = browser = undefined; });
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await product?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

test("a session's URL plays video through the controller's port", async () => {
    await open();
    await untilPlaying(page);
    assert.match(page.url(), new RegExp(`^${product.origin}/session/${product.sessionId}/`));
    assert.match(await page.content(), /<head[^>]*>\s*<script data-cfasync="false" src="\/session\/[0-9a-f]{32}\/_neck\/overlay\.js"><\/script>/);
    assert.doesNotMatch(await readable(page), /Reconnecting|ended/);
    await untilEqual("the tab bears the experience's name", () => page.title(), "Demo");
    await screenshot(page, "product-playing");
});

test("with force-relay the page's own peer connection is relay only", async () => {
    await open({ forceRelay: true });
    const policy = await until("the page's peer connection", () => page.evaluate(() =>
        window.app?.getStream().peer?.getConfiguration().iceTransportPolicy));
    assert.equal(policy, "relay");
});

test("after DELETE the page says that the stream ended and leads back", async () => {
    await open();
    await untilPlaying(page);
    const back = await returnUrl();
    const reply = await product.api("DELETE", `/api/v1/sessions/${product.sessionId}`);
    assert.equal(reply.status, 204, reply.text);
    await untilReadable(page, "Stream ended");
    await untilReadable(page, "The session was closed by the service.");
    await screenshot(page, "product-ended");
    assert.deepEqual(childrenNamed(product.pid, "web-server"), []);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForURL(back);
});

test("the exit button ends the session on the worker and leads back", async () => {
    await open();
    await untilPlaying(page);
    const back = await returnUrl();
    await until("the session streams", async () => await product.sessionState() === "streaming");
    await page.click("#sidebar-parent .sidebar-stream-buttons button:text-is('Exit')");
    await page.waitForURL(back);
    await until("the session has ended as quit", async () => await product.sessionState() === "ended quit");
    await untilEqual("its process is gone", () => childrenNamed(product.pid, "web-server"), []);
    await page.click("a:text-is('Start new stream')");
    await untilPlaying(page);
});

test("a killed child shows Reconnecting, then the stream plays again", async () => {
    await open({}, true);
    await untilPlaying(page);
    await keepWords(page);
    const [child] = childrenNamed(product.pid, "web-server");
    process.kill(child, "SIGKILL");
    await until("its words", async () => (await keptWords(page)).includes("Reconnecting…"));
    await screenshot(page, "product-reconnecting");
    await untilPlaying(page);
    await untilUnreadable(page, "Reconnecting");
    assert.notDeepEqual(childrenNamed(product.pid, "web-server"), [child]);
});

test("a child killed beyond its budget ends the stream, and the page says that it crashed", async () => {
    await open();
    await untilPlaying(page);
    const killed = new Set();
    await until("every child was killed until there are no more", async () => {
        for (const child of childrenNamed(product.pid, "web-server").filter(pid => !killed.has(pid))) {
            killed.add(child);
            process.kill(child, "SIGKILL");
        }
        return await product.sessionState() === "ended crashed";
    }, 60_000);
    assert.equal(killed.size, 3, `the first one and two restarts:\n${product.output()}`);
    await untilReadable(page, "Stream ended");
    await untilReadable(page, WORDS["reason.crashed"]);
});

test("a page that is opened while its stream restarts waits in words and opens by itself", async () => {
    await open();
    await untilPlaying(page);
    const [child] = childrenNamed(product.pid, "web-server");
    process.kill(child, "SIGKILL");
    await page.goto(product.url, { waitUntil: "commit" }).catch(() => {});
    await screenshot(page, "product-waiting");
    await untilPlaying(page);
});
