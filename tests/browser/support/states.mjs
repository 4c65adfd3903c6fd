// Every state that a person can see, in three sizes: a screenshot to look at (target/screenshots), no
// violation that axe-core finds, nothing too small for a finger, nothing outside the window.
import { readFile } from "node:fs/promises";
import vm from "node:vm";
import { openBrowser, until, untilPlaying } from "./browser.mjs";
import { openAnswerer } from "./answerer.mjs";
import { look } from "./look.mjs";
import { startSession, strings } from "./standin.mjs";
import { part } from "./timed.mjs";

const TABLES = await strings();

/** Refusals of the browser: the state's name, the error's name, and what the page says of the permission. */
const REFUSALS = [["blocked", "NotAllowedError", "denied"], ["dismissed", "NotAllowedError", "prompt"],
    ["noDevice", "NotFoundError", "granted"], ["inUse", "NotReadableError", "granted"], ["failed", "TypeError", "granted"]];

/** The name under which a session's page keeps something: made by the overlay's own function. */
async function kept(session, name) {
    const source = await readFile(new URL("../../../web/overlay/store.js", import.meta.url), "utf8");
    const nameOf = vm.runInNewContext(`${source.match(/function nameOf[^]*?\n}\n/)[0]}; nameOf`);
    return `neck-${nameOf(new URL(session.base).pathname)}-${name}`;
}

/** Runs one test for each state in this language. */
export async function everyState(runner, language, locale) {
    const states = [];
    const words = TABLES[language];
    let session, browser, page;

    const open = async (settings = {}) => {
        if (!browser) {
            session = await startSession({ experience: "Desktop" });
            browser = await openBrowser({ locale, openShadow: true, microphone: "fake", permissions: ["microphone"], colorScheme: "dark" });
            page = browser.page;
        }
        if (!session.childRuns()) {
            await session.startChild();
        }
        session.hasEvents = true;
        session.status = [200, { status: "streaming", restarts: 0 }, {}];
        session.answers["POST rating"] = [200, { stars: 4, changeable_seconds: 60 }];
        await session.settle({ mic: true, engine: "moonlight", endReason: null, ...settings });
        await page.goto(settings.endReason ? `${session.base}ended.html` : session.url);
        await page.evaluate(() => sessionStorage.clear());
        if (!settings.endReason) {
            await untilPlaying(page);
        }
    };
    const listening = () => until("the page listens to events", () => session.listeners() > 0);
    const button = name => page.getByRole("button", { name, exact: true });
    const seen = name => page.getByText(name, { exact: true }).filter({ visible: true }).first().waitFor();
    /** Each goes on where the one before it stopped, unless it opens the page anew. */
    const state = (name, run) => states.push([name, run]);

    state("playing", () => open());

    state("stats", async () => {
        await button(words.stats).click();
        await until("figures", async () => /\d/.test(await page.locator("dd").nth(1).textContent()));
    });

    state("maintenance", async () => {
        await button(words.stats).click();
        await listening();
        session.emit("draining", { seconds: 300 });
        await seen(words["draining.hint"]);
    });

    state("reconnecting", async () => {
        session.status = [503, {}, {}];
        await session.killChild();
        await seen(words.reconnecting);
    });

    state("ended", async () => {
        session.emit("ended", { reason: "crashed" });
        await seen(words.ended);
        await session.startChild();
    });

    state("rating", async () => {
        await page.getByRole("radio", { name: words["rating.4"] }).check({ force: true });
        await page.getByLabel(words["rating.comment"]).fill("Sound was fine, the picture froze twice.");
    });

    state("rating-failed", async () => {
        session.answers["POST rating"] = [500, {}];
        await button(words["rating.send"]).click();
        await seen(words["rating.failed"]);
    });

    state("rating-thanks", async () => {
        session.answers["POST rating"] = [200, { stars: 4, changeable_seconds: 60 }];
        await button(words.tryAgain).click();
        await seen(words["rating.thanks"]);
    });

    state("ended-later", async () => {
        await open({ endReason: "max_duration" });
        await seen(words["reason.max_duration"]);
    });

    state("lost", async () => {
        await open();
        await page.evaluate(key => sessionStorage.setItem(key, "4"), await kept(session, "reloads"));
        await session.killChild();
        await session.startChild();
        await seen(words.lost);
    });

    state("leave", async () => {
        await open({ engine: "demo" });
        await button(words.exit).click();
        await seen(words["exit.question"]);
    });

    state("leaving", async () => {
        session.answers["POST quit"] = () => new Promise(() => {});
        // The page waits for the server, however long looking at it takes.
        await page.evaluate(() => { AbortController.prototype.abort = () => {}; });
        await button(words["exit.leave"]).click();
        await seen(words.leaving);
    });

    state("mic-why", async () => {
        session.answers["POST quit"] = [202, {}];
        await open();
        await button(words.mic).click();
        await seen(words["mic.why"]);
    });

    state("mic-asking", async () => {
        await page.evaluate(() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); });
        await button(words["mic.turnOn"]).click();
        await seen(words["mic.asking.text"]);
    });

    for (const [name, error, permission] of REFUSALS) {
        state(`mic-${name}`, async () => {
            await page.evaluate(([refusal, told]) => {
                navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", refusal));
                navigator.permissions.query = async () => ({ state: told });
            }, [error, permission]);
            // The state before this one left its panel open.
            await page.locator("section.mic .actions button").last().click();
            await button(words.mic).click();
            await button(words["mic.turnOn"]).click();
            await seen(words[`mic.${name}.text`]);
        });
    }

    state("mic-connecting", async () => {
        await open();
        session.answers["POST mic/offer"] = () => new Promise(() => {});
        await button(words.mic).click();
        await button(words["mic.turnOn"]).click();
        await page.getByRole("heading", { name: words["mic.connecting"] }).waitFor();
    });

    state("mic-live", async () => {
        await open();
        const answerer = await openAnswerer(browser.context);
        session.answers["POST mic/offer"] = answerer.offer;
        await page.bringToFront();
        await button(words.mic).click();
        await button(words["mic.turnOn"]).click();
        await button(words["mic.mute"]).first().waitFor();
        await page.locator("section.mic").waitFor({ state: "detached" });
        await button(words["mic.settings"]).click();
        await seen(words["mic.live.text"]);
        await until("the meter moves", () => page.locator("meter").evaluate(meter => meter.value > 0.1));
    });

    state("mic-muted", async () => {
        await button(words["mic.mute"]).first().click();
        await seen(words["mic.muted.text"]);
    });

    try {
        for (const [name, run] of states) {
            await part(runner, name, async () => {
                await run();
                await look(page, `${name}-${language}`);
            });
        }
    } finally {
        await browser?.close();
        await session?.stop();
    }
}
