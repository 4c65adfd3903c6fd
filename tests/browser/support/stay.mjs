// A program: opens a URL in the browser of this run, touches nothing, and prints every ten seconds, as a line of JSON, how the stream
// went: its time, the longest that it stood still, how often the page was loaded, what the page said. For so many seconds.
import { openBrowser, readable, untilPlaying } from "./browser.mjs";

const [url, seconds] = process.argv.slice(2);
const LOOK_EVERY_MS = 200;
const TELL_EVERY_MS = 10_000;

const browser = await openBrowser();
try {
    const { page } = browser;
    let loads = 0;
    page.on("load", () => { loads += 1; });
    await page.goto(url);
    await untilPlaying(page, 60_000);
    const begun = Date.now();
    let [last, moved, longest, played, told] = [-1, begun, 0, 0, begun];
    while (Date.now() - begun < Number(seconds) * 1_000) {
        // While the page is being replaced there is no answer: it stands still.
        const time = await page.evaluate(() => document.querySelector("video")?.currentTime).catch(() => undefined);
        const now = Date.now();
        longest = Math.max(longest, now - moved);
        if (time !== undefined && time !== last) {
            // Another load begins at 0 again.
            played += last >= 0 && time > last ? time - last : 0;
            [last, moved] = [time, now];
        }
        if (now - told >= TELL_EVERY_MS) {
            told = now;
            const words = (await readable(page)).match(/Reconnecting…|Connection lost|Stream ended/g) ?? [];
            console.log(JSON.stringify({ seconds: Math.round((now - begun) / 1_000), played: Math.round(played), longest_still_ms: longest, loads, words }));
        }
        await new Promise(done => setTimeout(done, LOOK_EVERY_MS));
    }
} finally {
    await browser.close();
}
