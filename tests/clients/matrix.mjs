// Tries every cell of plan.mjs and prints the table; tests/clients/run prepares everything for it.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BUILT } from "../browser/support/standin.mjs";
import { clientPage, missing, start } from "./clients.mjs";
import { look, plain } from "./in_page.mjs";
import { CLIENTS, CODECS, ROLES, SHAPES } from "./plan.mjs";
import { OWN_WIDTH, startStage } from "./stage.mjs";
import { markdown, writeDocument } from "./table.mjs";
import { TOOLS, version } from "./tools.mjs";

/** What counts as flowing: this many decoded pictures, or packets of a client that does not decode. */
const ENOUGH = 25;

/** What silence never has: silence that was encoded is not quite 0. */
const AUDIBLE = 1e-4;

/** The longest that a cell may take, a slow machine included; and all of them together. `run` ends us a minute later. */
const CELL_LIMIT_MS = 45_000;
const LIMIT_MS = 14 * 60_000;

/** Cells at a time: each is three processes that encode or decode. */
const BESIDE = 2;

const begun = Date.now();
const seconds = since => ((Date.now() - since) / 1_000).toFixed(1);

/** The browsers, each opened when first asked for. */
function openBrowsers() {
    const opened = new Map();
    const of = name => {
        if (!opened.has(name)) {
            // That module is about one browser, which it learns when it is loaded: each gets its own.
            process.env.BROWSER = name;
            const module = import(`../browser/support/browser.mjs?${name}`);
            opened.set(name, module.then(({ openBrowser }) => openBrowser({ microphone: "fake", permissions: ["microphone"], autoplay: true })));
        }
        return opened.get(name);
    };
    return {
        of,
        refused: name => of(name).then(() => null, error => `it does not start: ${String(error).split("\n")[0]}`),
        close: () => Promise.all([...opened.values()].map(browser => browser.then(({ close }) => close(), () => {}))),
    };
}

/** Asks until `check` is content; the error tells what it saw last. */
async function until(limitMs, check) {
    const deadline = Date.now() + limitMs;
    for (;;) {
        const { done, told } = await check();
        if (done) {
            return told;
        }
        if (Date.now() > deadline) {
            throw new Error(`not within ${limitMs / 1_000} s: ${told}`);
        }
        await new Promise(resolve => setTimeout(resolve, 100));
    }
}

/** Somebody who watches a session in Chromium, whoever publishes. */
async function referenceViewer(browsers, stage, session, codec) {
    const { context } = await browsers.of("chromium");
    const page = await clientPage(context, stage.origin);
    // The session's own picture may still be on its way.
    await until(CELL_LIMIT_MS, async () => {
        const told = await page.evaluate(plain, { role: "watch", endpoint: session.watch, kinds: ["audio", "video"], codec }).then(() => "", String);
        return { done: told === "", told };
    });
    return { look: () => page.evaluate(look), close: () => page.close() };
}

/** What a viewer got, once it is enough. */
function watched(program, wantsSound) {
    return until(CELL_LIMIT_MS, async () => {
        const seen = await program.seen();
        return { done: seen.video >= ENOUGH && (!wantsSound || seen.audio >= ENOUGH), told: JSON.stringify(seen) };
    });
}

/** What the reference viewer sees of a publisher: its picture instead of the session's own, and its tone instead of silence. */
function published(program, viewer, wantsSound) {
    let first = null;
    return until(CELL_LIMIT_MS, async () => {
        await program.seen();
        const seen = await viewer.look();
        if (seen.width > 0 && seen.width !== OWN_WIDTH) {
            first ??= seen;
        }
        const moves = first && seen.frames >= first.frames + ENOUGH && (!wantsSound || seen.energy > AUDIBLE && seen.sound >= first.sound + ENOUGH);
        return { done: moves, told: JSON.stringify(seen) };
    });
}

/** The words of the session's warnings that say why nothing plays. */
function refused(program, session, pattern) {
    return until(CELL_LIMIT_MS, async () => {
        const seen = await program.seen().catch(error => ({ video: 0, error: String(error) }));
        if (seen.video > 0) {
            throw new Error(`it plays, although it should not: ${JSON.stringify(seen)}`);
        }
        const { warnings } = await session.look();
        const told = warnings.find(words => pattern.test(words));
        return { done: told, told: told ?? JSON.stringify({ seen, warnings }) };
    });
}

/** One cell: `{ mark, told }`. */
async function attempt(browsers, stage, { client, role, codec, shape }) {
    const session = await stage.session(role, codec, shape.sound);
    const wantsSound = shape.sound && shape.kinds.includes("audio");
    let viewer, program;
    try {
        viewer = role === "publish" && !client.refused ? await referenceViewer(browsers, stage, session, codec) : null;
        // Nothing to watch yet is 409, and a client's own words for it: the session must be ready first.
        await until(CELL_LIMIT_MS, async () => {
            const { stream } = await session.look();
            return { done: stream?.key_frame_age_ms !== undefined, told: JSON.stringify(stream) };
        });
        const { endpoint } = session;
        program = await start(browsers, stage, client, { role, endpoint, token: stage.token, kinds: shape.kinds, codec });
        if (client.refused) {
            return { mark: "refused", told: await refused(program, session, client.refused) };
        }
        const told = role === "watch" ? await watched(program, wantsSound) : await published(program, viewer, wantsSound);
        return { mark: "plays", told };
    } finally {
        await program?.leave().catch(() => {});
        await viewer?.close().catch(() => {});
        await session.end();
    }
}

/** All cells; those that a client does not have come with their mark. */
async function cells(browsers, clients) {
    const all = [];
    for (const client of clients) {
        const skip = await missing(client, browsers);
        if (skip) {
            console.log(`SKIPPED ${client.title}: ${skip}`);
        }
        for (const role of ROLES) {
            for (const codec of CODECS) {
                for (const shape of SHAPES) {
                    const cannot = client.cannot?.(role, shape, codec);
                    const result = skip ? { mark: "skipped", told: skip } : cannot ? { mark: "none", told: cannot } : null;
                    all.push({ client, role, codec, shape, result });
                }
            }
        }
    }
    return all;
}

const nameOf = ({ client, role, codec, shape }) => `${client.name}, ${role}, ${codec}, ${shape.name}`;

/** Tries a cell and says how it went. */
async function run(browsers, stage, cell) {
    const name = nameOf(cell);
    const since = Date.now();
    if (since - begun > LIMIT_MS) {
        cell.result = { mark: "FAILED", told: "no time was left for it" };
    } else {
        cell.result = await attempt(browsers, stage, cell).catch(error => ({ mark: "FAILED", told: error.message }));
    }
    console.log(`${cell.result.mark} ${name}: ${seconds(since)} s, ${cell.result.told}`);
}

async function main(names) {
    const unknown = names.filter(name => !CLIENTS.some(client => client.name === name));
    if (unknown.length > 0) {
        throw new Error(`no such client: ${unknown}; there are ${CLIENTS.map(({ name }) => name)}`);
    }
    const clients = CLIENTS.filter(({ name }) => names.length === 0 || names.includes(name));
    const browsers = openBrowsers();
    const stage = await startStage(process.env.NECK_ADDRESS);
    console.log(`${BUILT}: ${stage.origin}`);
    let all;
    try {
        all = await cells(browsers, clients);
        const only = new RegExp(process.env.ONLY ?? "");
        all = all.filter(cell => cell.result || only.test(nameOf(cell)));
        const queue = all.filter(({ result }) => !result);
        await Promise.all(Array.from({ length: BESIDE }, async () => {
            while (queue.length > 0) {
                await run(browsers, stage, queue.shift());
            }
        }));
    } finally {
        await browsers.close();
        await stage.stop();
    }
    const table = markdown(all, version);
    console.log(`\n${table}`);
    const failed = all.filter(({ result }) => result.mark === "FAILED");
    const log = stage.output();
    const panics = log.match(/panic.*/gi) ?? [];
    if (names.length === 0 && !process.env.ONLY) {
        await writeDocument(table);
    }
    await writeFile(join(TOOLS, "worker.log"), log);
    panics.forEach(line => console.log(`PANIC ${line}`));
    const count = mark => all.filter(({ result }) => result.mark === mark).length;
    console.log(`${count("plays") + count("refused")} passed, ${failed.length} failed, ${count("skipped")} skipped, in ${seconds(begun)} s; the worker's log: target/clients/worker.log`);
    return failed.length > 0 || panics.length > 0 ? 1 : 0;
}

process.exit(await main(process.argv.slice(2)));
