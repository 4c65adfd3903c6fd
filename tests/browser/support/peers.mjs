// Looks at the peer connections of a page: what they receive, and by which way.

/** Makes the page keep its peers in `window.peers`, and the moment of its first picture in `window.firstPicture`. */
export async function watchPeers(page) {
    await page.addInitScript(() => {
        const Native = window.RTCPeerConnection;
        window.peers = [];
        window.RTCPeerConnection = new Proxy(Native, {
            construct(target, args, newTarget) {
                const peer = Reflect.construct(target, args, newTarget);
                window.begun ??= performance.now();
                peer.addEventListener("connectionstatechange", () => {
                    window.connected ??= peer.connectionState === "connected" ? performance.now() : undefined;
                });
                window.peers.push(peer);
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
