// Starts a browser, Chromium or Firefox ESR (`BROWSER=firefox`), and gives a test the same few things in both: a page, what a
// screen reader finds in it, a picture of it. Playwright drives both; stock Firefox by WebDriver BiDi, the standard.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { chromium, firefox } from "playwright-core";

/** Which browser this run is about. */
export const BROWSER = process.env.BROWSER ?? "chromium";
export const IS_FIREFOX = BROWSER === "firefox";

/** What takes a second may take this long, in milliseconds, on a machine that others use as well, or that was stopped for a moment. It is no
 * bound that a test asserts. */
export const PATIENCE = 60_000;

/** The same for the start of a browser. */
const LAUNCH_PATIENCE = 180_000;

/** Where to look at what the tests saw. */
const OUT = new URL("../../../target/screenshots/", import.meta.url).pathname;

/** A computer's window, and a phone upright and on its side. */
export const SIZES = {
    desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 }, landscape: { width: 844, height: 390 },
};

const CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];

/** No question to anybody outside, no motion, no words over what goes full screen. */
const FIREFOX_PREFERENCES = {
    "app.normandy.enabled": false, "app.update.enabled": false, "browser.safebrowsing.update.enabled": false,
    "datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false, "media.gmp-manager.updateEnabled": false,
    "network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
    "full-screen-api.transition-duration.enter": "0 0", "full-screen-api.transition-duration.leave": "0 0",
    "full-screen-api.warning.timeout": 0, "pointer-lock-api.warning.timeout": 0, "ui.prefersReducedMotion": 1,
    // A mouse, which a machine without a desk does not have.
    "ui.allPointerCapabilities": 6, "ui.primaryPointerCapabilities": 6,
};

/**
 * The browser of this run and how it is started. `microphone`: "fake" beeps, "none" is a computer without one, "denied" one that
 * this person keeps from pages; `insecure`: Firefox gives the fake ones to pages of plain HTTP; `autoplay`: pages may begin with sound; `here`: `stream.test` is this machine, and candidates
 * bear its addresses; `args` are Chromium's.
 */
function launching({ microphone = "none", insecure = false, autoplay = false, here = false, loopback = false, args = [] }) {
    if (IS_FIREFOX) {
        const firefoxUserPrefs = {
            ...FIREFOX_PREFERENCES, "media.autoplay.default": autoplay ? 0 : 1,
            "media.navigator.streams.fake": microphone !== "none", "media.navigator.permission.disabled": microphone !== "denied",
            "permissions.default.microphone": microphone === "denied" ? 2 : 0,
            ...insecure ? { "media.devices.insecure.enabled": true, "media.getusermedia.insecure.enabled": true } : {},
            // A relay on this machine is not reached from its other addresses.
            "media.peerconnection.ice.loopback": loopback,
            ...here ? { "network.dns.localDomains": "stream.test", "media.peerconnection.ice.obfuscate_host_addresses": false } : {},
        };
        const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
        return [firefox, { channel: "moz-firefox", executablePath, headless: true, firefoxUserPrefs, timeout: LAUNCH_PATIENCE }];
    }
    const flags = [
        ...microphone === "fake" ? ["--use-fake-device-for-media-stream"] : [],
        ...autoplay ? ["--autoplay-policy=no-user-gesture-required"] : [],
        ...here ? ["--host-resolver-rules=MAP stream.test 127.0.0.1", "--disable-features=WebRtcHideLocalIpsWithMdns"] : [],
    ];
    return [chromium, {
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, timeout: LAUNCH_PATIENCE,
        args: [...CHROMIUM_FLAGS, ...flags, ...args],
    }];
}

/** What a context is opened with. */
function contextOptions({ microphone, insecure, permissions = [], autoplay, here, loopback, args, openShadow, ...options }) {
    return IS_FIREFOX
        // It hears what the person likes at its start, and gives a fake microphone unasked.
        ? { viewport: SIZES.desktop, ...options, reducedMotion: null, colorScheme: null }
        : { viewport: SIZES.desktop, reducedMotion: "reduce", permissions, ...options };
}

/** Firefox tells in the same way of a lost connection, and of the style (by its hash) that Playwright adds for a picture. */
export const IS_NEWS = /Firefox can’t establish a connection|The connection to \S+ was interrupted|sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT/;

/** A page of `context` to begin with, and the errors of its scripts. */
async function begin(context, openShadow, close) {
    context.setDefaultTimeout(PATIENCE);
    // Only Chromium tells what a screen reader finds in a closed one.
    if (openShadow || IS_FIREFOX) {
        await context.addInitScript(openShadowRoots);
    }
    const page = context.pages()[0] ?? await context.newPage();
    const errors = [];
    page.on("pageerror", error => IS_NEWS.test(String(error)) || errors.push(String(error)));
    return { page, context, errors, close };
}

/** Removes a directory, in which a process that ends may still be writing. */
export const remove = directory => rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });

/** Opens a browser with one page. `close()` removes its profile too. */
export async function openBrowser(options = {}) {
    const [program, launch] = launching(options);
    const context = { viewport: { width: 1280, height: 720 }, ...contextOptions(options) };
    if (IS_FIREFOX) {
        const browser = await program.launch(launch);
        return begin(await browser.newContext(context), options.openShadow, () => browser.close());
    }
    const profile = await mkdtemp(join(tmpdir(), "neck-chromium-"));
    const opened = await program.launchPersistentContext(profile, { ...launch, ...context });
    return begin(opened, options.openShadow, async () => {
        await opened.close();
        await remove(profile);
    });
}

let shared = null;

/** A fresh context with one page, in a browser that the tests of a file share; quicker than `openBrowser`. `microphone: "denied"`
 * is for this one alone; `loopback`, that Firefox finds a relay on this machine, is as the first tab has it. */
export async function openTab(options = {}) {
    const denied = options.microphone === "denied";
    if (denied && IS_FIREFOX) {
        return openBrowser({ openShadow: true, ...options, here: true });
    }
    const [program, launch] = launching({ microphone: "fake", here: true, loopback: options.loopback });
    shared ??= await program.launch(launch);
    const context = await shared.newContext(contextOptions(options));
    const tab = await begin(context, options.openShadow ?? true, () => context.close());
    if (denied) {
        const session = await context.newCDPSession(tab.page);
        await session.send("Browser.setPermission", { permission: { name: "microphone" }, setting: "denied" });
    }
    return tab;
}

/** For the end of a file that used `openTab`, or before a tab with other options. */
export async function closeSharedBrowser() {
    await shared?.close();
    shared = null;
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

/** The longest that one picture takes, in milliseconds: they are taken one after the other, so one that Chromium loses (its page was
 * just replaced) would hold up the next. Less than the limit of one look. */
const PICTURE_LIMIT = 10_000;

export async function screenshot(page, name) {
    await mkdir(OUT, { recursive: true });
    const path = join(OUT, `${IS_FIREFOX ? `${name}-firefox` : name}.png`);
    // There is none while the page is being replaced.
    await until(`a picture of ${name}`, () => page.screenshot({ path, timeout: PICTURE_LIMIT }));
}

/** Every node of Chromium's accessibility tree that has a name, as {role, name, node, focused}. */
async function named(page) {
    const session = await page.context().newCDPSession(page);
    try {
        const { nodes } = await session.send("Accessibility.getFullAXTree");
        return nodes.filter(node => !node.ignored && node.name?.value).map(node => ({
            role: node.role.value, name: node.name.value, node: node.backendDOMNodeId,
            focused: node.properties?.some(each => each.name === "focused" && each.value.value) ?? false,
        }));
    } finally {
        await session.detach();
    }
}

/** What a screen reader would find, one "role name" a line; what has the focus ends in " focused". */
export async function readable(page) {
    if (!IS_FIREFOX) {
        return (await named(page)).map(({ role, name, focused }) => `${role} ${name}${focused ? " focused" : ""}`).join("\n");
    }
    // Playwright's own reading of the page, in YAML: `- button "Leave":`, `- paragraph: words`.
    const tree = await page.locator("html").ariaSnapshot();
    const lines = tree.split("\n").map(line => line.trim()
        .replace(/^- (\w+) "((?:[^"\\]|\\.)*)".*$/, (_, role, name) => `${role} ${name.replace(/\\(.)/g, "$1")}`)
        .replace(/^- (\w+)[^:]*: "?(.*?)"?$/, "$1 $2"));
    const focused = await page.evaluate(() => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) {
            element = element.shadowRoot.activeElement;
        }
        return element?.ariaLabel ?? element?.innerText?.trim() ?? "";
    });
    return lines.map(line => line.split(" ").slice(1).join(" ") === focused ? `${line} focused` : line).join("\n");
}

/** The longest that one look into a page takes, in milliseconds; one that Chromium loses (its page was just replaced) is asked anew. */
const LOOK_LIMIT = 20_000;

/** Asks until `check` gives something true; says what was seen last if that never happens. */
export async function until(what, check, limitMs = PATIENCE) {
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

/** Looks until it sees `wanted`; asserts that it does, with what was seen last. */
export async function untilEqual(what, look, wanted, limitMs) {
    let seen;
    await until(what, async () => isDeepStrictEqual(seen = await look(), wanted), limitMs)
        .catch(error => assert.deepStrictEqual(seen, wanted, `${error.message}: ${JSON.stringify(seen)}`));
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

/** Waits until a screen reader would not find this text any more. */
export async function untilUnreadable(page, text) {
    let tree = "";
    await until(`no “${text}”`, async () => !(tree = await readable(page)).includes(text))
        .catch(error => { throw new Error(`${error.message}\n${tree}`); });
}

/** Clicks what a screen reader finds under this role and name, shadow roots included. */
export async function clickReadable(page, role, name) {
    if (IS_FIREFOX) {
        await page.getByRole(role, { name, exact: true }).first().click();
        return;
    }
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

/** Keeps what the overlay says from now on, over loads of the page too: some words are there for a moment. For tabs whose shadow roots are open. */
export const keepWords = page => page.evaluate(() => {
    const keep = root => {
        const words = sessionStorage.getItem("test-words") ?? "";
        sessionStorage.setItem("test-words", `${words}\n${root.textContent}`);
    };
    for (const { shadowRoot } of document.querySelectorAll("*")) {
        if (shadowRoot) {
            new MutationObserver(() => keep(shadowRoot)).observe(shadowRoot, { subtree: true, childList: true, characterData: true });
        }
    }
});

/** All that `keepWords` kept. */
export const keptWords = page => page.evaluate(() => sessionStorage.getItem("test-words") ?? "");

/** Takes the pointer, or the screen, for an element: `request` is its function for that, `held` the document's field. Browsers allow it only within
 * seconds after a click, which a busy machine may let pass. */
export async function takeByClick(page, [x, y], selector, request, held) {
    await until(request, async () => {
        await page.mouse.click(x, y);
        await page.evaluate(([which, name]) => document.querySelector(which)[name](), [selector, request]);
        return page.evaluate(field => Boolean(document[field]), held);
    });
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
