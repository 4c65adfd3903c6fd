// A program: opens URLs in pages of one browser, touches nothing, and prints five times a second, as a line of JSON for each page,
// where its video is, how often it was loaded, and what it says of its connection. A line of standard input takes a picture of each
// under that name; it ends with its standard input.
import { createInterface } from "node:readline";
import { openBrowser, readable, screenshot } from "./browser.mjs";

const LOOK_EVERY_MS = 200;
const READ_EVERY_MS = 1_000;

const browser = await openBrowser();
const lines = createInterface({ input: process.stdin });
let isOver = false;
lines.on("close", () => { isOver = true; });

async function watch(url, number) {
    const page = number === 0 ? browser.page : await browser.context.newPage();
    let loads = 0;
    page.on("load", () => { loads += 1; });
    lines.on("line", name => screenshot(page, `${name}-${number}`).catch(error => console.error(String(error))));
    await page.goto(url);
    let [words, readAt] = [[], 0];
    while (!isOver) {
        // While the page is being replaced there is no answer.
        const time = await page.evaluate(() => document.querySelector("video")?.currentTime).catch(() => undefined);
        if (Date.now() - readAt >= READ_EVERY_MS) {
            const tree = await readable(page).catch(() => "");
            [words, readAt] = [tree.match(/Reconnecting…|Connection lost|Stream ended/g) ?? [], Date.now()];
        }
        console.log(JSON.stringify({ page: number, time: time ?? null, loads, words }));
        await new Promise(done => setTimeout(done, LOOK_EVERY_MS));
    }
}

try {
    await Promise.all(process.argv.slice(2).map(watch));
} finally {
    await browser.close();
}
