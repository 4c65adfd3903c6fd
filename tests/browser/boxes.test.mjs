// Nothing lies over anything: the player's bar, the dock, its panels and the end, measured in the built-in clip's own page at the
// sizes of telephones and computers, in every language. Pictures to look at go to target/screenshots.
import assert from "node:assert/strict";
import { after, before, part, PARTS_LIMIT, test } from "./support/timed.mjs";
import { closeSharedBrowser, openTab, screenshot, until, untilEqual } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";
import { strings } from "./support/standin.mjs";

const TABLES = await strings();
const PICTURES = [[390, 844], [844, 390], [1280, 720]];
/** The narrowest ones are only measured. */
const ALL = [...PICTURES, [320, 568], [360, 740], [375, 667]];

let demo;
before(async () => { demo = await startDemo(); });
after(async () => {
    await closeSharedBrowser();
    await demo?.stop();
});

/** What lies over something else, hangs out of the window, or gets another one's click. */
const wrong = page => page.evaluate(() => {
    const host = [...document.documentElement.children].find(element => element.shadowRoot);
    const inside = selector => [...host.shadowRoot.querySelectorAll(selector)];
    const parts = [...document.querySelectorAll("#bar button"), ...inside(".dock button, .panel, .toast")]
        .map(element => ({ element, box: element.getBoundingClientRect(), name: element.ariaLabel ?? element.className }))
        .filter(({ box }) => box.width > 0);
    const said = [];
    for (const [at, one] of parts.entries()) {
        const { left, top, right, bottom } = one.box;
        if (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight) {
            said.push(`${one.name} hangs out: ${left},${top} to ${right},${bottom}`);
        }
        for (const other of parts.slice(at + 1)) {
            const apart = right <= other.box.left || other.box.right <= left || bottom <= other.box.top || other.box.bottom <= top;
            if (!apart) {
                said.push(`${one.name} lies over ${other.name}`);
            }
        }
        const middle = [(left + right) / 2, (top + bottom) / 2];
        const hit = document.elementFromPoint(...middle);
        const deepest = hit === host ? host.shadowRoot.elementFromPoint(...middle) : hit;
        if (one.element.localName === "button" && !one.element.contains(deepest)) {
            said.push(`a click on ${one.name} hits ${deepest?.outerHTML.slice(0, 80)}`);
        }
    }
    return { parts: parts.length, said };
});

const frame = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Measures at every size, and takes the pictures. */
async function measure(page, name, sizes = ALL) {
    for (const [width, height] of sizes) {
        await page.setViewportSize({ width, height });
        await frame(page);
        const look = async () => {
            const { parts, said } = await wrong(page);
            return [parts >= 4 ? "all are there" : `${parts} parts`, ...said];
        };
        await untilEqual(`${name} at ${width}×${height}`, look, ["all are there"]);
        if (PICTURES.some(([wide]) => wide === width)) {
            await screenshot(page, `boxes-${name}-${width}x${height}`);
        }
    }
}

/** Where the stars are, at every size, before one is chosen and after. */
async function starsStay(page, name) {
    const places = () => page.evaluate(() => {
        const host = [...document.documentElement.children].find(element => element.shadowRoot);
        return [...host.shadowRoot.querySelectorAll(".star")].map(star => {
            const { x, y, width } = star.getBoundingClientRect();
            return [x, y, width].map(Math.round).join();
        });
    });
    const before = {};
    for (const [width, height] of ALL) {
        await page.setViewportSize({ width, height });
        await frame(page);
        // What is laid out is where it was a look before.
        before[width] = await until("five stars that stay", async () => {
            const seen = await places();
            const stay = seen.length === 5 && seen.join() === before[width]?.join();
            before[width] = seen;
            return stay && seen;
        });
    }
    await page.getByRole("radio").nth(3).check({ force: true });
    for (const [width, height] of ALL) {
        await page.setViewportSize({ width, height });
        await frame(page);
        await untilEqual(`${name} at ${width}×${height}`, places, before[width]);
        if (PICTURES.some(([wide]) => wide === width)) {
            await screenshot(page, `boxes-${name}-${width}x${height}`);
        }
    }
}

// SPEC 6: The player's bar, the dock, its panels and their words lie over nothing and hang out of
// no window from 320 to 1280 pixels, in four languages; choosing a star moves none; stepped back,
// icons keep a contrast of 3 : 1
// Also: `icons of a dock and a bar that stepped back keep a contrast of 3 to 1`
test("nothing lies over anything at any size in any language, and choosing a star moves none", async runner => {
    for (const [language, locale] of [["en", "en-GB"], ["nl", "nl-NL"], ["fr", "fr-FR"], ["de", "de-DE"]]) {
        await part(runner, language, () => isClear(language, locale));
    }
}, PARTS_LIMIT);

async function isClear(language, locale) {
    const words = TABLES[language];
    const { stream_url: url, session_id: id } = await demo.create({ body_ip: "127.0.0.9", engine: "demo", experience: "Sea & Sky", replace: true });
    const tab = await openTab({ locale, permissions: ["microphone"] });
    const { page } = tab;
    const button = name => page.getByRole("button", { name, exact: true }).first();
    try {
        await page.goto(url);
        await until("it plays", () => page.evaluate(() => document.body.dataset.state === "playing"));
        await untilEqual("the title", () => page.title(), "Sea & Sky");
        await measure(page, `playing-${language}`);
        await button(words.stats).click();
        await measure(page, `stats-${language}`);
        await button(words.mic).click();
        await measure(page, `mic-${language}`);
        // Of a panel that is open, no button's words are shown beside the pointer, which would lie over it.
        const tips = () => page.evaluate(() => {
            const host = [...document.documentElement.children].find(element => element.shadowRoot);
            const buttons = [...host.shadowRoot.querySelectorAll(".dock [data-tip]")];
            return [buttons.length >= 3, ...new Set(buttons.map(one => getComputedStyle(one, "::after").visibility))];
        });
        await untilEqual("no button's words are shown", tips, [true, "hidden"]);
        await page.keyboard.press("Escape");
        await button(words.exit).click();
        await page.getByRole("dialog").waitFor();
        for (const [width, height] of PICTURES) {
            await page.setViewportSize({ width, height });
            await screenshot(page, `boxes-leave-${language}-${width}x${height}`);
        }
        await page.keyboard.press("Escape");
        await demo.api("DELETE", `/api/v1/sessions/${id}`);
        await page.getByText(words["rating.question"]).waitFor();
        await starsStay(page, `stars-${language}`);
        assert.deepEqual(tab.errors, []);
    } finally {
        await tab.close();
    }
}

test("icons of a dock and a bar that stepped back keep a contrast of 3 to 1", async () => {
    const { stream_url: url } = await demo.create({ body_ip: "127.0.0.9", engine: "demo", replace: true });
    const tab = await openTab();
    try {
        await tab.page.goto(url);
        await until("both stepped back", () => tab.page.evaluate(() => {
            const host = [...document.documentElement.children].find(element => element.shadowRoot);
            return document.body.dataset.idle === "yes" && host?.classList.contains("calm");
        }));
        // The transition is over when it is as dim as it gets.
        const seen = await until("it is dim", () => tab.page.evaluate(() => {
            const host = [...document.documentElement.children].find(element => element.shadowRoot);
            const numbers = text => text.match(/[\d.]+/g).map(Number);
            const over = (front, back, alpha) => front.map((value, at) => value * alpha + back[at] * (1 - alpha));
            const light = colour => colour.map(value => value / 255).map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
                .reduce((sum, value, at) => sum + value * [.2126, .7152, .0722][at], 0);
            const all = [[host.shadowRoot.querySelector(".dock"), host.shadowRoot.querySelector(".dock .round")],
                [document.querySelector("#bar"), document.querySelector("#full")]].flatMap(([group, button]) => {
                const opacity = Number(getComputedStyle(group).opacity);
                const { color, backgroundColor } = getComputedStyle(button);
                const [ink, pane] = [numbers(color), numbers(backgroundColor)];
                return [[0, 0, 0], [128, 128, 128], [255, 255, 255]].map(behind => {
                    const shown = [over(ink.slice(0, 3), behind, opacity), over(over(pane.slice(0, 3), behind, pane[3] ?? 1), behind, opacity)].map(light)
                        .sort((one, other) => one - other);
                    return { opacity, contrast: (shown[1] + .05) / (shown[0] + .05) };
                });
            });
            return all.every(({ opacity }) => opacity < .8) && all;
        }));
        console.log(JSON.stringify(seen));
        assert.deepEqual(seen.filter(({ contrast }) => contrast < 3), []);
    } finally {
        await tab.close();
    }
});
