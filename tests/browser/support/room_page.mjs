// The page of rooms as somebody uses it: at its door, in the room, and what its tiles show.
import { until } from "./browser.mjs";

/** A browser on a busy machine may not have connected when the server gives it up, after half a minute, and comes again. */
export const PATIENCE = 120_000;

/** What the tiles of a page show. */
const tiles = page => page.evaluate(() => Promise.all([...document.querySelectorAll(".tile")].map(async tile => {
    const video = tile.querySelector("video");
    return {
        name: tile.querySelector(".name").textContent, state: tile.querySelector(".state").textContent,
        pictured: tile.classList.contains("pictured"), speaks: tile.classList.contains("speaks"), plays: video.videoWidth > 0 && video.currentTime > 0.3,
        sounds: tile.querySelector("audio")?.srcObject?.getTracks().length ?? 0,
    };
})));

/** Keeps what the page says in passing from now on: it goes by itself, perhaps before anybody looks. */
export const keepSaid = page => page.evaluate(() => {
    window.said = [];
    new MutationObserver(changes => window.said.push(...changes.flatMap(({ addedNodes }) => [...addedNodes].map(node => node.textContent))))
        .observe(document.querySelector("#said"), { childList: true });
});

/** Until the page has said this since `keepSaid`. */
export const untilSaid = (page, text) => until(`“${text}” is said`, async () => {
    const said = await page.evaluate(() => window.said);
    if (!said.join("\n").includes(text)) {
        throw new Error(JSON.stringify(said));
    }
    return true;
});

/** Pages of `tab` that open the room of `link`; `server` says what its server printed. */
export function roomPage(tab, link, server) {
    /** A page at the door of the room. */
    async function visit(hash = link.hash, page = null) {
        const opened = page ?? await tab.context.newPage();
        await opened.goto("about:blank");
        await opened.goto(`${link.origin}${link.pathname}${hash}`);
        await opened.locator("#door").waitFor();
        return opened;
    }

    async function join(name, page = null) {
        const opened = await visit(link.hash, page);
        await opened.locator("#name").fill(name);
        await until("the camera at the door", () => opened.locator("#mirror.pictured").count(), PATIENCE);
        await opened.locator("#join").click();
        return opened;
    }

    /** Until the tiles of the page are as `check` wants them. */
    async function untilTiles(page, what, check, limitMs = PATIENCE) {
        let seen = [];
        try {
            await until(what, async () => check(seen = await tiles(page)), limitMs);
        } catch (error) {
            throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${await page.locator("#note").innerText()}\n${server.output().slice(-3_000)}`);
        }
        return seen;
    }

    const meet = (page, names) => untilTiles(page, `${names} are seen`, all =>
        all.length === names.length && names.every(name => all.some(one => one.name.startsWith(name) && one.pictured && one.plays)));

    /** What a test left open is nobody in the next one's room. */
    async function empty() {
        await Promise.all(tab.context.pages().filter(page => page !== tab.page).map(page => page.close()));
        await tab.page.goto("about:blank");
    }

    return { visit, join, untilTiles, meet, empty };
}
