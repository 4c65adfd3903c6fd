// Four people in a room of a controller with two workers, who reach them by a real coturn alone. Their worker is drained, then killed:
// each time all see and hear each other again, without a click. Then their controller is killed, which nobody notices.
import assert from "node:assert/strict";
import { after, before, test } from "./support/timed.mjs";
import { openBrowser, screenshot, until, untilEqual } from "./support/browser.mjs";
import { watchPeers } from "./support/peers.mjs";
import { startRoomFleet } from "./support/room_fleet.mjs";
import { PATIENCE, roomPage } from "./support/room_page.mjs";
import { LOOK, snippet } from "./support/snippet.mjs";

/** A controller with this knows every room only after a while: where a worker is heard late, on a busy machine, it would else begin that
 * worker's room elsewhere. */
const SETTLES = { workers: { heartbeat_interval: "20s", heartbeat_timeout: "80s" } };

const NAMES = ["Anna", "Bert", "Chloé", "Dirk"];

let fleet, tab, room;
let noise = "";
const pages = [];

before(async () => {
    fleet = await startRoomFleet();
    tab = await openBrowser({ microphone: "fake", autoplay: true, permissions: ["microphone", "camera"] });
    room = roomPage(tab, new URL(fleet.link("garden")), fleet);
});
after(async () => {
    await tab?.close();
    await fleet?.stop();
});

/** Joins the room by its link. `prepare` does something with the page first. */
async function join(name, prepare = () => {}) {
    const page = await tab.context.newPage();
    await prepare(page);
    page.on("console", message => { noise += `${name}: ${message.text()}\n`; });
    await watchPeers(page);
    pages.push(await room.join(name, page));
}

/** What a page shows and what its connection gets: members, those whose picture plays, tracks that carry something, the way. */
const look = page => page.evaluate(async () => {
    const tiles = [...document.querySelectorAll(".tile")];
    const plays = tile => tile.classList.contains("pictured") && (tile.querySelector("video")?.currentTime ?? 0) > 0.3;
    const stats = await window.peers.at(-1)?.getStats() ?? new Map();
    const inbound = kind => [...stats.values()].filter(one => one.type === "inbound-rtp" && one.kind === kind);
    const pair = stats.get([...stats.values()].find(one => one.type === "transport")?.selectedCandidatePairId);
    return {
        own: document.querySelector(".tile.own")?.dataset.peer, tiles: tiles.length, plays: tiles.filter(plays).length,
        pictures: inbound("video").map(one => one.framesDecoded ?? 0), voices: inbound("audio").map(one => one.packetsReceived),
        loud: inbound("audio").map(one => one.totalAudioEnergy ?? 0), way: stats.get(pair?.localCandidateId)?.candidateType,
        states: window.peers.map(peer => `${peer.connectionState} ${peer.signalingState}`), note: document.querySelector("#note")?.innerText,
    };
});

const moving = (counts, more = 10) => counts.filter(count => count > more).length;

/** Until `check` holds; what pages and servers said when it does not. */
async function untilSeen(what, check) {
    try {
        return await until(what, check, PATIENCE);
    } catch (error) {
        const seen = await Promise.all(pages.map(look));
        throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${noise}\n${fleet.output()}`);
    }
}

/** Until all see and hear all others by a connection that is not of `before`; how long that took. */
async function untilAllMeet(what, before = [], count = 4) {
    const begun = Date.now();
    let seen = [];
    await untilSeen(what, async () => {
        seen = await Promise.all(pages.map(look));
        return seen.every(one => one.own && !before.includes(one.own) && one.tiles === count && one.plays === count
            && moving(one.pictures) >= count - 1 && moving(one.voices, 25) >= count - 1 && moving(one.loud, 0) >= count - 1);
    });
    return { took: Date.now() - begun, seen };
}

const peers = async () => (await Promise.all(pages.map(look))).map(({ own }) => own);

test("four people see and hear each other by relays, through the controller", async () => {
    for (const name of NAMES) {
        await join(name);
    }
    const { took, seen } = await untilAllMeet("all four see and hear each other");
    console.log(`four people meet ${took} ms after the last one joined, on ${await fleet.place("garden")}`);
    assert.deepEqual(seen.map(({ way }) => way), Array(4).fill("relay"), JSON.stringify(seen));
});

// SPEC 10: The same for four pages in Chromium by a real coturn alone, without a click; who gets no
// credentials at first comes by the relays all the same
// Also: `four people see and hear each other by relays, through the controller`, `a worker is
// drained while four people talk: all see and hear each other again on the other one`, `a worker is
// killed while four people talk: all see and hear each other again`
test("who gets no credentials at first, as of a controller that has just started, comes by the relays all the same", async () => {
    await pages.pop().close();
    await until("one has left", async () => (await look(pages[0])).tiles === 3, PATIENCE);
    await join(NAMES.at(-1), page => page.route("**/turn/credentials", route => route.fulfill({ status: 503, body: "{}" })));
    const { seen } = await untilAllMeet("all four meet again");
    assert.equal(seen.at(-1).way, "relay", JSON.stringify(seen));
    await untilEqual("it says no more that there is no relay", () => pages.at(-1).locator("#room .direct").isVisible(), false);
});

test("a worker is drained while four people talk: all see and hear each other again on the other one", async () => {
    const [place, before] = [await fleet.place("garden"), await peers()];
    const reply = await fleet.controller.api("POST", `/api/v1/workers/${place}/drain`, {});
    assert.ok(reply.status < 300, JSON.stringify(reply));
    const { took } = await untilAllMeet("all meet elsewhere", before);
    const now = await until("the room is listed elsewhere", async () => {
        const listed = await fleet.place("garden");
        return listed !== place && listed;
    });
    console.log(`drained: all four see and hear each other again after ${took} ms, on ${now} instead of ${place}`);
    await screenshot(pages[0], "rooms-fleet-drained");
    const undrain = await fleet.controller.api("DELETE", `/api/v1/workers/${place}/drain`);
    assert.ok(undrain.status < 300, JSON.stringify(undrain));
});

test("a worker is killed while four people talk: all see and hear each other again", async () => {
    const [place, before] = [await fleet.place("garden"), await peers()];
    const restarted = fleet.workers[place].killAndRestart();
    const { took } = await untilAllMeet("all meet again", before);
    await restarted;
    console.log(`killed: all four see and hear each other again after ${took} ms, on ${await fleet.place("garden")}, before on ${place}`);
    await fleet.untilReady();
});

/** Somebody with the client of docs/webrtc.md as it stands there, which does nothing when its WebSocket breaks. */
async function joinAsDocumented() {
    const page = await tab.context.newPage();
    const join = `(${await snippet(fleet.controller.origin)})(${JSON.stringify(fleet.token)}, "garden")`;
    // It does not try again by itself where, on a busy machine, the room's worker is late just then, or gives it up before it has connected.
    for (let left = 3; ; left -= 1) {
        // A document of the server, with nothing of ours in it.
        await page.goto(`${fleet.controller.origin}/session/00000000000000000000000000000000/`);
        const error = await page.evaluate(join)
            .then(() => until("the documented client's connection", () => page.evaluate("window.pc.connectionState === 'connected'"), 40_000))
            .then(() => null, refused => refused);
        if (error === null) {
            return page;
        }
        if (left === 0) {
            throw new Error(`${error.message}\n${noise}\n${fleet.output()}`);
        }
    }
}

/** Notes what a person would notice: tiles that go or come, another stage, something that is said, another connection. */
const notice = page => page.evaluate(() => {
    window.noticed = [];
    const peers = window.peers.length;
    new MutationObserver(changes => changes.filter(({ addedNodes, removedNodes }) => addedNodes.length + removedNodes.length > 0)
        .forEach(({ addedNodes }) => window.noticed.push(addedNodes.length > 0 ? "somebody came" : "somebody left")))
        .observe(document.querySelector("#grid"), { childList: true });
    new MutationObserver(() => window.noticed.push(`stage ${document.body.dataset.stage}`))
        .observe(document.body, { attributeFilter: ["data-stage"] });
    new MutationObserver(() => document.querySelector("#note").hidden || window.noticed.push(document.querySelector("#note").innerText))
        .observe(document.querySelector("#note"), { attributeFilter: ["hidden"], childList: true });
    window.noticedAll = () => [...window.noticed, ...window.peers.length === peers ? [] : ["another connection"]];
});

/** Until each picture and each sound of everybody went on since `before`: as much as a second and more brings. */
async function untilMediaGoesOn(what, others, documented) {
    const begun = Date.now();
    const counts = async () => {
        const seen = await Promise.all(pages.map(look));
        const { frames, sound } = await documented.evaluate(LOOK);
        return [...seen.map(one => ({ pictures: one.pictures, loud: one.loud })), { pictures: frames, loud: sound }];
    };
    const before = await counts();
    let now = [];
    const grown = (list, of, least) => list.filter((count, index) => count > (of[index] ?? 0) + least).length;
    await until(what, async () => {
        now = await counts();
        return now.every((one, index) => grown(one.pictures, before[index].pictures, 10) >= others && grown(one.loud, before[index].loud, 0) >= others);
    }, PATIENCE).catch(error => { throw new Error(`${error.message}\n${JSON.stringify({ before, now })}\n${noise}`); });
    return Date.now() - begun;
}

test("the controller is killed while four people and a documented client talk: nobody notices, and signalling comes back", async () => {
    const documented = await joinAsDocumented();
    await untilAllMeet("all five meet", [], 5);
    await until("the documented client sees and hears four", async () => {
        const { frames, sound } = await documented.evaluate(LOOK);
        return moving(frames) >= 4 && moving(sound, 0.0001) >= 4;
    }, PATIENCE);
    const [place, before] = [await fleet.place("garden"), await peers()];
    await Promise.all(pages.map(notice));
    await fleet.controller.kill();
    await until("the documented client has no signalling", async () => (await documented.evaluate(LOOK)).closed === 1006, PATIENCE);
    const took = await untilMediaGoesOn("every picture and sound goes on without a controller", 4, documented);
    // Somebody turns their microphone off while nobody is told of it.
    await pages[0].locator("#room [data-toggles=mic]").first().click();
    const begun = Date.now();
    await fleet.controller.begin(SETTLES);
    await untilSeen("the others see that it is off", async () => (await Promise.all(pages.slice(1).map(page =>
        page.locator(`.tile.silent[data-peer="${before[0]}"]`).count()))).every(count => count === 1));
    console.log(`controller: ten pictures and more of each took ${took} ms without one; signalling is back ${Date.now() - begun} ms after its start was begun`);
    await pages[0].locator("#room [data-toggles=mic]").first().click();
    await untilMediaGoesOn("every picture and sound goes on afterwards", 4, documented);
    assert.deepEqual(await Promise.all(pages.map(page => page.evaluate("window.noticedAll()"))), Array(4).fill([]), noise);
    assert.deepEqual(await peers(), before, "all are who they were");
    const { left, errors } = await documented.evaluate(LOOK);
    assert.deepEqual([left, errors], [[], []]);
    assert.equal(await until("the room is listed", () => fleet.place("garden"), PATIENCE), place, "on its worker");
    await screenshot(pages[1], "rooms-fleet-controller");
    // Whoever does not signal any more leaves with its media, and those who do hear of it.
    await documented.evaluate("window.pc.close()");
    await until("four are left", async () => (await Promise.all(pages.map(look))).every(({ tiles }) => tiles === 4), PATIENCE);
    await documented.close();
    assert.deepEqual(tab.errors, []);
});
