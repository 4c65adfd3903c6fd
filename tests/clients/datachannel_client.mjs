// libdatachannel as WHIP publisher or WHEP viewer: datachannel_client.mjs publish|watch URL TOKEN KINDS CODEC. A viewer counts packets.
import { accepted, call, payloadTypes, startRtp, tellUntilInputEnds } from "./rtp.mjs";
import { load } from "./tools.mjs";

const [role, url, token, list, codec] = process.argv.slice(2);
const kinds = list.split("+");
const { default: library } = await load("node-datachannel");
const direction = role === "publish" ? "SendOnly" : "RecvOnly";
const peer = new library.PeerConnection("matrix", { iceServers: [] });
const SSRC = { audio: 1_001, video: 2_002 };
const frames = Object.fromEntries(kinds.map(kind => [kind, 0]));

const tracks = {};
for (const kind of kinds) {
    const media = kind === "audio" ? new library.Audio(kind, direction) : new library.Video(kind, direction);
    if (kind === "audio") {
        media.addOpusCodec(111);
    } else if (codec === "vp8") {
        media.addVP8Codec(96);
    } else {
        media.addH264Codec(96);
    }
    if (role === "publish") {
        media.addSSRC(SSRC[kind], "matrix", "stream", kind);
    }
    tracks[kind] = peer.addTrack(media);
    if (role === "watch") {
        tracks[kind].setMediaHandler(new library.RtcpReceivingSession());
        tracks[kind].onMessage(packet => { frames[kind] += packet[1] >= 192 && packet[1] <= 223 ? 0 : 1; });
    }
}

const connected = new Promise((done, refuse) => peer.onStateChange(state => {
    if (state === "connected") {
        done();
    } else if (state === "failed" || state === "closed") {
        refuse(new Error(`the peer is ${state}`));
    }
}));
const gathered = new Promise(done => peer.onGatheringStateChange(state => state === "complete" && done()));
peer.setLocalDescription();
await gathered;
const { location, text } = await call("POST", url, token, peer.localDescription().sdp);
peer.setRemoteDescription(text, "answer");
await connected;

let source;
if (role === "publish") {
    const taken = accepted(text);
    source = await startRtp(kinds.filter(kind => taken.includes(kind)), codec, payloadTypes(text, codec), (kind, packet) => {
        packet.writeUInt32BE(SSRC[kind], 8);
        if (tracks[kind].isOpen()) {
            frames[kind] += tracks[kind].sendMessageBinary(packet) ? 1 : 0;
        }
    });
}
await tellUntilInputEnds(frames, async () => {
    source?.stop();
    await call("DELETE", location, token);
    peer.close();
});
