// Chromium with a microphone that plays a file, driven by JSON lines on stdin; one line of answer each.
import { createInterface } from "node:readline";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "../browser/node_modules/playwright-core/index.mjs";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    // Host candidates as addresses, so that a test can tell what was used.
    "--disable-features=WebRtcHideLocalIpsWithMdns"];

let context, page, profile;

// Runs in a page of the session's origin: the least that a microphone needs, with any relay policy.
function installMic() {
    const json = async (method, path, body) => {
        const reply = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
        if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
        return reply.status === 204 ? undefined : reply.json();
    };
    const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

    window.startMic = async ({ base, policy }) => {
        const mic = window.mic = { candidates: [], errors: [] };
        mic.stream = await navigator.mediaDevices.getUserMedia({
            audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 } });
        const configuration = async () => {
            const { iceServers } = await (await fetch(`${base}_neck/ice`, { cache: "no-store" })).json();
            return { iceServers, iceTransportPolicy: policy, bundlePolicy: "max-bundle" };
        };
        const pc = mic.pc = new RTCPeerConnection(await configuration());
        pc.addTransceiver(mic.stream.getAudioTracks()[0], { direction: "sendonly", streams: [mic.stream] });
        let answered = false;
        const waiting = [];
        const send = candidate => json("PATCH", `${base}mic`, { candidate: candidate.candidate, sdpMid: candidate.sdpMid })
            .catch(error => mic.errors.push(String(error)));
        pc.onicecandidate = ({ candidate }) => {
            if (!candidate?.candidate) return;
            mic.candidates.push(candidate.candidate);
            if (answered) send(candidate); else waiting.push(candidate);
        };
        const began = performance.now();
        const connected = new Promise(resolve => {
            pc.addEventListener("connectionstatechange", () => { if (pc.connectionState === "connected") resolve(); });
        });
        await pc.setLocalDescription(await pc.createOffer());
        const answer = await json("POST", `${base}mic/offer`, { type: "offer", sdp: pc.localDescription.sdp });
        mic.answer = answer.sdp;
        await pc.setRemoteDescription(answer);
        answered = true;
        waiting.splice(0).forEach(send);
        await Promise.race([connected, pause(20_000)]);
        return { state: pc.connectionState, ms: Math.round(performance.now() - began), answer: mic.answer };
    };

    window.lookAtMic = async () => {
        const { pc } = window.mic, stats = [...(await pc.getStats()).values()], byId = new Map(stats.map(s => [s.id, s]));
        const transport = stats.find(s => s.type === "transport"), pair = byId.get(transport?.selectedCandidatePairId);
        const outbound = stats.find(s => s.type === "outbound-rtp");
        return {
            state: pc.connectionState, ice: pc.iceConnectionState, errors: window.mic.errors,
            candidates: window.mic.candidates, local: stats.filter(s => s.type === "local-candidate"),
            pair: pair && { local: byId.get(pair.localCandidateId), remote: byId.get(pair.remoteCandidateId), rtt: pair.currentRoundTripTime },
            packetsSent: outbound?.packetsSent,
        };
    };

    window.stopMic = async base => {
        window.mic.stream.getTracks().forEach(track => track.stop());
        const { status } = await fetch(`${base}mic`, { method: "DELETE" });
        window.mic.pc.close();
        return status;
    };
}

// Runs in a session's page before anything else: the overlay can be clicked, its peers be asked, and the microphone is left as it
// is, so that a melody stays one.
function openPage() {
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function attachShadow(init) {
        return attach.call(this, { ...init, mode: "open" });
    };
    const media = navigator.mediaDevices, native = media?.getUserMedia.bind(media);
    if (native) {
        media.getUserMedia = wanted => native({ ...wanted, audio: wanted.audio
            && { ...wanted.audio, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    }
    window.peers = [];
    const describe = RTCPeerConnection.prototype.setLocalDescription;
    RTCPeerConnection.prototype.setLocalDescription = function setLocalDescription(...given) {
        if (!window.peers.includes(this)) window.peers.push(this);
        return describe.apply(this, given);
    };
}

/** Of every peer of the page that sends sound: how it is, and what it uses. */
async function senders() {
    const found = [];
    for (const pc of window.peers.filter(pc => pc.getSenders().some(sender => sender.track?.kind === "audio"))) {
        const stats = [...(await pc.getStats()).values()];
        found.push({
            state: pc.connectionState, policy: pc.getConfiguration().iceTransportPolicy,
            local: stats.filter(s => s.type === "local-candidate"),
            candidates: pc.localDescription.sdp.split("\r\n").filter(line => line.startsWith("a=candidate:")),
        });
    }
    return found;
}

const COMMANDS = {
    async launch({ wav, origins }) {
        profile = await mkdtemp(join(tmpdir(), "neck-mic-chromium-"));
        context = await chromium.launchPersistentContext(profile, {
            executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true,
            args: [...FLAGS, `--use-file-for-fake-audio-capture=${wav}`,
                `--unsafely-treat-insecure-origin-as-secure=${origins.join(",")}`],
        });
        await context.grantPermissions(["microphone"]).catch(() => {});
        page = context.pages()[0] ?? await context.newPage();
        return { version: context.browser()?.version() };
    },
    async visit({ url }) {
        await page.goto(url);
        await page.evaluate(`(${installMic})()`);
        return { secure: await page.evaluate(() => window.isSecureContext) };
    },
    /** Opens a session's page and turns its microphone on, as a person would. */
    async button({ url }) {
        const words = JSON.parse(await readFile(new URL("../../web/i18n/en.json", import.meta.url), "utf8"));
        const other = await context.newPage();
        await page.close();
        page = other;
        await page.addInitScript(openPage);
        await page.goto(url);
        await page.getByRole("button", { name: words.mic, exact: true }).click();
        await page.getByRole("button", { name: words["mic.turnOn"], exact: true }).click();
        await page.getByRole("button", { name: words["mic.mute"], exact: true }).first().waitFor({ timeout: 20_000 });
        return { secure: await page.evaluate(() => window.isSecureContext) };
    },
    async senders() {
        return { list: await page.evaluate(senders) };
    },
    start: options => page.evaluate(options => window.startMic(options), options),
    look: () => page.evaluate(() => window.lookAtMic()),
    stop: async ({ base }) => ({ status: await page.evaluate(base => window.stopMic(base), base) }),
};

for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...options } = JSON.parse(line);
    let answer;
    try {
        answer = await COMMANDS[command](options);
    } catch (error) {
        answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer ?? {})}\n`);
}
await context?.close().catch(() => {});
if (profile) await rm(profile, { recursive: true, force: true });
