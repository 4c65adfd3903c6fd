// Real relays: fresh credentials, recovery by ICE restart, and what the page tells of them.
import assert from "node:assert/strict";
import { after, before, test } from "./support/timed.mjs";
import { until, untilEqual } from "./support/browser.mjs";
import { startCoturn } from "./support/coturn.mjs";
import { prepareFile, WORDS } from "./support/file.mjs";
import { connectTwoPeers, untilConnected } from "./support/loop.mjs";

const open = prepareFile();
let coturn;
before(async () => { coturn = await startCoturn(); });
after(() => coturn.close());

/** What the report says, by opening it as a person would. */
async function openReport(page, context) {
    const [form] = await Promise.all([context.waitForEvent("page"), page.getByRole("link", { name: WORDS.report }).click()]);
    await form.waitForLoadState();
    assert.equal(await form.evaluate(() => window.opener), null, "the form cannot reach back");
    return Object.fromEntries(new URL(form.url()).searchParams);
}

// SPEC 6: "Report a problem" in a new tab with its thirteen parameters
test("the report opens in a new tab with its thirteen parameters, and tells of the real relay", async () => {
    const settings = { forceRelay: true, iceServers: coturn.servers(600), experience: "Space & Stars", district: "Antwerp",
        bodyIp: "10.10.0.7", ageMs: 5_000 };
    const begun = Date.now();
    const { session, tab, page, seen, button } = await open({ settings, events: true });
    await connectTwoPeers(page);
    await untilConnected(page);
    // The first facts tell of the media that comes over the socket.
    await until("facts with the relay", () => session.called("POST", "_neck/facts").at(-1)?.body.candidate_type === "relay");
    await button(WORDS.stats).click();
    await seen(WORDS["stats.relayed"]);
    await seen(/^127\.0\.0\.1:\d+$/);
    session.emit("ended", { reason: "body_lost" });
    await seen(WORDS.ended);
    const { duration_ms: duration, head, ...rest } = await openReport(page, tab.context);
    assert.deepEqual(rest, {
        project: "hydraneckwebrtc", category: "stream", title: `${WORDS["reason.body_lost"]} (Space & Stars)`,
        session_id: "0123456789abcdef0123456789abcdef", experience: "Space & Stars", district: "Antwerp", body: "10.10.0.7",
        body_ip: "10.10.0.7", disconnect_count: "0", end_reason: "body_lost", ice_candidate_type: "relay",
    });
    assert.match(head, /^browser Chrome \d+ on Linux$/);
    // It was 5 s old when this test began.
    assert.ok(Number(duration) > 5_000 && Number(duration) <= 5_000 + Date.now() - begun, duration);
    let last = null;
    await until("the last facts", () => {
        last = session.called("POST", "_neck/facts").at(-1).body;
        return last.bytes_received > 10_000 && last.disconnects === 0;
    }).catch(error => assert.fail(`${error.message}: ${JSON.stringify(last)}`));
});

test("credentials are renewed at four fifths of their life and reach peers that live", async () => {
    const settings = { forceRelay: true, iceServers: coturn.servers(3_600, "old"), iceTtl: 3_600 };
    const { session, page } = await open({ settings, playing: false, clock: true });
    session.answers["GET _neck/ice"] = () => [200, { iceServers: coturn.servers(3_600, "new"), ttl: 3_600 }];
    await page.evaluate(() => { window.mine = new RTCPeerConnection(); });
    const names = () => page.evaluate(() => [window.mine, new RTCPeerConnection()].map(peer => {
        const { iceServers: [{ username }], iceTransportPolicy } = peer.getConfiguration();
        return `${username.split(":")[1]} ${iceTransportPolicy}`;
    }));
    // A minute is left, whatever this machine takes for it.
    await page.clock.fastForward(2_820_000);
    assert.deepEqual(await names(), ["old relay", "old relay"]);
    assert.deepEqual(session.called("GET", "_neck/ice"), []);
    await page.clock.fastForward(60_000);
    await untilEqual("the new name on both", names, ["new relay", "new relay"]);
    assert.equal(session.called("GET", "_neck/ice").length, 1);
});

test("a server without fresh credentials leaves those of the settings", async () => {
    const { session, page } = await open({ settings: { iceServers: [{ urls: ["stun:127.0.0.1:19302"] }], iceTtl: 1 }, playing: false });
    await until("it was asked", () => session.called("GET", "_neck/ice").length === 1);
    const urls = await page.evaluate(() => new RTCPeerConnection().getConfiguration().iceServers[0].urls);
    assert.deepEqual([urls].flat(), ["stun:127.0.0.1:19302"]);
});

// SPEC 6: A relay that dies: the page comes back by an ICE restart with fresh credentials;
// credentials are renewed at 80 % of their life, on peers that live too
// Also: `credentials are renewed at four fifths of their life and reach peers that live`, `a server
// without fresh credentials leaves those of the settings`
test("a relay that dies and comes back: the page reconnects by an ICE restart with fresh credentials, without a reload", async () => {
    const { session, page } = await open({ settings: { forceRelay: true, iceServers: coturn.servers(600, "old") }, faults: { no_streamer: true }, playing: false });
    session.answers["GET _neck/ice"] = () => [200, { iceServers: coturn.servers(600, "new"), ttl: 600 }];
    await connectTwoPeers(page);
    await untilConnected(page);
    await page.evaluate(() => { window.sameLoad = true; });
    await coturn.stop();
    await coturn.start();
    // Chromium notices a silent path after some seconds.
    await page.getByText(WORDS.reconnecting).waitFor();
    await untilConnected(page);
    await until("the words are gone", async () => await page.getByText(WORDS.reconnecting).count() === 0);
    await until("coturn has seen the fresh name", () => coturn.log.includes(":new"))
        .catch(error => assert.fail(`${error.message}:\n${coturn.log}`));
    assert.equal(await page.evaluate(() => window.sameLoad), true);
    await untilEqual("an interruption is counted", () => session.called("POST", "_neck/facts").at(-1)?.body.disconnects, 1);
});
