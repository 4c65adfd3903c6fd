// A stream that a page brings to itself: two peers of its own, which the overlay takes for the stream's.
import { until } from "./browser.mjs";

/**
 * Two peers that bring a moving picture to each other. `renegotiates`: the page answers `negotiationneeded`. `chat`: a channel brings a
 * few bytes now and then. `freeze()` and `thaw()` of the page stop the picture and let it go on; `extra` is another channel, which brought
 * much.
 */
export function connectTwoPeers(page, { renegotiates = true, chat = false } = {}) {
    return page.evaluate(async ({ renegotiates, chat }) => {
        const [sender, receiver] = [new RTCPeerConnection(), new RTCPeerConnection()];
        sender.onicecandidate = ({ candidate }) => candidate && receiver.addIceCandidate(candidate);
        receiver.onicecandidate = ({ candidate }) => candidate && sender.addIceCandidate(candidate);
        const negotiate = async () => {
            await sender.setLocalDescription();
            await receiver.setRemoteDescription(sender.localDescription);
            await receiver.setLocalDescription();
            await sender.setRemoteDescription(receiver.localDescription);
        };
        const canvas = document.createElement("canvas");
        const context = canvas.getContext("2d");
        const paint = () => context.fillRect(Math.random() * 300, Math.random() * 150, 20, 20);
        setInterval(paint, 40);
        const [track] = canvas.captureStream(25).getTracks();
        const out = sender.addTrack(track);
        // Without a track Firefox goes on with black pictures.
        const send = active => {
            const parameters = out.getParameters();
            parameters.encodings.forEach(encoding => { encoding.active = active; });
            return out.setParameters(parameters);
        };
        window.freeze = () => send(false);
        window.thaw = () => send(true);
        if (chat) {
            const talk = sender.createDataChannel("chat");
            setInterval(() => talk.readyState === "open" && talk.send("still here"), 200);
            window.extra = sender.createDataChannel("extra");
            window.extra.onopen = () => window.extra.send("x".repeat(50_000));
        }
        if (renegotiates) {
            sender.onnegotiationneeded = negotiate;
        } else {
            await negotiate();
        }
        window.peers = [sender, receiver];
    }, { renegotiates, chat });
}

/** Milliseconds from `harm` to a picture that moves on another load of the page; an old one may play what it still has. */
export async function untilLoadedAnew(page, harm) {
    const look = () => page.evaluate(() => ({ time: document.querySelector("video")?.currentTime ?? 0, load: performance.timeOrigin }));
    const { load } = await look();
    await harm();
    const since = Date.now();
    await until("another load of the page with a moving picture", async () => {
        const now = await look();
        return now.load !== load && now.time > 0.05;
    }, 60_000);
    return Date.now() - since;
}

export const states = page => page.evaluate(() => window.peers.map(peer => peer.connectionState));

export const untilConnected = page => until("both peers are connected", async () =>
    (await states(page)).every(state => state === "connected"));
