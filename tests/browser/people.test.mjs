// What people do in the whole product, in a real browser: speak, rate, leave, and what others cannot do to them.
import assert from "node:assert/strict";
import http from "node:http";
import { after, afterEach, beforeEach, test } from "./support/timed.mjs";
import { closeSharedBrowser, openTab, screenshot, until, untilEqual, untilPlaying, untilReadable } from "./support/browser.mjs";
import { startProduct } from "./support/product.mjs";
import { strings } from "./support/standin.mjs";

const WORDS = (await strings()).en;
let product, browser, page;

async function open() {
    product = await startProduct();
    browser = await openTab({ permissions: ["microphone"] });
    page = browser.page;
    await page.goto(product.url);
}

after(closeSharedBrowser);
beforeEach(() => { product = browser = undefined; });
afterEach(async () => {
    const errors = browser?.errors ?? [];
    await browser?.close();
    await product?.stop();
    assert.deepEqual(errors, [], "no script error in the page");
});

const button = name => page.getByRole("button", { name, exact: true }).first();

test("the end is rated through the controller, and a reload of the ended page still shows it", async () => {
    await open();
    await untilPlaying(page);
    await product.api("DELETE", `/api/v1/sessions/${product.sessionId}`);
    await page.getByRole("radio", { name: WORDS["rating.5"] }).check({ force: true });
    await button(WORDS["rating.send"]).click();
    await page.getByText(WORDS["rating.thanks"]).waitFor();
    await button(WORDS["rating.change"]).waitFor();
    await page.reload();
    await page.getByRole("dialog", { name: "Stream ended" }).waitFor();
    await page.getByText(WORDS["reason.deleted"]).filter({ visible: true }).last().waitFor();
    await page.getByText(WORDS["rating.thanks"]).waitFor();
    await screenshot(page, "product-ended-reloaded");
});

test("the microphone's button brings the voice to the media server, and lets it go", async () => {
    await open();
    await untilPlaying(page);
    const heard = async () => (await (await fetch(`${product.url}mic`)).json());
    await button(WORDS.mic).click();
    await button(WORDS["mic.turnOn"]).click();
    await button(WORDS["mic.mute"]).waitFor();
    const first = await until("packets of a live microphone", async () => {
        const answer = await heard();
        return answer.state === "live" && answer.packets > 20 && answer;
    });
    await until("more of them", async () => (await heard()).packets > first.packets + 50);
    await screenshot(page, "product-mic-live");
    await button(WORDS["mic.settings"]).click();
    await button(WORDS["mic.turnOff"]).click();
    await until("it is gone on the server", async () => (await heard()).state === "none");
});

test("our own page of an unknown session speaks the person's language", async () => {
    product = await startProduct();
    browser = await openTab({ openShadow: false, locale: "fr-BE" });
    page = browser.page;
    const unknown = product.url.replace(product.sessionId, "f".repeat(32));
    await page.goto(unknown);
    const words = (await strings()).fr;
    await untilReadable(page, words.ended);
    await untilReadable(page, words["reason.unknown"]);
    await untilReadable(page, `link ${words.startNew}`);
    await untilEqual("the language", () => page.evaluate(() => document.documentElement.lang), "fr");
    await screenshot(page, "page-unknown-fr");
});

// SPEC 8 whep: `GET /` of both roles is a small page in the person's language, with a picture for
// its tab; pages hold theirs themselves
// Also: `who_comes_by_hand_finds_a_page_and_a_picture_and_nothing_else_is_ours`,
// `the_picture_of_a_page_is_one_attribute_without_a_character_that_ends_it`
test("the page at the root of a server speaks the person's language, and has a picture", async () => {
    product = await startProduct();
    for (const [language, locale] of [["en", "en-GB"], ["nl", "nl-BE"], ["fr", "fr-FR"], ["de", "de-AT"]]) {
        browser = await openTab({ openShadow: false, locale });
        await browser.page.goto(product.origin);
        const words = (await strings())[language];
        await untilReadable(browser.page, words.front);
        await untilReadable(browser.page, words["front.hint"]);
        await untilEqual("the title", () => browser.page.title(), words.front);
        await screenshot(browser.page, `page-root-${language}`);
        assert.deepEqual(browser.errors, []);
        await browser.close();
    }
    browser = undefined;
    const icon = await fetch(`${product.origin}/favicon.ico`);
    assert.deepEqual([icon.status, icon.headers.get("Content-Type")], [200, "image/svg+xml"]);
});

test("our own player's page has the overlay with a way out", async () => {
    await open();
    await page.goto("about:blank");
    const { stream_url: url, session_id: id } = await product.create({ body_ip: await bodyAddress(), engine: "demo", replace: true });
    await page.goto(url);
    await untilPlaying(page);
    await screenshot(page, "product-player");
    await button(WORDS.exit).click();
    await button(WORDS["exit.leave"]).click();
    await until("the session has ended as quit", async () => {
        const { sessions } = (await product.api("GET", "/api/v1/sessions")).json();
        return sessions.find(session => session.id === id)?.reason === "quit";
    });
    await page.waitForURL(address => !address.pathname.includes("/session/"));
});

async function bodyAddress() {
    const { sessions } = (await product.api("GET", "/api/v1/sessions")).json();
    return sessions[0].body_ip;
}

test("posts from a page of another origin change nothing", async () => {
    await open();
    await untilPlaying(page);
    // Another name and port of this machine: another origin, and another site.
    const server = http.createServer((request, reply) => reply.setHeader("Content-Type", "text/html").end("<title>Elsewhere</title>"));
    await new Promise(done => server.listen(0, "127.0.0.1", done));
    const elsewhere = await browser.context.newPage();
    await elsewhere.goto(`http://localhost:${server.address().port}/`);
    server.close();
    const target = `${product.origin}/session/${product.sessionId}/`;
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
    await until("it goes on", async () => /^(streaming|idle)$/.test(await product.sessionState()));
    const before = await page.evaluate(() => document.querySelector("video").currentTime);
    await until("it plays on", async () => await page.evaluate(() => document.querySelector("video").currentTime) > before + 1);
});
