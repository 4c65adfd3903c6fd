// Starts Chromium and looks into the overlay's closed shadow root, which only the accessibility tree shows.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];

/** Where to look at what the tests saw. */
const OUT = new URL("../../../target/screenshots/", import.meta.url).pathname;

/** A computer's window, and a phone upright and on its side. */
export const SIZES = {
    desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 }, landscape: { width: 844, height: 390 },
};

/** A microphone that beeps, without asking anybody. */
export const FAKE_MICROPHONE = ["--use-fake-device-for-media-stream"];

/** Opens a browser with one page. `close()` removes its profile too. */
export async function openBrowser(options = {}) {
    const profile = await mkdtemp(join(tmpdir(), "neck-chromium-"));
    const context = await chromium.launchPersistentContext(profile, {
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, viewport: { width: 1280, height: 720 },
        reducedMotion: "reduce", ...options, args: [...FLAGS, ...options.args ?? []],
    });
    if (options.openShadow) {
        await context.addInitScript(openShadowRoots);
    }
    const page = context.pages()[0] ?? await context.newPage();
    const errors = [];
    page.on("pageerror", error => errors.push(String(error)));
    return {
        page, context, errors,
        async close() {
            await context.close();
            await rm(profile, { recursive: true, force: true });
        },
    };
}

let shared = null;

/** A fresh context with one page, in a browser that the tests of a file share; quicker than `openBrowser`. */
export async function openTab(options = {}) {
    shared ??= await chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true,
        args: [...FLAGS, ...FAKE_MICROPHONE, "--host-resolver-rules=MAP stream.test 127.0.0.1",
            "--disable-features=WebRtcHideLocalIpsWithMdns"],
    });
    const context = await shared.newContext({ viewport: SIZES.desktop, reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(10_000);
    if (options.openShadow ?? true) {
        await context.addInitScript(openShadowRoots);
    }
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", error => errors.push(String(error)));
    return { page, context, errors, close: () => context.close() };
}

/** For the end of a file that used `openTab`. */
export async function closeSharedBrowser() {
    await shared?.close();
}

/**
 * Makes every shadow root of the pages an open one, so that tests see into the overlay. In the browser, before the
 * product's script: the product has no such switch.
 */
function openShadowRoots() {
    const native = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function attachShadow(init) {
        return native.call(this, { ...init, mode: "open" });
    };
}

export async function screenshot(page, name) {
    await mkdir(OUT, { recursive: true });
    // Chromium has none while the page is being replaced.
    await until(`a picture of ${name}`, () => page.screenshot({ path: join(OUT, `${name}.png`) }));
}

/** Every node of the accessibility tree that has a name, as {role, name, node}. */
async function named(page) {
    const session = await page.context().newCDPSession(page);
    try {
        const { nodes } = await session.send("Accessibility.getFullAXTree");
        return nodes.filter(node => !node.ignored && node.name?.value)
            .map(node => ({ role: node.role.value, name: node.name.value, node: node.backendDOMNodeId }));
    } finally {
        await session.detach();
    }
}

/** What a screen reader would find, one "role name" a line. */
export async function readable(page) {
    return (await named(page)).map(({ role, name }) => `${role} ${name}`).join("\n");
}

/** The longest that one look into a page takes, in milliseconds; one that Chromium loses (its page was just replaced) is asked anew. */
const LOOK_LIMIT = 10_000;

/** Asks until `check` gives something true; says what was seen last if that never happens. */
export async function until(what, check, limitMs = 15_000) {
    const deadline = Date.now() + limitMs;
    let seen;
    for (;;) {
        try {
            seen = await within(LOOK_LIMIT, check());
            if (seen) {
                return seen;
            }
        } catch (error) {
            seen = String(error);
        }
        if (Date.now() > deadline) {
            throw new Error(`not within ${limitMs} ms: ${what}; last seen: ${seen}`);
        }
        await new Promise(done => setTimeout(done, 50));
    }
}

/** What `promise` gives, or an error when that takes longer. */
async function within(limitMs, promise) {
    let timer;
    const late = new Promise((_, refuse) => {
        timer = setTimeout(() => refuse(new Error(`no answer within ${limitMs} ms`)), limitMs);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** Waits until a screen reader would find this text. */
export async function untilReadable(page, text, limitMs) {
    let tree = "";
    try {
        await until(text, async () => (tree = await readable(page)).includes(text), limitMs);
    } catch (error) {
        throw new Error(`${error.message}\n${tree}`);
    }
}

/** Clicks what a screen reader finds under this role and name, shadow roots included. */
export async function clickReadable(page, role, name) {
    const found = await until(`${role} ${name}`, async () =>
        (await named(page)).find(each => each.role === role && each.name === name));
    const session = await page.context().newCDPSession(page);
    const { quads: [[left, top, right, , , bottom]] } =
        await session.send("DOM.getContentQuads", { backendNodeId: found.node });
    await session.detach();
    await page.mouse.click((left + right) / 2, (top + bottom) / 2);
}

/** The playing position of the stream in seconds; NaN before there is a video. */
export function videoTime(page) {
    return page.evaluate(() => document.querySelector("video")?.currentTime ?? NaN);
}

/** Waits until the video has advanced by a second from where it is when asked. */
export async function untilPlaying(page, limitMs) {
    let start = NaN;
    await until("the video advances by 1 s", async () => {
        const now = await videoTime(page);
        if (!(now > start - 0.001)) {
            start = now;
        }
        start = Number.isNaN(start) ? now : start;
        return now >= start + 1;
    }, limitMs);
}
