// Pages behind proxies of other people: one that passes no WebSockets, and one that asks for a password which stands in the link.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "./support/timed.mjs";
import { openBrowser, readable, screenshot, until, untilPlaying, untilReadable } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";
import { startProduct } from "./support/product.mjs";
import { startProxy } from "./support/proxy.mjs";

let product, browser, page, proxy;

async function open(options, start = startProduct, credentials = "") {
    product = await start();
    proxy = await startProxy(product.origin, options);
    browser = await openBrowser();
    page = browser.page;
    await page.goto(product.url.replace(product.origin, proxy.origin.replace("http://", `http://${credentials}`)));
}

beforeEach(() => { product = browser = proxy = undefined; });
afterEach(async () => {
    await browser?.close();
    await proxy?.stop();
    await product?.stop();
});

test("a proxy that passes no WebSockets is told as what it is", async () => {
    await open({ upgrades: false });
    await untilReadable(page, "The stream cannot get through");
    await untilReadable(page, "A proxy in front of the server does not pass WebSockets");
    await untilReadable(page, "Try again");
    assert.doesNotMatch(await readable(page), /Reconnecting|Connection lost/);
    await screenshot(page, "proxy-without-websockets");
    // The page tells the worker, and its next heartbeat the controller.
    await until("the warning", async () => {
        const { warnings } = (await product.api("GET", `/api/v1/sessions/${product.sessionId}`)).json();
        if (!/does not pass WebSockets/.test(warnings.join("\n"))) {
            throw new Error(JSON.stringify(warnings));
        }
        return true;
    });
});

test("a stream plays from a link with a password in it", async () => {
    await open({ password: "u:p@ss" }, startDemo, "u:p%40ss@");
    await until("pictures", () => page.evaluate(() => document.getElementById("stream").videoWidth > 0
        && document.getElementById("stream").currentTime > 0.5), 60_000);
    // Else nothing here would be put to the test.
    assert.equal(await page.evaluate(() => new URL(document.baseURI).username), "u");
    const relative = await page.evaluate(() => fetch("_neck/status").then(() => "taken", error => String(error)));
    assert.match(relative, /credentials/);
    assert.deepEqual(browser.errors, [], "no script error in the page");
});

test("a page of a stream process works from a link with a password in it", async () => {
    await open({ password: "u:p" }, startProduct, "u:p@");
    await untilPlaying(page, 60_000);
    assert.deepEqual(browser.errors, [], "no script error in the page");
});
