// A program: joins a room with the documented client in the browser of this run, and prints each second as a line of JSON what it has
// seen. A line on stdin is run in the page; the end of stdin is its end. For guests in another network namespace, and of both browsers.
import { createInterface } from "node:readline";
import { openBrowser } from "./browser.mjs";
import { LOOK, snippet } from "./snippet.mjs";

const [origin, jwt, room] = process.argv.slice(2);
const browser = await openBrowser({ autoplay: true, microphone: "fake", insecure: true });
try {
    const { page } = browser;
    page.on("console", message => message.type() === "error" && console.log(JSON.stringify({ console: message.text() })));
    // A document of the server, with nothing of ours in it.
    await page.goto(`${origin}/session/00000000000000000000000000000000/`);
    await page.evaluate(`(${await snippet(origin)})(${JSON.stringify(jwt)}, ${JSON.stringify(room)})`);
    const timer = setInterval(async () => {
        const seen = await page.evaluate(LOOK).catch(error => ({ error: String(error) }));
        console.log(JSON.stringify({ ...seen, pageErrors: browser.errors }));
    }, 500);
    for await (const line of createInterface({ input: process.stdin })) {
        await page.evaluate(line);
    }
    clearInterval(timer);
} finally {
    await browser.close();
}
