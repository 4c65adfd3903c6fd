// The client of docs/webrtc.md as it stands there: two pages in Chromium and one in Firefox, on another machine than worker and coturn,
// which they reach by relays only.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "./support/timed.mjs";
import { until } from "./support/browser.mjs";
import { startCoturn } from "./support/coturn.mjs";
import { ADDRESSES, makeNetwork } from "./support/netns.mjs";
import { ROOM_TOKEN, startRooms } from "./support/rooms.mjs";

const GUEST = new URL("support/room_guest.mjs", import.meta.url).pathname;

/** Life of the credentials in seconds: fresh ones come at 8. */
const TTL = 10;

/** A busy machine starts browsers slowly. */
const PATIENCE = 120_000;

let network, coturn, worker;
const guests = [];

before(async () => {
    network = makeNetwork();
    if (network.refused) {
        return;
    }
    const there = { host: ADDRESSES.far, inside: network.inside("far", "env") };
    coturn = await startCoturn(there);
    worker = await startRooms({ ...there, coturn, ttl: TTL });
});
after(async () => {
    await Promise.all(guests.map(guest => guest.end()));
    await worker?.stop();
    await coturn?.close();
    network?.close?.();
});

/** Somebody with this browser on the near machine. `seen` is the last that their page said. */
function join(browser) {
    const [command, ...args] = network.inside("near", process.execPath, GUEST, worker.origin, ROOM_TOKEN, "garden");
    const child = spawn(command, args, { env: { ...process.env, BROWSER: browser }, stdio: ["pipe", "pipe", "pipe"] });
    const guest = { browser, seen: {}, noise: "" };
    createInterface({ input: child.stdout }).on("line", line => {
        const said = JSON.parse(line);
        if ("console" in said) {
            guest.noise += `${said.console}\n`;
        } else {
            guest.seen = said;
        }
    });
    child.stderr.on("data", bytes => { guest.noise += bytes; });
    const ended = new Promise(done => child.once("exit", done));
    guest.tell = code => child.stdin.write(`${code}\n`);
    guest.end = async () => {
        child.stdin.end();
        await ended;
    };
    guests.push(guest);
    return guest;
}

const shown = () => guests.map(({ browser, seen, noise }) => `${browser}: ${JSON.stringify(seen)}\n${noise}`).join("\n");

async function all(what, check, who = guests) {
    try {
        await until(what, () => who.every(({ seen }) => check(seen)), PATIENCE);
    } catch (error) {
        throw new Error(`${error.message}\n${shown()}\n${worker.output().slice(-4_000)}`);
    }
}

const moving = list => list?.filter(count => count > 20).length ?? 0;

// SPEC 10: The client of [docs/webrtc.md](docs/webrtc.md) as it stands there, in two Chromiums and
// a Firefox that reach worker and coturn by relays only: they see, hear and write to each other,
// fresh credentials come at 8 s of 10, the call goes on past three lives of them, who leaves is
// told
test("the documented client sees, hears and writes to the others through relays, past the end of its credentials", async runner => {
    if (network.refused) {
        return runner.skip(network.refused);
    }
    const begun = Date.now();
    // Two pages of Chromium with pictures leave little of a busy machine to a Firefox that starts.
    const fox = join("firefox");
    await all("Firefox is in the room", seen => seen.peer);
    const [first, second] = ["chromium", "chromium"].map(join);
    await all("each sees and hears two others", seen => moving(seen.frames) >= 2 && moving(seen.voice) >= 2
        && seen.sound.filter(energy => energy > 0.0001).length >= 2);
    console.log(`three browsers meet after ${Date.now() - begun} ms: ${guests.map(({ seen }) => `${seen.frames} by ${seen.way}`).join("; ")}`);
    assert.ok(guests.every(({ seen }) => [undefined, "relay"].includes(seen.way)), shown());
    assert.ok(new Set(guests.map(({ seen }) => seen.peer)).size === 3, shown());
    first.tell("chat.send('hello')");
    await all("the message arrives at the others", seen => seen.data.includes("hello"), [second, fox]);
    assert.deepEqual(first.seen.data, [], "nobody hears themselves");
    fox.tell("chat.send('from the fox')");
    await all("a message from Firefox", seen => seen.data.includes("from the fox"), [first, second]);
    await all("credentials are renewed again and again", seen => seen.credentials >= 4 && seen.types.includes("refresh-credentials"));
    const before = guests.map(({ seen }) => seen.frames.reduce((sum, one) => sum + one, 0));
    assert.ok(Date.now() - begun >= 3 * 0.8 * TTL * 1_000, "fresh ones come at 80 % of a life, not before");
    await until("the call is older than three lives of its credentials", () => Date.now() - begun > 32_000, PATIENCE);
    await until("pictures go on", () => guests.every(({ seen }, index) => seen.frames.reduce((sum, one) => sum + one, 0) > before[index] + 40), PATIENCE);
    second.tell("leave()");
    await all("who leaves is told to the others", seen => seen.left.includes(second.seen.peer), [first, fox]);
    assert.deepEqual(guests.map(({ seen }) => [seen.errors, seen.pageErrors]), guests.map(() => [[], []]), shown());
    return undefined;
});
