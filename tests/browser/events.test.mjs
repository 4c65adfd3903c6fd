// What the server says by itself reaches the person at once.
import assert from "node:assert/strict";
import { test } from "./support/timed.mjs";
import { until, untilEqual, untilPlaying } from "./support/browser.mjs";
import { prepareFile, WORDS } from "./support/file.mjs";

const open = prepareFile();

test("the server's word ends the stream at once, with its reason, while everything still plays", async () => {
    const { session, page, seen } = await open({ events: true });
    const times = [];
    for (const reason of ["deleted", "idle_timeout", "drained"]) {
        const { listened } = session;
        await page.goto(session.url);
        await until("this load of the page listens to events", () => session.listened > listened);
        const asked = session.asked;
        session.emit("ended", { reason });
        const since = Date.now();
        await seen(WORDS[`reason.${reason}`]);
        times.push(Date.now() - since);
        assert.equal(session.asked, asked, "without asking");
        await untilEqual("one dialog", () => page.getByRole("dialog", { name: WORDS.ended }).count(), 1);
    }
    // A busy machine may hold one up.
    assert.ok(times.some(time => time < 3_000), `after ${times} ms`);
});

test("a restart that the server tells of is told, and the page comes back when it says ready", async () => {
    const { session, page, seen } = await open({ events: true });
    session.status = [200, { status: "starting", restarts: 1 }, {}];
    await session.killChild();
    session.emit("status", { status: "starting", restarts: 1 });
    await seen(WORDS["reconnecting.restarting"]);
    await session.startChild();
    session.status = [200, { status: "ready", restarts: 1 }, {}];
    session.emit("status", { status: "ready", restarts: 1 });
    await untilPlaying(page);
});

// SPEC 6: A drain is announced in the page
test("a drain is announced, can be put away, and is called off", async () => {
    const { session, page, seen, button } = await open({ events: true });
    session.emit("draining", { seconds: 300 });
    await seen("this stream ends in about 5 minutes");
    assert.equal(await page.evaluate(() => document.activeElement === document.body), true, "the focus is the stream's");
    await button(WORDS.close).click();
    await untilEqual("it is put away", () => page.getByText(WORDS["draining.hint"]).count(), 0);
    session.emit("draining", { seconds: 20 });
    await seen(WORDS["draining.soon"]);
    session.emit("draining", { seconds: null });
    await until("no announcement", async () => await page.getByText(WORDS["draining.hint"]).count() === 0);
});

test("a move is announced in place of the drain, as long as it takes", async () => {
    const { session, page, seen } = await open({ events: true });
    session.emit("draining", { seconds: 300 });
    await seen("this stream ends in about 5 minutes");
    await session.killChild();
    session.status = [503, { status: "moving" }, {}];
    session.emit("moving", {});
    await seen(WORDS["reconnecting.moving"]);
    await untilEqual("the drain is told no more", () => page.getByText(WORDS["draining.hint"]).count(), 0);
    const asked = session.asked;
    await until("the page asks on", () => session.asked > asked + 3);
    await seen(WORDS["reconnecting.moving"]);
    await session.startChild();
    session.status = [200, { status: "ready", restarts: 0 }, {}];
    await untilPlaying(page);
});

test("a page of an ended session shows the end at once, and nothing of a stream", async () => {
    const { session, page, seen } = await open({ settings: { endReason: "max_duration", mic: true }, path: "ended.html" });
    await seen(WORDS["reason.max_duration"]);
    await page.getByRole("radio", { name: WORDS["rating.5"] }).waitFor({ state: "attached" });
    assert.equal(await page.getByRole("button", { name: WORDS.mic }).count(), 0);
    assert.equal(session.asked + session.called("GET", "_neck/events").length, 0, "nothing is asked");
});
