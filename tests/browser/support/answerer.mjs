// The other end of the microphone for tests without the product's media server: a page that answers offers.

/** Opens a page beside `page` that answers; gives what `mic/offer` is to answer, and what was heard. */
export async function openAnswerer(context) {
    const page = await context.newPage();
    await page.evaluate(() => {
        window.answer = async (sdp, again) => {
            if (!again) {
                window.peer?.close();
                window.peer = new RTCPeerConnection();
            }
            await window.peer.setRemoteDescription({ type: "offer", sdp });
            await window.peer.setLocalDescription(await window.peer.createAnswer());
            const { peer } = window;
            if (peer.iceGatheringState !== "complete") {
                await new Promise(done => peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done()));
            }
            return peer.localDescription.sdp;
        };
    });
    const reply = async (sdp, again) => [200, { type: "answer", sdp: await page.evaluate(([text, kept]) => window.answer(text, kept), [sdp, again]) }];
    return {
        page,
        offer: body => reply(body.sdp, false),
        /** An ICE restart, or a candidate. */
        patch: body => body.sdp ? reply(body.sdp, true) : [204],
        /** Packets of sound that arrived so far. */
        packets: () => page.evaluate(async () => {
            const report = await window.peer?.getStats() ?? new Map();
            return [...report.values()].filter(({ type }) => type === "inbound-rtp").reduce((sum, each) => sum + each.packetsReceived, 0);
        }),
    };
}
