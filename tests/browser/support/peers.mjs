// Looks at the peer connections of a page: what they receive, and by which way.

/** Makes the page keep its peers in `window.peers`, and the moment of its first picture in `window.firstPicture`. Peers that carry no media are
 * not among them: the overlay asks relays with such ones. */
export async function watchPeers(page) {
    await page.addInitScript(() => {
        const Native = window.RTCPeerConnection;
        const all = [];
        Object.defineProperty(window, "peers", { get: () => all.filter(peer => peer.getTransceivers().length > 0) });
        window.RTCPeerConnection = new Proxy(Native, {
            construct(target, args, newTarget) {
                const peer = Reflect.construct(target, args, newTarget);
                window.begun ??= performance.now();
                peer.addEventListener("connectionstatechange", () => {
                    window.connected ??= peer.connectionState === "connected" ? performance.now() : undefined;
                });
                all.push(peer);
                return peer;
            },
        });
        addEventListener("DOMContentLoaded", () => {
            document.querySelector("video")?.requestVideoFrameCallback(() => { window.firstPicture = performance.now(); });
        });
    });
}

/** What the last peer of a page has received, and how. */
export const received = page => page.evaluate(async () => {
    const peer = window.peers.at(-1);
    const stats = peer ? await peer.getStats() : new Map();
    const all = [...stats.values()];
    const inbound = kind => all.find(one => one.type === "inbound-rtp" && one.kind === kind) ?? {};
    const pair = stats.get(all.find(one => one.type === "transport")?.selectedCandidatePairId);
    return {
        peers: window.peers.length, state: document.body.dataset.state, connection: peer?.connectionState,
        frames: inbound("video").framesDecoded ?? 0, sound: inbound("audio").packetsReceived ?? 0,
        ssrc: inbound("video").ssrc, codec: stats.get(inbound("video").codecId)?.mimeType,
        way: stats.get(pair?.localCandidateId)?.candidateType, width: document.querySelector("video")?.videoWidth,
    };
});

/** Publishes a moving canvas from this page, with a tone where there is to be sound: the answer's status, and the peer's own URL. */
export function publish(page, endpoint, token, { sound = false } = {}) {
    return page.evaluate(async ({ endpoint, token, sound }) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
        const paint = canvas.getContext("2d");
        setInterval(() => {
            paint.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
            paint.fillRect(0, 0, 320, 240);
        }, 40);
        const tracks = canvas.captureStream(25).getTracks();
        if (sound) {
            const audio = new AudioContext();
            const [source, target] = [audio.createOscillator(), audio.createMediaStreamDestination()];
            source.connect(target);
            source.start();
            tracks.push(...target.stream.getTracks());
        }
        const peer = new RTCPeerConnection();
        tracks.forEach(track => peer.addTransceiver(track, { direction: "sendonly" }));
        await peer.setLocalDescription(await peer.createOffer());
        const reply = await fetch(endpoint, {
            method: "POST", body: peer.localDescription.sdp,
            headers: { "Content-Type": "application/sdp", "Authorization": `Bearer ${token}` },
        });
        await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
        const location = reply.headers.get("Location");
        return { status: reply.status, location: location && new URL(location, endpoint).href };
    }, { endpoint, token, sound });
}
