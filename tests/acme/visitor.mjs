// A program: opens a URL in Chromium as a person would, waits for its stream, watches it for so many seconds, and says what it sees, line
// by line. Ends with 1 when the page or the stream did not stay.
import { openBrowser, screenshot, until } from "../browser/support/browser.mjs";
import { received, watchPeers } from "../browser/support/peers.mjs";

/** A stream that stands still for longer was cut, in milliseconds. */
const STILL = 4_000;

const [url, seconds] = process.argv.slice(2);
const browser = await openBrowser({ autoplay: true });
const { page } = browser;
try {
    await watchPeers(page);
    await until("the page", () => page.goto(url), 30_000);
    const { protocol, host } = new URL(page.url());
    const security = await page.evaluate(() => window.isSecureContext);
    console.log(`the page, by ${protocol}//${host}, ${security ? "secure" : "not secure"}`);
    await until("pictures", async () => (await received(page)).frames > 10, 60_000);
    console.log("the stream plays");
    await screenshot(page, "acme-stream");
    const first = await page.evaluate(() => performance.timeOrigin);
    const end = Date.now() + Number(seconds) * 1_000;
    let [frames, moved, longest] = [0, Date.now(), 0];
    while (Date.now() < end) {
        const now = await received(page);
        if (now.frames !== frames) {
            [frames, moved] = [now.frames, Date.now()];
        }
        longest = Math.max(longest, Date.now() - moved);
        await new Promise(done => setTimeout(done, 200));
    }
    const last = await received(page);
    const reloaded = first !== await page.evaluate(() => performance.timeOrigin);
    console.log(`${last.frames} pictures in ${seconds} s, still for ${longest} ms at most, ${last.peers} peer, ${reloaded ? "reloaded" : "never reloaded"}`);
    if (protocol !== "https:" || !security || longest > STILL || last.peers !== 1 || reloaded || browser.errors.length > 0) {
        console.log(`errors: ${browser.errors.join("; ")}`);
        process.exitCode = 1;
    }
} finally {
    await browser.close();
}
