// What is the same for every state of the overlay: screenshots at each size, axe-core, sizes of what is touched.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { screenshot, SIZES } from "./browser.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What a finger needs (WCAG 2.5.5), in CSS pixels. */
const TOUCH = 44;

/** Runs axe-core over the overlay, or over the whole page when the overlay is not there; gives what is wrong. */
export async function violations(page) {
    if (!await page.evaluate(() => "axe" in window)) {
        await page.evaluate(AXE);
    }
    const found = await page.evaluate(async () => {
        const host = [...document.documentElement.children].find(element => element.shadowRoot);
        const { violations: all, passes } = await window.axe.run(host ?? document);
        const lines = all.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(node => node.html).join(" | ")}`);
        return { lines, rules: passes.length };
    });
    assert.ok(found.rules > 3, `axe-core looked at something: ${found.rules} rules passed`);
    return found.lines;
}

/** Controls that are too small for a finger, or not wholly in the window. */
function badControls(page) {
    return page.evaluate(least => {
        const host = [...document.documentElement.children].find(element => element.shadowRoot);
        const wrong = [];
        for (const control of host?.shadowRoot.querySelectorAll("a, button, select, textarea, .star") ?? []) {
            const { width, height, left, right } = control.getBoundingClientRect();
            const shown = width > 0 && getComputedStyle(control).visibility === "visible";
            if (shown && (width < least || height < least || left < 0 || right > window.innerWidth)) {
                wrong.push(`${control.outerHTML.slice(0, 80)}: ${Math.round(width)}x${Math.round(height)} at ${Math.round(left)}`);
            }
        }
        for (const box of host?.shadowRoot.querySelectorAll(".box") ?? []) {
            const { top, bottom, left, right } = box.getBoundingClientRect();
            if (top < 0 || left < 0 || right > window.innerWidth || bottom > window.innerHeight || box.scrollWidth > box.clientWidth) {
                wrong.push(`${box.className} from ${left},${top} to ${right},${bottom}`);
            }
        }
        return wrong;
    }, TOUCH);
}

/** Looks at the state that the page is in, at every size. */
export async function look(page, name) {
    const wrong = [];
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
        await screenshot(page, `${name}-${size}`);
        wrong.push(...(await badControls(page)).map(line => `${size}: ${line}`));
        if (size !== "landscape") {
            wrong.push(...(await violations(page)).map(line => `${size}: ${line}`));
        }
    }
    await page.setViewportSize(SIZES.desktop);
    assert.deepEqual(wrong, [], name);
}
