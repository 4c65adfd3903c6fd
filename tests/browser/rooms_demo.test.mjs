// The demo's room: two windows meet by the link that it prints, and come back after a drain.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "./support/timed.mjs";
import { openBrowser, until, untilReadable } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";
import { PATIENCE, roomPage } from "./support/room_page.mjs";

let demo, tab, room;

before(async () => {
    demo = await startDemo();
    const link = new URL(await until("the room's link", () => demo.output().match(/^A room.*?: (http\S+)\n/m)?.[1]));
    tab = await openBrowser({ microphone: "fake", autoplay: true, permissions: ["microphone", "camera"] });
    room = roomPage(tab, link, demo);
});
after(async () => {
    await tab?.close();
    await demo?.stop();
});

afterEach(() => room?.empty());

// SPEC 10: `demo` prints the link of a room without relays, which the page says; who is drained
// joins again by itself and everybody is there
// Also: `a drained room is joined again by itself, and everybody is there`
test("demo prints a link to a room in which two windows meet", async () => {
    await until("words of the way", () => demo.output().includes("no TURN server here: media goes directly"))
        .catch(error => assert.fail(`${error.message}\n${demo.output()}`));
    const anna = await room.join("Anna", tab.page);
    const bert = await room.join("Bert");
    await Promise.all([room.meet(anna, ["Anna (you)", "Bert"]), room.meet(bert, ["Bert (you)", "Anna"])]);
    await untilReadable(anna, "Without a relay");
    assert.deepEqual(tab.errors, []);
});

test("a drained room is joined again by itself, and everybody is there", async () => {
    const anna = await room.join("Anna", tab.page);
    const bert = await room.join("Bert");
    await room.meet(anna, ["Anna (you)", "Bert"]);
    const before = await anna.locator(".tile.own").getAttribute("data-peer");
    const { workers } = (await demo.api("GET", "/api/v1/workers")).json();
    const drain = await demo.api("POST", `/api/v1/workers/${workers[0].id}/drain`);
    assert.ok(drain.status < 300, drain.text);
    await until("its members are told", () => /draining: 2 members are told/.test(demo.output()), PATIENCE);
    const begun = Date.now();
    const undrain = await demo.api("DELETE", `/api/v1/workers/${workers[0].id}/drain`);
    assert.ok(undrain.status < 300, undrain.text);
    await until("Anna is another member", async () => await anna.locator(".tile.own").getAttribute("data-peer", { timeout: 1_000 }) !== before, PATIENCE);
    await Promise.all([room.meet(anna, ["Anna (you)", "Bert"]), room.meet(bert, ["Bert (you)", "Anna"])]);
    console.log(`back ${Date.now() - begun} ms after the drain was undone`);
    await bert.close();
    await anna.locator("#leave").click();
});
