// werift as WHIP publisher or WHEP viewer: werift_client.mjs publish|watch URL TOKEN KINDS CODEC. A viewer counts packets.
import { accepted, call, payloadTypes, startRtp, tellUntilInputEnds } from "./rtp.mjs";
import { load } from "./tools.mjs";

const [role, url, token, list, codec] = process.argv.slice(2);
const kinds = list.split("+");
const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } = await load("werift");

const feedback = [{ type: "nack" }, { type: "nack", parameter: "pli" }, { type: "goog-remb" }];
const H264 = { parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" };
const video = new RTCRtpCodecParameters({
    mimeType: codec === "vp8" ? "video/VP8" : "video/H264", clockRate: 90_000, rtcpFeedback: feedback, ...codec === "vp8" ? {} : H264,
});
const audio = new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48_000, channels: 2 });
const peer = new RTCPeerConnection({ codecs: { audio: [audio], video: [video] }, iceServers: [] });
const frames = Object.fromEntries(kinds.map(kind => [kind, 0]));

const tracks = {};
for (const kind of kinds) {
    if (role === "publish") {
        tracks[kind] = new MediaStreamTrack({ kind });
        peer.addTransceiver(tracks[kind], { direction: "sendonly" });
    } else {
        const transceiver = peer.addTransceiver(kind, { direction: "recvonly" });
        transceiver.onTrack.subscribe(track => track.onReceiveRtp.subscribe(() => { frames[kind] += 1; }));
    }
}

const connected = new Promise((done, refuse) => peer.connectionStateChange.subscribe(state => {
    if (state === "connected") {
        done();
    } else if (state === "failed" || state === "closed") {
        refuse(new Error(`the peer is ${state}`));
    }
}));
await peer.setLocalDescription(await peer.createOffer());
const { location, text } = await call("POST", url, token, peer.localDescription.sdp);
await peer.setRemoteDescription({ type: "answer", sdp: text });
await connected;

let source;
if (role === "publish") {
    const taken = accepted(text);
    source = await startRtp(kinds.filter(kind => taken.includes(kind)), codec, payloadTypes(text, codec), (kind, packet) => {
        tracks[kind].writeRtp(packet);
        frames[kind] += 1;
    });
}
await tellUntilInputEnds(frames, async () => {
    source?.stop();
    await call("DELETE", location, token);
    await peer.close();
});
