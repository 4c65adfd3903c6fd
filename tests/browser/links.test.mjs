// The link that only watches, in a real browser: it plays, shows nothing of the owner's, and can end nothing.
import assert from "node:assert/strict";
import { test } from "./support/timed.mjs";
import { IS_FIREFOX, IS_NEWS, openBrowser, readable, screenshot, until, untilEqual, untilReadable } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";

/** A session of the built-in clip: both its links. */
async function clip(demo, body) {
    const { session_id: id, stream_url: owner, view_url: viewer } = await demo.create({ body_ip: body, engine: "demo" });
    return { id, owner, viewer };
}

const playing = page => until("moving pictures", () => page.evaluate(() =>
    document.body.dataset.state === "playing" && document.querySelector("video").currentTime > 1));

/** All that the server told a page, heads and bodies, from now on. */
function listen(page) {
    const heard = [];
    page.on("response", async response => {
        const head = `${response.status()} ${response.url()} ${JSON.stringify(await response.allHeaders().catch(() => ({})))}`;
        // The event stream has no end.
        const endless = response.url().endsWith("/_neck/events");
        heard.push(`${head} ${endless ? "" : await response.text().catch(() => "")}`);
    });
    page.on("request", request => heard.push(`${request.method()} ${request.url()} ${request.postData() ?? ""}`));
    return heard;
}

test("the viewers' link plays, shows no owner's controls and hears of the end in its own words", async () => {
    const demo = await startDemo();
    const browser = await openBrowser({ openShadow: true });
    try {
        const session = await clip(demo, "127.0.0.2");
        const owner = browser.page;
        await owner.goto(session.owner);
        await playing(owner);
        const viewer = await browser.context.newPage();
        const errors = [];
        viewer.on("pageerror", error => IS_NEWS.test(String(error)) || errors.push(String(error)));
        viewer.on("console", message => message.type() === "error" && !IS_NEWS.test(message.text()) && errors.push(message.text()));
        const heard = listen(viewer);
        await viewer.goto(session.viewer);
        await playing(viewer);
        await untilReadable(viewer, "button Connection details");
        await untilReadable(viewer, "button Full screen");
        for (const name of ["button Leave the stream", "button Microphone"]) {
            await untilReadable(owner, name);
            const viewers = await readable(viewer);
            assert.ok(!viewers.includes(name), `a viewer has ${name}:\n${viewers}`);
        }
        await screenshot(viewer, "viewers-link");
        // By hand, as a script of a viewer would.
        const tried = await viewer.evaluate(async () => {
            const ask = (method, path) => fetch(path, { method, headers: { "Content-Type": "application/json" }, body: "{}" });
            const all = [["POST", "quit"], ["POST", "rating"], ["POST", "_neck/facts"], ["POST", "mic/offer"], ["POST", "whip"]];
            return Promise.all(all.map(async ([method, path]) => (await ask(method, path)).status));
        });
        assert.deepEqual(tried, [403, 403, 403, 403, 403]);
        await untilEqual("it plays for both", async () => {
            const one = (await demo.api("GET", `/api/v1/sessions/${session.id}`)).json();
            return [one.status, one.connections, one.stream_url, one.view_url];
        }, ["streaming", 2, session.owner, session.viewer]);
        // Firefox tells nothing of statuses there.
        await untilEqual("refusals on the console", () => errors.filter(error => error.includes("403")).length, IS_FIREFOX ? 0 : 5);
        assert.deepEqual(errors.filter(error => !error.includes("403")), [], "no script error, nothing against a policy");

        // The owner leaves.
        await owner.getByRole("button", { name: "Leave the stream" }).click();
        await owner.getByRole("button", { name: "Leave", exact: true }).click();
        await untilReadable(viewer, "The person who shared this stream ended it.");
        await untilReadable(viewer, "Stream ended");
        await untilReadable(viewer, "link Back to the start page");
        assert.doesNotMatch(await readable(viewer), /How was your stream|Start new stream|You left/);
        await screenshot(viewer, "viewers-end");
        await viewer.reload();
        await untilReadable(viewer, "The person who shared this stream ended it.");
        await until("a WHEP session is seen", () => heard.some(text => /"?location"?:.*\/whep\/[0-9a-f]{32}/i.test(text)));
        const named = heard.filter(text => text.includes(session.id.slice(0, 8)));
        assert.deepEqual(named, [], "nothing that the viewer's browser got or sent names the owner's link");
        assert.ok(!heard.some(text => /^POST .*(facts|quit|rating)/.test(text) && text.includes("candidate_type")));
    } finally {
        await browser.close();
        await demo.stop();
    }
});
