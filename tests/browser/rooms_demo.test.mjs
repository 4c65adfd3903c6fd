// The demo's room: two windows meet by the link that it prints, and come back after a drain.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "./support/timed.mjs";
import { openBrowser, until, untilReadable } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";

/** A busy machine. */
const PATIENCE = 60_000;

let demo, link, tab;

before(async () => {
    demo = await startDemo("--engine", "demo");
    link = new URL(demo.output().match(/^A room.*?: (http\S+)/m)[1]);
    tab = await openBrowser({ microphone: "fake", autoplay: true, permissions: ["microphone", "camera"] });
});
after(async () => {
    await tab?.close();
    await demo?.stop();
});

// What a test left open is nobody in the next one's room.
afterEach(async () => {
    await Promise.all(tab.context.pages().filter(page => page !== tab.page).map(page => page.close()));
    await tab.page.goto("about:blank");
});

/** A page at the door of the room. */
async function visit(hash = link.hash, page = null) {
    const opened = page ?? await tab.context.newPage();
    await opened.goto("about:blank");
    await opened.goto(`${link.origin}${link.pathname}${hash}`);
    await opened.locator("#door").waitFor();
    return opened;
}

async function join(name, page = null) {
    const opened = await visit(link.hash, page);
    await opened.locator("#name").fill(name);
    await until("the camera at the door", () => opened.locator("#mirror.pictured").count(), PATIENCE);
    await opened.locator("#join").click();
    return opened;
}

/** What the tiles of a page show. */
const tiles = page => page.evaluate(() => Promise.all([...document.querySelectorAll(".tile")].map(async tile => {
    const video = tile.querySelector("video");
    return {
        name: tile.querySelector(".name").textContent, state: tile.querySelector(".state").textContent,
        pictured: tile.classList.contains("pictured"), speaks: tile.classList.contains("speaks"), plays: video.videoWidth > 0 && video.currentTime > 0.3,
        sounds: tile.querySelector("audio")?.srcObject?.getTracks().length ?? 0,
    };
})));

/** Until the tiles of the page are as `check` wants them. */
async function untilTiles(page, what, check) {
    let seen = [];
    try {
        await until(what, async () => check(seen = await tiles(page)), PATIENCE);
    } catch (error) {
        throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${await page.locator("#note").innerText()}\n${demo.output().slice(-3_000)}`);
    }
    return seen;
}

const meet = (page, names) => untilTiles(page, `${names} are seen`, all =>
    all.length === names.length && names.every(name => all.some(one => one.name.startsWith(name) && one.pictured && one.plays)));

test("demo prints a link to a room in which two windows meet", async () => {
    assert.match(demo.output(), /no TURN server here: media goes directly/);
    const anna = await join("Anna", tab.page);
    const bert = await join("Bert");
    await Promise.all([meet(anna, ["Anna (you)", "Bert"]), meet(bert, ["Bert (you)", "Anna"])]);
    await untilReadable(anna, "Without a relay");
    assert.deepEqual(tab.errors, []);
});

test("a drained room is joined again by itself, and everybody is there", async () => {
    const anna = await join("Anna", tab.page);
    const bert = await join("Bert");
    await meet(anna, ["Anna (you)", "Bert"]);
    const before = await anna.locator(".tile.own").getAttribute("data-peer");
    const { workers } = (await demo.api("GET", "/api/v1/workers")).json();
    const drain = await demo.api("POST", `/api/v1/workers/${workers[0].id}/drain`);
    assert.ok(drain.status < 300, drain.text);
    await until("its members are told", () => /draining: 2 members are told/.test(demo.output()), PATIENCE);
    const begun = Date.now();
    const undrain = await demo.api("DELETE", `/api/v1/workers/${workers[0].id}/drain`);
    assert.ok(undrain.status < 300, undrain.text);
    await until("Anna is another member", async () => await anna.locator(".tile.own").getAttribute("data-peer", { timeout: 1_000 }) !== before, PATIENCE);
    await Promise.all([meet(anna, ["Anna (you)", "Bert"]), meet(bert, ["Bert (you)", "Anna"])]);
    console.log(`back ${Date.now() - begun} ms after the drain was undone`);
    await bert.close();
    await anna.locator("#leave").click();
});
