// A program: opens a URL in the browser of this run, waits until its stream plays or `limit` seconds are over, and prints what is
// seen then, as JSON. For visitors in another network namespace.
import { openBrowser, screenshot, until } from "./browser.mjs";
import { received, watchPeers } from "./peers.mjs";

const [url, limit, name] = process.argv.slice(2);
const browser = await openBrowser();
try {
    await watchPeers(browser.page);
    await browser.page.goto(url);
    const plays = async () => {
        const now = await received(browser.page);
        return now.state === "playing" && now.frames > 10 && now;
    };
    const seen = await until("pictures", plays, Number(limit) * 1_000).catch(() => received(browser.page));
    await screenshot(browser.page, name);
    console.log(JSON.stringify({ ...seen, url: browser.page.url(), errors: browser.errors }));
} finally {
    await browser.close();
}
