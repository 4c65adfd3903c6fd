// The demo in its first minute, as `demo` without a thought plays it: in a browser of this machine, and in one of another.
// Network namespaces are the machines; Firefox pairs no loopback candidate with its own addresses, which is what this is about.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, PARTS_LIMIT, test } from "./support/timed.mjs";
import { openBrowser, PATIENCE, screenshot, until, untilEqual } from "./support/browser.mjs";
import { startDemo } from "./support/demo.mjs";
import { ADDRESSES, ADDRESSES_6, makeNetwork } from "./support/netns.mjs";
import { BUILT } from "./support/standin.mjs";

/** In the visitor's own machine: where the session's way back leads, and where a new stream is that begins there. */
const ASK_THE_WAY_BACK = `
    const script = await (await fetch(process.argv[1] + "_neck/overlay.js")).text();
    const back = JSON.parse(script.match(/"returnUrl":("[^"]*")/)[1]);
    const reply = await fetch(new URL("start", back), { redirect: "manual" });
    console.log(JSON.stringify({ back, status: reply.status, stream: reply.headers.get("Location") }));
`;

const VISIT = new URL("support/visit.mjs", import.meta.url).pathname;

let network;
before(async () => { network = makeNetwork(); });
after(async () => { network?.close?.(); });

/** Runs `demo` on the far machine: what it printed, and its end. */
async function demoThere(...flags) {
    const [command, ...args] = network.inside("far", join(BUILT, "hydraneckwebrtc"), "demo", ...flags);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let exited = false;
    for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", bytes => { output += bytes; });
    }
    child.on("exit", () => { exited = true; });
    const stop = async () => {
        child.kill("SIGINT");
        await until("demo ends", () => exited);
    };
    try {
        await until("demo prints how to stop it", () => {
            if (exited) {
                throw new Error(output);
            }
            return /^Stop with/m.test(output);
        });
    } catch (error) {
        await stop();
        throw new Error(`${error.message}\n${output}`);
    }
    return { output: () => output, urls: output.match(/^(?:Open|  )\s*(http:\S+)/gm).map(line => line.replace(/^\S*\s+/, "")), stop };
}

/** What a browser on this machine sees at this URL. */
const visit = (side, url, name) => run(side, VISIT, url, String(PATIENCE / 1_000), name);

/** What a program of node's prints on this machine. */
function run(side, ...arguments_) {
    const [command, ...args] = network.inside(side, process.execPath, ...arguments_);
    return new Promise((done, refuse) => {
        execFile(command, args, { timeout: 240_000 }, (error, stdout, stderr) =>
            error ? refuse(new Error(`${error.message}\n${stderr}`)) : done(JSON.parse(stdout)));
    });
}

const plays = (seen, text) => assert.ok(seen.state === "playing" && seen.frames > 10, `${text}: ${JSON.stringify(seen)}`);

// SPEC 1: `demo` plays in Chromium and Firefox of the same machine; with `--listen` it prints a URL
// for each address, which play in browsers of another machine, and the way back works there
// Also: `demo that listens for others prints a URL for each address, and it plays in a browser of
// another machine`,
// `who_is_there_for_browsers_of_this_host_offers_loopback_and_what_firefox_pairs_with`,
// `every_address_that_reaches_the_demo_has_its_url`,
// `the_way_back_leads_where_others_come_from_too`, `a_visitor_is_led_on_by_the_name_they_came_by`
test("demo plays in a browser of the same machine", async runner => {
    if (network.refused) {
        return runner.skip(network.refused);
    }
    const demo = await demoThere();
    try {
        assert.equal(demo.urls.length, 1, demo.output());
        assert.match(demo.urls[0], /^http:\/\/127\.0\.0\.1:/);
        assert.doesNotMatch(demo.output(), /wireguard/i, "nothing that worries a newcomer");
        const seen = await visit("far", demo.urls[0], "demo-same-machine");
        console.log(JSON.stringify(seen));
        plays(seen, demo.output());
    } finally {
        await demo.stop();
    }
    return undefined;
});

/** Every way to listen for others, and the URLs that this prints. */
const LISTENING = [
    ["0.0.0.0:8000", ["http://127.0.0.1:8000", `http://${ADDRESSES.far}:8000`]],
    [`${ADDRESSES.far}:8000`, [`http://${ADDRESSES.far}:8000`]],
    ["[::]:8000", ["http://127.0.0.1:8000", `http://${ADDRESSES.far}:8000`, `http://[${ADDRESSES_6.far}]:8000`]],
];

test("demo that listens for others prints a URL for each address, and it plays in a browser of another machine", async runner => {
    if (network.refused) {
        return runner.skip(network.refused);
    }
    for (const [listen, origins] of LISTENING) {
        const demo = await demoThere("--listen", listen);
        try {
            assert.deepEqual(demo.urls.map(url => new URL(url).origin), origins, demo.output());
            const seen = await visit("near", demo.urls.at(-1), `demo-other-machine-${origins.length}`);
            console.log(listen, JSON.stringify(seen));
            plays(seen, demo.output());
            const way = await run("near", "--input-type=module", "-e", ASK_THE_WAY_BACK, demo.urls.at(-1));
            assert.deepEqual([way.status, new URL(way.stream).hostname], [303, new URL(way.back).hostname], JSON.stringify(way));
            const known = await run("near", "--input-type=module", "-e",
                "console.log((await fetch(process.argv[1])).status)", way.stream);
            assert.equal(known, 200, JSON.stringify(way));
        } finally {
            await demo.stop();
        }
    }
    return undefined;
}, PARTS_LIMIT);

// SPEC 8 whep: A player without a connection says within ten seconds what was tried, and goes on
// trying
test("a page that cannot connect says within ten seconds what was tried, and goes on trying", async () => {
    const demo = await startDemo();
    const browser = await openBrowser();
    const { page } = browser;
    try {
        await page.addInitScript(() => {
            const native = window.fetch;
            window.posts = 0;
            // A page that the overlay loads anew knows that it may.
            window.held = sessionStorage.getItem("released") === null;
            window.fetch = async (url, options) => {
                const reply = await native(url, options);
                const isAnswer = reply.status < 300 && reply.status !== 204 && ["POST", "PATCH"].includes(options?.method);
                if (!isAnswer || !String(url).includes("whep") || !window.held) {
                    return reply;
                }
                window.posts += 1;
                // Nothing listens there.
                const nowhere = (await reply.text()).replace(/^a=candidate:.*\r\n/gm, "")
                    .replace(/^a=ice-ufrag:/m, "a=candidate:1 1 udp 2130706431 127.0.0.77 9099 typ host\r\n$&");
                return new Response(nowhere, { status: reply.status, headers: reply.headers });
            };
        });
        // 8 s by the page's clock; the rest is the loading of the page on a busy machine, which may hold one load up.
        const took = [];
        while (took.length < 3 && !took.some(time => time < 20_000)) {
            const begun = Date.now();
            await page.goto(demo.url);
            const words = await until("words that say what was tried", () =>
                page.evaluate(() => document.body.dataset.state === "unreachable" && document.querySelector("#said").innerText));
            took.push(Date.now() - begun);
            console.log(`after ${took.at(-1)} ms: ${words}`);
            assert.match(words, /does not reach the stream[^]*127\.0\.0\.77:9099\/udp/);
        }
        assert.ok(took.some(time => time < 20_000), `${took} ms`);
        await screenshot(page, "demo-unreachable");
        const posts = await page.evaluate(() => {
            window.held = false;
            sessionStorage.setItem("released", "yes");
            return window.posts;
        });
        await until("it plays once it can", () => page.evaluate(() => document.body.dataset.state === "playing"));
        console.log(`${posts} answers that led nowhere`);
        await untilEqual("no word of it", () => page.evaluate(() => document.querySelector("#said").innerText.trim()), "");
    } finally {
        await browser.close();
        await demo.stop();
    }
});
