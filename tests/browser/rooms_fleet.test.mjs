// Four people in a room of a controller with two workers, who reach them by a real coturn alone. Their worker is drained, then killed,
// then their controller: each time all see and hear each other again, without a click.
import assert from "node:assert/strict";
import { after, before, test } from "./support/timed.mjs";
import { openBrowser, screenshot, until } from "./support/browser.mjs";
import { watchPeers } from "./support/peers.mjs";
import { startRoomFleet } from "./support/room_fleet.mjs";
import { roomPage } from "./support/room_page.mjs";

/** A busy machine. */
const PATIENCE = 90_000;

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

/** Until all see and hear all others by a connection that is not of `before`; how long that took. */
async function untilAllMeet(what, before = []) {
    const begun = Date.now();
    let seen = [];
    try {
        await until(what, async () => {
            seen = await Promise.all(pages.map(look));
            return seen.every(one => one.own && !before.includes(one.own) && one.tiles === 4 && one.plays === 4
                && moving(one.pictures) >= 3 && moving(one.voices, 25) >= 3 && moving(one.loud, 0) >= 3);
        }, PATIENCE);
    } catch (error) {
        throw new Error(`${error.message}\n${JSON.stringify(seen)}\n${noise}\n${fleet.output()}`);
    }
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

test("who gets no credentials at first, as of a controller that has just started, comes by the relays all the same", async () => {
    await pages.pop().close();
    await until("one has left", async () => (await look(pages[0])).tiles === 3, PATIENCE);
    await join(NAMES.at(-1), page => page.route("**/turn/credentials", route => route.fulfill({ status: 503, body: "{}" })));
    const { seen } = await untilAllMeet("all four meet again");
    assert.equal(seen.at(-1).way, "relay", JSON.stringify(seen));
    assert.equal(await pages.at(-1).locator("#room .direct").isVisible(), false, "it says no more that there is no relay");
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

// Their signalling went through the controller, so the room is left by all four, ends, and begins anew where the controller then puts it.
test("the controller is killed while four people talk: all see and hear each other again", async () => {
    const before = await peers();
    const begun = Date.now();
    await fleet.controller.killAndRestart();
    const { took } = await untilAllMeet("all meet again", before);
    console.log(`controller: back after ${Date.now() - begun - took} ms, all four see and hear each other again ${took} ms later`);
    assert.ok(await fleet.place("garden"), "the room is listed");
    assert.deepEqual(tab.errors, []);
});
