// Measures recoveries for tests/perf/recovery: the longest time without a moving picture around each kill, and whether the page said so.
import { closeSharedBrowser, openTab, until, untilPlaying } from "./browser.mjs";
import { startCoturn } from "./coturn.mjs";
import { childrenNamed } from "./demo.mjs";
import { connectTwoPeers, untilConnected, untilLoadedAnew } from "./loop.mjs";
import { startProduct } from "./product.mjs";
import { startSession } from "./standin.mjs";

const TIMES = Number(process.env.TIMES ?? 10);

function report(what, times, goal) {
    const sorted = [...times].sort((a, b) => a - b);
    const median = sorted[Math.floor((sorted.length - 1) / 2)];
    console.log(`${what}: median ${median} ms of ${times.length} (goal ${goal} ms), ${sorted[0]} to ${sorted.at(-1)} ms`);
}

async function processAndStreamer() {
    const kinds = [["stream process killed", 3_000, product => childrenNamed(product.pid, "web-server")],
        ["streamer killed", 5_000, product => childrenNamed(product.pid, "web-server").flatMap(pid => childrenNamed(pid, "streamer"))]];
    for (const [what, goal, victims] of kinds) {
        const times = [];
        for (let time = 0; time < TIMES; time += 1) {
            const product = await startProduct();
            const tab = await openTab();
            try {
                await tab.page.goto(product.url);
                await untilPlaying(tab.page, 30_000);
                times.push(await untilLoadedAnew(tab.page, () => victims(product).forEach(pid => process.kill(pid, "SIGKILL"))));
            } finally {
                await tab.close();
                await product.stop();
            }
        }
        report(what, times, goal);
    }
}

/** The relay is away for five seconds; the time counts from its return, for a page that restarts ICE and for one that cannot. */
async function relay() {
    for (const renegotiates of [true, false]) {
        const times = [];
        for (let time = 0; time < TIMES; time += 1) {
            const coturn = await startCoturn();
            const session = await startSession({ forceRelay: true, iceServers: coturn.servers(600) }, { no_streamer: true });
            session.answers["GET _neck/ice"] = () => [200, { iceServers: coturn.servers(600), ttl: 600 }];
            const tab = await openTab({ loopback: true });
            try {
                await tab.page.goto(session.url);
                await connectTwoPeers(tab.page, { renegotiates });
                await untilConnected(tab.page);
                await until("a picture", () => session.called("POST", "_neck/facts").some(({ body }) => body.beat?.media));
                await coturn.stop();
                await new Promise(done => setTimeout(done, 5_000));
                await coturn.start();
                const since = Date.now();
                const load = await tab.page.evaluate(() => performance.timeOrigin);
                const words = () => tab.page.getByText("Reconnecting…").count();
                await until("it moves or is loaded anew", async () => await tab.page.evaluate(() => performance.timeOrigin) !== load
                    || renegotiates && await words() === 0, 60_000);
                times.push(Date.now() - since);
            } finally {
                await tab.close();
                await session.stop();
                await coturn.close();
            }
        }
        report(renegotiates ? "relay back, ICE restarted" : "relay back, page that never renegotiates loaded anew", times, 8_000);
    }
}

await processAndStreamer();
await closeSharedBrowser();
await relay();
await closeSharedBrowser();
