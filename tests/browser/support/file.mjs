// What the tests of one file share: a session of the stand-in, a tab in a shared browser, and their end.
import assert from "node:assert/strict";
import { after, afterEach } from "./timed.mjs";
import { closeSharedBrowser, openTab, until, untilPlaying } from "./browser.mjs";
import { startSession, strings } from "./standin.mjs";

export const WORDS = (await strings()).en;

/** Call once in a file; `open` starts a session and its page for one test, `clock` with a clock that can be put forward. */
export function prepareFile() {
    let opened = [];
    afterEach(async () => {
        const errors = opened.flatMap(({ tab }) => tab.errors);
        await Promise.all(opened.map(async ({ tab, session }) => {
            await tab.close();
            await session.stop();
        }));
        opened = [];
        assert.deepEqual(errors, [], "no script error in the page");
    });
    after(closeSharedBrowser);

    return async ({ settings = {}, options = {}, faults = {}, events = false, path = null, playing = true, clock = false } = {}) => {
        const session = await startSession(settings, faults);
        session.hasEvents = events;
        const tab = await openTab(options);
        const { page } = tab;
        opened.push({ tab, session });
        if (clock) {
            await page.clock.install();
        }
        await page.goto(path ? session.base + path : session.url);
        if (playing && !path) {
            await untilPlaying(page);
        }
        if (events) {
            await until("the page listens to events", () => session.listeners() > 0);
        }
        const button = name => page.getByRole("button", { name, exact: true }).first();
        const seen = text => page.getByText(text).filter({ visible: true }).first().waitFor();
        const keysOfPage = () => page.evaluate(() => window.app.input);
        return { session, tab, page, button, seen, keysOfPage };
    };
}

/** The innermost element that has the focus, shadow roots included: "button Leave". */
export function focused(page) {
    return page.evaluate(() => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) {
            element = element.shadowRoot.activeElement;
        }
        return `${element?.localName} ${element?.getAttribute("aria-label") ?? element?.id ?? ""}`.trim();
    });
}
