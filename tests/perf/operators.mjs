// Measures the operators' page with 500 workers and 10,000 sessions, all of them only said to be there: frame times in Chromium while
// the fleet changes, while somebody scrolls and while somebody searches; and what the controller's thread costs with 1 and with 16
// watchers. Prints what it saw; ends with 1 when the page is not usable.
import { readdirSync, readFileSync } from "node:fs";
import { openBrowser, until } from "../browser/support/browser.mjs";
import { logIn, session, startFleet } from "../browser/support/fleet.mjs";

const WORKERS = Number(process.env.WORKERS ?? 500);
const SESSIONS_EACH = Number(process.env.SESSIONS_EACH ?? 20);
const MEASURED_MS = 15_000;

/** A page that answers a hand within this time feels like one that answers at once, in milliseconds. */
const USABLE = 100;

const fleet = await startFleet({ interval: 10_000, timeout: "60s" });
const percent = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;

/** CPU seconds of the controller's threads whose names begin like this. */
function cpuOf(name) {
    const dir = `/proc/${fleet.pid}/task`;
    const stats = readdirSync(dir).map(entry => readFileSync(`${dir}/${entry}/stat`, "utf8")).filter(stat => stat.includes(`(${name}`));
    const ticks = stats.map(stat => stat.slice(stat.lastIndexOf(")") + 2).split(" ")).map(fields => Number(fields[11]) + Number(fields[12]));
    return ticks.reduce((a, b) => a + b, 0) / 100;
}

const memory = () => Number(readFileSync(`/proc/${fleet.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) / 1024;

/** Another page, without a browser: reads its stream and counts. */
async function watch(cookie, seen) {
    const stop = new AbortController();
    const reply = await fetch(`${fleet.page}_neck/operator/events`, { headers: { Cookie: cookie }, signal: stop.signal });
    if (!reply.ok) {
        throw new Error(`a watcher got ${reply.status}`);
    }
    (async () => {
        for await (const bytes of reply.body) {
            seen.bytes += bytes.length;
        }
    })().catch(() => null);
    return stop;
}

/** Frame times of the page while `act` runs. */
async function frames(page, what, act) {
    await page.evaluate(() => {
        window.measured = { times: [], on: true };
        let last = performance.now();
        const next = now => {
            window.measured.times.push(now - last);
            last = now;
            if (window.measured.on) {
                requestAnimationFrame(next);
            }
        };
        requestAnimationFrame(next);
    });
    await act();
    const times = await page.evaluate(() => { window.measured.on = false; return window.measured.times.slice(1); });
    times.sort((a, b) => a - b);
    const [middle, high, most] = [percent(times, 0.5), percent(times, 0.99), times.at(-1)];
    console.log(`${what}: ${times.length} frames, p50 ${middle.toFixed(1)} ms, p99 ${high.toFixed(1)} ms, longest ${most.toFixed(1)} ms`);
    return high;
}

const wait = ms => new Promise(done => setTimeout(done, ms));

try {
    let number = 0;
    const workers = [];
    for (let index = 0; index < WORKERS; index += 1) {
        const sessions = Array.from({ length: SESSIONS_EACH }, () => session(number += 1));
        workers.push(fleet.worker(`worker-${String(index).padStart(3, "0")}`, { max: SESSIONS_EACH + 4, sessions }));
        // As in life: not all at one moment.
        await workers.at(-1).beat();
    }
    // A twentieth of the sessions changes within ten seconds.
    const change = setInterval(() => {
        const { sessions } = workers[Math.floor(Math.random() * workers.length)];
        const one = sessions[Math.floor(Math.random() * sessions.length)];
        one.connections = (one.connections + 1) % 4;
        one.status = one.connections ? "streaming" : "idle";
    }, 20);
    const { page, errors, close } = await openBrowser({ viewport: { width: 1440, height: 900 } });
    const begun = Date.now();
    await logIn(page, fleet, "#tab=sessions");
    await until("all sessions", async () => /10,000|10000/.test(await page.locator("#tabs").innerText()) || WORKERS * SESSIONS_EACH !== 10_000, 60_000);
    console.log(`${WORKERS} workers, ${WORKERS * SESSIONS_EACH} sessions: shown ${Date.now() - begun} ms after the page was asked for`);
    await wait(3000);
    const slow = [];
    const cpu = cpuOf("operators");
    slow.push(await frames(page, "while the fleet changes", () => wait(MEASURED_MS)));
    console.log(`thread operators with one watcher: ${(100 * (cpuOf("operators") - cpu) / (MEASURED_MS / 1000)).toFixed(1)} % of a core`);
    slow.push(await frames(page, "while somebody scrolls", async () => {
        for (let step = 0; step < 200; step += 1) {
            await page.mouse.wheel(0, 900);
            await wait(30);
        }
    }));
    slow.push(await frames(page, "while somebody searches", async () => {
        await page.locator("#search").focus();
        for (const letter of "anatomy 10.10.3") {
            await page.keyboard.press(letter === " " ? "Space" : letter);
            await wait(200);
        }
        await wait(1000);
    }));
    console.log(`found: ${await page.locator("#found").innerText()}; rows in the page: ${await page.locator(".row[data-id]").count()}`);
    const [{ name, value }] = await page.context().cookies();
    const seen = { bytes: 0 };
    const watchers = await Promise.all(Array.from({ length: 15 }, () => watch(`${name}=${value}`, seen)));
    await wait(3000);
    const [before, bytes] = [cpuOf("operators"), seen.bytes];
    const edge = cpuOf("edge-");
    await wait(MEASURED_MS);
    console.log(`thread operators with 16 watchers: ${(100 * (cpuOf("operators") - before) / (MEASURED_MS / 1000)).toFixed(1)} % of a core; \
the edge's loops ${(100 * (cpuOf("edge-") - edge) / (MEASURED_MS / 1000)).toFixed(1)} %; \
${((seen.bytes - bytes) / 15 / (MEASURED_MS / 1000) / 1024).toFixed(1)} KiB/s for each watcher; resident ${memory().toFixed(0)} MiB`);
    watchers.forEach(stop => stop.abort());
    clearInterval(change);
    await close();
    if (errors.length || slow.some(time => time > USABLE)) {
        console.log(`not usable: ${errors.join("; ")} p99 of frames ${slow.map(time => time.toFixed(0))} ms, more than ${USABLE}`);
        process.exitCode = 1;
    }
} finally {
    await fleet.stop();
    process.exit();
}
