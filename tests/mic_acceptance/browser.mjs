// Chromium with a microphone that plays a file, driven by JSON lines on stdin; one line of answer each.
import { createInterface } from "node:readline";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "../browser/node_modules/playwright-core/index.mjs";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    // Host candidates as addresses, so that a test can tell what was used.
    "--disable-features=WebRtcHideLocalIpsWithMdns"];

let context, page, profile;

// Runs in the page: a microphone as our endpoints want it, which restarts ICE by itself when its connection is in trouble.
function installMic() {
    const json = async (method, path, body) => {
        const reply = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
        if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
        return reply.status === 204 ? undefined : reply.json();
    };
    const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

    window.startMic = async ({ base, policy, restarts }) => {
        const mic = window.mic = { candidates: [], errors: [], restarts: 0, connected: 0, stopped: false };
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
        mic.connected = Math.round(performance.now() - began);
        if (restarts) keepAlive(mic, base, configuration);
        return { state: pc.connectionState, ms: mic.connected, answer: mic.answer };
    };

    async function keepAlive(mic, base, configuration) {
        const { pc } = mic;
        while (!mic.stopped) {
            await pause(250);
            if (!["disconnected", "failed"].includes(pc.iceConnectionState)) continue;
            mic.restarts += 1;
            try {
                pc.setConfiguration(await configuration());
                await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
                await pc.setRemoteDescription(await json("PATCH", `${base}mic`, { type: "offer", sdp: pc.localDescription.sdp }));
                const deadline = performance.now() + 5000;
                while (performance.now() < deadline && !["connected", "completed"].includes(pc.iceConnectionState)) await pause(50);
            } catch (error) {
                mic.errors.push(String(error));
                if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" }).catch(() => {});
                await pause(500);
            }
        }
    }

    window.lookAtMic = async () => {
        const { pc } = window.mic, stats = [...(await pc.getStats()).values()], byId = new Map(stats.map(s => [s.id, s]));
        const transport = stats.find(s => s.type === "transport"), pair = byId.get(transport?.selectedCandidatePairId);
        const outbound = stats.find(s => s.type === "outbound-rtp");
        return {
            state: pc.connectionState, ice: pc.iceConnectionState, restarts: window.mic.restarts, errors: window.mic.errors,
            candidates: window.mic.candidates, local: stats.filter(s => s.type === "local-candidate"),
            pair: pair && { local: byId.get(pair.localCandidateId), remote: byId.get(pair.remoteCandidateId), rtt: pair.currentRoundTripTime },
            packetsSent: outbound?.packetsSent,
        };
    };

    window.stopMic = async base => {
        window.mic.stopped = true;
        window.mic.stream.getTracks().forEach(track => track.stop());
        const { status } = await fetch(`${base}mic`, { method: "DELETE" });
        window.mic.pc.close();
        return status;
    };
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
