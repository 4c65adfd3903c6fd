// What is the same for every state of the overlay: screenshots at each size, axe-core, sizes of what is touched.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { PATIENCE, screenshot, SIZES, untilEqual } from "./browser.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What a finger needs (WCAG 2.5.5), in CSS pixels. */
const TOUCH = 44;

/** Runs axe-core over the overlay, or over the whole page when the overlay is not there; gives what is wrong. */
async function violations(page) {
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

/** Waits until axe-core finds nothing: what moves or is still being drawn is looked at again. `until` would look once more beside a look that takes
 * long, which axe-core does not take. */
export async function untilNoViolations(page, what) {
    const deadline = Date.now() + PATIENCE;
    let found = await violations(page);
    while (found.length > 0 && Date.now() < deadline) {
        await page.waitForTimeout(500);
        found = await violations(page);
    }
    assert.deepEqual(found, [], what);
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
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
        await screenshot(page, `${name}-${size}`);
        await untilEqual(`every control of ${name} at ${size} is in the window and large enough`, () => badControls(page), []);
        if (size !== "landscape") {
            await untilNoViolations(page, `${name} at ${size}`);
        }
    }
    await page.setViewportSize(SIZES.desktop);
}
