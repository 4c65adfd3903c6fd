// The rating: by keyboard, once, changeable for a minute, and true about what the server said.
import assert from "node:assert/strict";
import { test } from "./support/timed.mjs";
import { until, untilEqual } from "./support/browser.mjs";
import { focused, prepareFile, WORDS } from "./support/file.mjs";

const open = prepareFile();
const ENDED = { settings: { endReason: "crashed" }, path: "ended.html" };

const ratings = session => session.called("POST", "rating").map(({ body }) => body);
const choose = (page, stars) => page.getByRole("radio", { name: WORDS[`rating.${stars}`] }).check({ force: true });

// SPEC 6: Rating: five stars by keyboard, optional comment, changeable for a minute, true words for
// each refusal, after the end and through the controller
// Also: `a rating can be changed as long as the server lets it`, `each refusal of a rating has its
// words, and one that may pass later can be sent again`, `a rating that comes too late says so`,
// `who never had a stream is not asked to rate it`, `the end is rated through the controller, and a
// reload of the ended page still shows it`
test("stars and comment are given by keyboard alone, and no key reaches the page", async () => {
    const { session, page, seen, keysOfPage } = await open({ events: true });
    session.emit("ended", { reason: "crashed" });
    await seen(WORDS["rating.question"]);
    await until("the end has the focus", async () => !(await focused(page)).startsWith("video"));
    const before = await keysOfPage();
    for (const key of ["Tab", "Tab", "Tab", "Space", "ArrowRight", "ArrowRight", "ArrowRight", "Tab"]) {
        await page.keyboard.press(key);
    }
    await untilEqual("the comment has the focus", () => focused(page), "textarea comment");
    await page.keyboard.type("Nice & <b>sharp</b>");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await seen(WORDS["rating.thanks"]);
    assert.deepEqual(ratings(session), [{ stars: 4, comment: "Nice & <b>sharp</b>" }]);
    assert.deepEqual(await keysOfPage(), before, "the page heard no key");
});

test("a rating can be changed as long as the server lets it", async () => {
    const { session, page, seen, button } = await open(ENDED);
    session.answers["POST rating"] = [200, { stars: 2, changeable_seconds: 60 }];
    await choose(page, 2);
    await button(WORDS["rating.send"]).click();
    await button(WORDS["rating.change"]).click();
    session.answers["POST rating"] = [200, { stars: 5, changeable_seconds: 4 }];
    await choose(page, 5);
    await button(WORDS["rating.send"]).click();
    await seen(WORDS["rating.thanks"]);
    assert.deepEqual(ratings(session), [{ stars: 2 }, { stars: 5 }]);
    await page.reload();
    await seen(WORDS["rating.thanks"]);
    await until("it cannot be changed any more", async () => await button(WORDS["rating.change"]).count() === 0);
    await seen(WORDS["rating.thanks"]);
});

test("each refusal of a rating has its words, and one that may pass later can be sent again", async () => {
    const { session, page, seen, button } = await open(ENDED);
    await choose(page, 3);
    let name = WORDS["rating.send"];
    for (const [answer, words] of [[[429, {}, { "Retry-After": "7" }], "Try again in 7 seconds"], [[413, {}], WORDS["rating.tooLong"]],
        [[503, {}], WORDS["rating.failed"]], [[409, {}], WORDS["rating.already"]]]) {
        session.answers["POST rating"] = answer;
        await button(name).click();
        await seen(words);
        name = WORDS.tryAgain;
    }
    await untilEqual("rated before: nothing to send", () => button(WORDS.tryAgain).count(), 0);
    assert.equal(ratings(session).length, 4);
});

test("a rating that comes too late says so", async () => {
    const { session, page, seen, button } = await open(ENDED);
    session.answers["POST rating"] = [404, {}];
    await choose(page, 1);
    await button(WORDS["rating.send"]).click();
    await seen(WORDS["rating.late"]);
});

test("who never had a stream is not asked to rate it", async () => {
    const { page, seen } = await open({ settings: { endReason: "create_failed" }, path: "ended.html" });
    await seen(WORDS["reason.create_failed"]);
    assert.equal(await page.getByRole("radio").count(), 0);
});
