// Keys, focus, pointer and full screen: what belongs to the stream stays there, what belongs to the overlay too.
import assert from "node:assert/strict";
import { test } from "./support/timed.mjs";
import { takeByClick, until, untilEqual } from "./support/browser.mjs";
import { focused, prepareFile, WORDS } from "./support/file.mjs";

const open = prepareFile();
const statsOpen = page => page.getByRole("heading", { name: WORDS.stats }).count();

// SPEC 6: Keys stay on the side where they went down; focus is given back; Escape works; pointer
// lock and full screen are left first
// Also: `a click on a button of the overlay leaves the keyboard with the stream`, `a panel with
// controls takes the focus, Escape closes it, and the focus returns; a held key comes up in the
// stream`, `a click beside the microphone's panel closes it`, `pointer lock and full screen are
// left before the end is shown, and Escape does not close it`, `a key whose release the overlay
// missed comes up in the stream when it is pressed there`
test("letters typed into the stream do nothing to the overlay, and letters typed into the overlay reach it alone", async () => {
    const { page, button, keysOfPage } = await open();
    await page.locator("#stream-video").focus();
    await page.keyboard.press("s");
    assert.equal(await statsOpen(page), 0);
    await untilEqual("the stream's keys", async () => (await keysOfPage()).slice(-2), ["keydown KeyS", "keyup KeyS"]);
    assert.equal(await statsOpen(page), 0);
    const before = await keysOfPage();
    await button(WORDS.stats).focus();
    await page.keyboard.press("s");
    await untilEqual("S opens the details", () => statsOpen(page), 1);
    await page.keyboard.press("Escape");
    await untilEqual("Escape closes them", () => statsOpen(page), 0);
    assert.deepEqual(await keysOfPage(), before);
});

test("a click on a button of the overlay leaves the keyboard with the stream", async () => {
    const { page, button, keysOfPage } = await open();
    await page.locator("#stream-video").focus();
    await page.keyboard.down("w");
    await button(WORDS.stats).click();
    await untilEqual("the details", () => statsOpen(page), 1);
    assert.equal(await focused(page), "video stream-video");
    await page.keyboard.up("w");
    await untilEqual("the stream's keys", async () => (await keysOfPage()).slice(-2), ["keydown KeyW", "keyup KeyW"]);
});

test("a panel with controls takes the focus, Escape closes it, and the focus returns; a held key comes up in the stream", async () => {
    const { page, button, keysOfPage } = await open({ settings: { mic: true } });
    await page.locator("#stream-video").focus();
    await page.keyboard.down("w");
    await button(WORDS.mic).click();
    await untilEqual("the panel has the focus", () => focused(page), "section mic");
    await page.keyboard.up("w");
    await untilEqual("no key stays pressed", async () => (await keysOfPage()).slice(-1), ["keyup KeyW"]);
    const before = await keysOfPage();
    await page.keyboard.press("Escape");
    await untilEqual("the panel is closed", () => page.getByText(WORDS["mic.why"]).count(), 0);
    await untilEqual("the stream has the focus", () => focused(page), "video stream-video");
    assert.deepEqual(await keysOfPage(), before);
});

test("a key whose release the overlay missed comes up in the stream when it is pressed there", async () => {
    const { page, button, keysOfPage } = await open();
    // What the browser says to the window without our having a hand in it: presses, releases, and the loss of the keyboard.
    const say = events => page.evaluate(events => {
        for (const [type, init] of events) {
            const event = type === "blur" ? new Event("blur") : new KeyboardEvent(type, { ...init, bubbles: true, composed: true });
            (type === "blur" ? window : document.querySelector("#stream-video")).dispatchEvent(event);
        }
    }, events);
    const key = { code: "KeyW", key: "w" };
    await button(WORDS.stats).focus();
    await page.keyboard.down("w");
    const before = await keysOfPage();
    await page.locator("#stream-video").focus();
    await say([["keydown", { ...key, repeat: true }]]);
    assert.deepEqual(await keysOfPage(), before, "while it is held it stays with the overlay");
    await say([["keydown", key], ["keyup", key]]);
    await untilEqual("the stream's keys", async () => (await keysOfPage()).slice(before.length), ["keydown KeyW", "keyup KeyW"]);
    await page.keyboard.up("w");
    await button(WORDS.stats).focus();
    await page.keyboard.down("w");
    const heard = (await keysOfPage()).length;
    await say([["blur"], ["keyup", key]]);
    await untilEqual("nothing is kept for a window without the keyboard", async () => (await keysOfPage()).slice(heard), ["keyup KeyW"]);
});

test("a click beside the microphone's panel closes it", async () => {
    const { page, button } = await open({ settings: { mic: true } });
    await button(WORDS.mic).click();
    await page.getByText(WORDS["mic.why"]).first().waitFor();
    await page.mouse.click(400, 300);
    await untilEqual("it is closed", () => page.getByText(WORDS["mic.why"]).count(), 0);
});

test("the question before leaving can be taken back with Escape, and leaving quits", async () => {
    const { session, page, button, seen } = await open({ settings: { engine: "demo" } });
    await page.locator("#stream-video").focus();
    await button(WORDS.exit).click();
    await seen(WORDS["exit.question"]);
    await page.keyboard.press("Escape");
    await until("the question is gone", async () => await page.getByRole("dialog").count() === 0);
    await untilEqual("the stream has the focus", () => focused(page), "video stream-video");
    assert.deepEqual(session.called("POST", "quit"), []);
    await button(WORDS.exit).click();
    await button(WORDS["exit.leave"]).click();
    await page.waitForURL(`${session.origin}/home`);
    await untilEqual("the server is told once", () => session.called("POST", "quit").length, 1);
});

test("a page that goes before the server confirmed says again that it leaves", async () => {
    const { session, page } = await open();
    session.answers["POST quit"] = () => new Promise(() => {});
    await page.click("#sidebar-parent .sidebar-stream-buttons button:text-is('Exit')");
    await until("the first word", () => session.called("POST", "quit").length === 1);
    await page.goto(`${session.origin}/home`);
    await until("the beacon", () => session.called("POST", "quit").length === 2);
    assert.match(session.called("POST", "quit")[1].type, /^application\/json/);
});

test("pointer lock and full screen are left before the end is shown, and Escape does not close it", async () => {
    const { session, page, seen } = await open({ events: true });
    await takeByClick(page, [640, 400], "#root", "requestPointerLock", "pointerLockElement");
    await takeByClick(page, [640, 400], "#root", "requestFullscreen", "fullscreenElement");
    const held = () => page.evaluate(() => [Boolean(document.fullscreenElement), Boolean(document.pointerLockElement)]);
    await untilEqual("both are held", held, [true, true]);
    session.emit("ended", { reason: "deleted" });
    await seen(WORDS.ended);
    await untilEqual("both are left", held, [false, false]);
    for (let times = 0; times < 3; times += 1) {
        await page.keyboard.press("Escape");
    }
    assert.equal(await page.getByRole("dialog", { name: WORDS.ended }).count(), 1);
    await page.keyboard.press("Tab");
    await until("the way back is one Tab away", async () => {
        const where = await focused(page);
        if (!/^a/.test(where)) {
            throw new Error(`the focus is on ${where}`);
        }
        return true;
    });
});
