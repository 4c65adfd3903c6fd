// The page of rooms: two windows meet, mute, leave; what is refused is told; every state in four languages and two sizes,
// dark and light, and what axe-core says of it.
import assert from "node:assert/strict";
import { after, afterEach, before, PARTS_LIMIT, test } from "./support/timed.mjs";
import { IS_FIREFOX, openBrowser, screenshot, until, untilEqual, untilReadable } from "./support/browser.mjs";
import { untilNoViolations } from "./support/look.mjs";
import { keepSaid, PATIENCE, roomPage, untilSaid } from "./support/room_page.mjs";
import { ROOM_TOKEN, startRooms } from "./support/rooms.mjs";

/** A telephone and a computer. */
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 720 } };

let worker, link, tab, room;

before(async () => {
    worker = await startRooms();
    link = new URL(`${worker.origin}/rooms/#room=demo&token=${ROOM_TOKEN}`);
    tab = await openBrowser({ microphone: "fake", autoplay: true, permissions: ["microphone", "camera", "clipboard-write", "clipboard-read"] });
    room = roomPage(tab, link, worker);
});
after(async () => {
    await tab?.close();
    await worker?.stop();
});

afterEach(() => room?.empty());

// SPEC 10: `/rooms/` of a worker with rooms and of a controller is a page for people, in four
// languages; it runs its own script alone. Two windows meet by a link, see who speaks, mute, leave,
// choose devices; who has none watches; what is refused has words; two sizes, dark and light,
// without a finding of axe-core
// Also: `a link that is not valid is told before anybody joins`, `the link is copied whole, devices
// are chosen, and Escape closes the list`, `who has neither camera nor microphone is told why, and
// watches`, `the page of rooms is sound in two sizes, dark, in English`, `the page of rooms is
// sound in two sizes, light, in German`, `the page of rooms is sound in two sizes, dark, in French`,
// `the page of rooms is sound in two sizes, light, in Dutch`,
// `the_page_of_rooms_speaks_four_languages`, `the_page_of_rooms_runs_its_own_script_alone`,
// `whatever_a_room_refuses_for_good_has_words`
test("two windows meet in a room by its link, see who speaks, mute, and leave", async () => {
    const anna = await room.join("Anna", tab.page);
    await untilReadable(anna, "Without a relay");
    const bert = await room.join("Bert");
    await Promise.all([room.meet(anna, ["Anna (you)", "Bert"]), room.meet(bert, ["Bert (you)", "Anna"])]);
    await room.untilTiles(anna, "Bert has one sound", all => all.some(one => one.name === "Bert" && one.sounds === 1));
    // A fake microphone beeps each second.
    await room.untilTiles(anna, "Bert speaks", all => all.some(one => one.name === "Bert" && one.speaks));
    await bert.getByRole("button", { name: "Turn microphone off" }).last().click();
    await room.untilTiles(anna, "Bert is muted", all => all.some(one => one.name === "Bert" && one.state === "muted" && !one.speaks));
    await bert.getByRole("button", { name: "Turn camera off" }).last().click();
    await room.untilTiles(anna, "Bert's camera is off", all => all.some(one => one.name === "Bert" && !one.pictured));
    await bert.getByRole("button", { name: "Turn camera on" }).last().click();
    await bert.getByRole("button", { name: "Turn microphone on" }).last().click();
    await room.untilTiles(anna, "Bert is back", all => all.some(one => one.name === "Bert" && one.pictured && one.state === ""));
    await keepSaid(anna);
    await bert.getByRole("button", { name: "Leave" }).click();
    await untilSaid(anna, "Bert has left");
    await room.untilTiles(anna, "Bert has left", all => all.length === 1);
    await bert.close();
    assert.deepEqual(tab.errors, []);
});

test("a link that is not valid is told before anybody joins", async () => {
    const page = await room.visit("#room=demo&token=neckroom_nobodys");
    await untilReadable(page, "This link is not valid");
    await page.locator("#name").fill("Anna");
    await page.locator("#join").click();
    await until("back at the door", async () => await page.locator("#refused").innerText() !== "" && page.locator("#door").isVisible());
    await room.visit("#room=demo", page);
    await untilEqual("without a token it is asked for", () => page.locator("#ask-token").isVisible(), true);
    await untilEqual("the room is not", () => page.locator("#ask-room").isVisible(), false);
    await page.close();
});

test("the link is copied whole, devices are chosen, and Escape closes the list", async () => {
    const page = await room.join("Anna");
    await page.locator(".tile.own").waitFor();
    await page.locator("#room .choose").click();
    await page.locator("#devices[open]").waitFor();
    await until("several cameras", async () => await page.locator("#choose-video option").count() >= 2);
    await page.locator("#choose-video").selectOption({ index: 1 });
    await page.keyboard.press("Escape");
    await until("closed", async () => !await page.locator("#devices").evaluate(dialog => dialog.open));
    await room.untilTiles(page, "the chosen camera", ([own]) => own.pictured && own.plays);
    if (!IS_FIREFOX) {
        await keepSaid(page);
        await page.locator("#copy").click();
        await untilSaid(page, "The link is copied");
        await untilEqual("what was copied", () => page.evaluate(() => navigator.clipboard.readText()), page.url());
    }
    assert.equal(new URLSearchParams(new URL(page.url()).hash.slice(1)).get("room"), "demo");
    await page.close();
});

test("who has neither camera nor microphone is told why, and watches", async () => {
    const bert = await room.join("Bert");
    const page = await tab.context.newPage();
    await page.addInitScript(() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    await page.goto(link.href);
    await untilReadable(page, "The browser keeps the microphone from this page.");
    await page.locator("#name").fill("Watcher");
    await page.locator("#join").click();
    await room.untilTiles(page, "Bert is seen", all => all.length === 2 && all.some(one => one.name === "Bert" && one.plays));
    await room.untilTiles(bert, "the watcher is muted", all => all.some(one => one.name === "Watcher" && one.state === "muted" && !one.pictured));
    await page.close();
    await bert.close();
});

test("the page of rooms is sound in two sizes, dark, in English", runner => isSound(runner, "en-US", "dark", "Join", ["Bert", "Chloé", "Dirk"]), PARTS_LIMIT);
test("the page of rooms is sound in two sizes, light, in German", runner => isSound(runner, "de-DE", "light", "Beitreten", ["Bert", "Chloé", "Dirk"]), PARTS_LIMIT);
test("the page of rooms is sound in two sizes, dark, in French", runner => isSound(runner, "fr-FR", "dark", "Rejoindre"), PARTS_LIMIT);
test("the page of rooms is sound in two sizes, light, in Dutch", runner => isSound(runner, "nl-NL", "light", "Deelnemen"), PARTS_LIMIT);

/**
 * The door, the room, and the choice of devices. Each language is a test of its own: all four together took minutes. What four
 * cameras cost one machine is paid twice: once dark, once light.
 */
async function isSound(runner, locale, colorScheme, join, names = ["Chloé"]) {
    if (IS_FIREFOX) {
        return runner.skip("too much for Firefox on two cores; looked at in Chromium");
    }
    const others = await Promise.all(names.map(name => room.join(name)));
    const own = await openBrowser({ microphone: "fake", autoplay: true, permissions: ["microphone", "camera"], locale, colorScheme });
    try {
        const { page } = own;
        await page.goto(link.href);
        await until("the camera at the door", () => page.locator("#mirror.pictured").count(), PATIENCE);
        await untilEqual("the words of its language", () => page.locator("#join").innerText(), join);
        await page.locator("#name").fill("Anna");
        await looked(page, `rooms-door-${colorScheme}-${locale}`);
        await page.locator("#join").click();
        await room.untilTiles(page, "all are seen", all => all.length === names.length + 1 && all.every(one => one.pictured && one.plays), 2 * PATIENCE);
        await looked(page, `rooms-room-${colorScheme}-${locale}`);
        await untilReadable(page, "Chloé");
        await page.locator("#room .choose").click();
        await page.locator("#devices[open]").waitFor();
        await looked(page, `rooms-devices-${colorScheme}-${locale}`);
        assert.deepEqual(own.errors, []);
    } finally {
        await own.close();
    }
    await Promise.all(others.map(page => page.close()));
    return undefined;
}

/** Pictures in both sizes; nothing is wider than the window, and axe-core finds nothing. */
async function looked(page, name) {
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
        await screenshot(page, `${name}-${size}`);
        let wide = 0;
        await until("nothing is too wide", async () => {
            wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            return wide <= 0;
        }).catch(() => assert.fail(`${name} ${size}: ${wide} pixels too wide`));
        await untilNoViolations(page, `${name} ${size}`);
    }
}
