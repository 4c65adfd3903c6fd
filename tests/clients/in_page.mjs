// What runs in a browser's page: the clients that are browsers or libraries for them, and the eyes of the reference viewer.
// Each of the functions is sent to the page as text: it sees nothing of this file.

/** Gives the page `window.camera(kinds)`, a moving picture and a beep, and counts peers, whoever makes them. */
export function prepare() {
    window.peers = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...args) {
            super(...args);
            window.peers.push(this);
        }
    };
    window.camera = async kinds => {
        // The browser's fake microphone beeps. What a page makes itself is silence in a Firefox without a sound card.
        const tracks = kinds.includes("audio") ? (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks() : [];
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
        const paint = canvas.getContext("2d");
        let turn = 0;
        setInterval(() => {
            turn += 7;
            paint.fillStyle = `hsl(${turn % 360} 80% 50%)`;
            paint.fillRect(0, 0, 320, 240);
        }, 50);
        return new MediaStream([...tracks, ...canvas.captureStream(20).getVideoTracks()]);
    };
}

/** The browser itself, by the text of the standards and nothing else. */
export async function plain({ role, endpoint, token, kinds, codec, certificate }) {
    const rsa = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
    const certificates = certificate === "rsa" ? { certificates: [await RTCPeerConnection.generateCertificate(rsa)] } : {};
    const peer = new RTCPeerConnection(certificates);
    const stream = role === "publish" ? await window.camera(kinds) : null;
    for (const kind of kinds) {
        const track = stream?.getTracks().find(each => each.kind === kind);
        const transceiver = peer.addTransceiver(track ?? kind, { direction: track ? "sendonly" : "recvonly" });
        if (kind === "video") {
            const able = (track ? RTCRtpSender : RTCRtpReceiver).getCapabilities("video").codecs;
            const wanted = able.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`);
            if (wanted.length === 0) {
                throw new Error(`this browser has no ${codec}`);
            }
            transceiver.setCodecPreferences(wanted);
        }
    }
    window.show(peer);
    await peer.setLocalDescription(await peer.createOffer());
    const authorization = role === "publish" ? { Authorization: `Bearer ${token}` } : {};
    const headers = { "Content-Type": "application/sdp", ...authorization };
    const reply = await fetch(endpoint, { method: "POST", body: peer.localDescription.sdp, headers });
    const sdp = await reply.text();
    if (reply.status !== 201) {
        throw new Error(`${reply.status} ${sdp}`);
    }
    await peer.setRemoteDescription({ type: "answer", sdp });
    const location = new URL(reply.headers.get("Location"), endpoint).href;
    window.leave = () => fetch(location, { method: "DELETE" }).then(() => peer.close());
}

/** Puts what a peer receives where the browser plays it: else it decodes no sound. */
export function showing() {
    window.show = peer => {
        peer.ontrack = ({ track }) => {
            const element = document.body.appendChild(document.createElement(track.kind));
            element.autoplay = true;
            element.srcObject = new MediaStream([track]);
            element.play().catch(() => {});
        };
    };
}

/** Eyevinn's libraries, which the page has as `Eyevinn`. */
export async function eyevinn({ role, endpoint, token, kinds }) {
    if (role === "publish") {
        const client = new window.Eyevinn.WHIPClient({ endpoint, opts: { authkey: token } });
        await client.setIceServersFromEndpoint();
        await client.ingest(await window.camera(kinds));
        window.leave = () => client.destroy();
        return;
    }
    const video = document.body.appendChild(document.createElement("video"));
    const player = new window.Eyevinn.WebRTCPlayer({ video, type: "whep", iceServers: [] });
    await player.load(new URL(endpoint));
    player.unmute();
    window.leave = () => player.destroy?.() ?? player.stop?.();
}

/** Medooze's, which the page has as `Medooze`. */
export async function medooze({ role, endpoint, token, kinds, codec }) {
    const peer = new RTCPeerConnection();
    window.show(peer);
    const stream = role === "publish" ? await window.camera(kinds) : null;
    for (const kind of kinds) {
        const track = stream?.getTracks().find(each => each.kind === kind);
        const transceiver = peer.addTransceiver(track ?? kind, { direction: track ? "sendonly" : "recvonly" });
        if (kind === "video") {
            const able = (track ? RTCRtpSender : RTCRtpReceiver).getCapabilities("video").codecs;
            transceiver.setCodecPreferences(able.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`));
        }
    }
    const client = role === "publish" ? new window.Medooze.WHIPClient() : new window.Medooze.WHEPClient();
    await (role === "publish" ? client.publish(peer, endpoint, token) : client.view(peer, endpoint));
    window.leave = () => client.stop();
}

/** MediaMTX' scripts, which the page has by their own names. */
export async function mediamtx({ role, endpoint, token, kinds, codec }) {
    const trouble = [];
    if (role === "publish") {
        const client = new window.MediaMTXWebRTCPublisher({
            url: endpoint, user: "", pass: "", token, stream: await window.camera(kinds), videoCodec: `${codec}/90000`, videoBitrate: 500,
            audioCodec: "opus/48000", audioBitrate: 32, audioVoice: false, onError: error => trouble.push(error), onConnected: () => {},
        });
        window.leave = async () => client.close();
    } else {
        const client = new window.MediaMTXWebRTCReader({
            url: endpoint, user: "", pass: "", token: "", onError: error => trouble.push(error),
            onTrack: ({ track }) => {
                const element = document.body.appendChild(document.createElement(track.kind));
                Object.assign(element, { autoplay: true, srcObject: new MediaStream([track]) });
                element.play().catch(() => {});
            },
        });
        window.leave = async () => client.close();
    }
    window.trouble = trouble;
}

/** What the page's newest peer has received. */
export async function look() {
    const peer = window.peers.at(-1);
    const stats = peer ? [...(await peer.getStats()).values()] : [];
    const sum = (kind, what) => stats.filter(one => one.type === "inbound-rtp" && one.kind === kind)
        .reduce((total, one) => total + (one[what] ?? 0), 0);
    const codec = stats.find(one => one.id === stats.find(each => each.type === "inbound-rtp" && each.kind === "video")?.codecId);
    return {
        state: peer?.connectionState, codec: codec?.mimeType, width: sum("video", "frameWidth"), frames: sum("video", "framesDecoded"),
        sound: sum("audio", "packetsReceived"), energy: sum("audio", "totalAudioEnergy"), trouble: window.trouble,
    };
}
