// The client of docs/webrtc.md, its blocks as they stand there but for the host.
import { readFile } from "node:fs/promises";

const GUIDE = new URL("../../../docs/webrtc.md", import.meta.url);

/** What the guide leaves to its reader: who is told of what, in `window.seen`, and an element for each track. */
const REST = `
    const seen = window.seen = { types: [], errors: [], joined: [], left: [], data: [], credentials: 0, placed: {}, drained: 0 };
    const handleJoin = msg => seen.joined.push(msg.data.peerId);
    const handleLeave = msg => seen.left.push(msg.data.peerId);
    const reconnect = () => { seen.drained += 1; };
    function show(track, mid) {
        const element = document.createElement(track.kind);
        Object.assign(element, { srcObject: new MediaStream([track]), autoplay: true, muted: track.kind === "video" });
        document.body.append(element);
    }
`;

/** A picture that moves and a tone, where a page of plain HTTP gets no camera; Firefox makes no tone without a loudspeaker. */
const SOURCES = `
    async function made() {
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
        const paint = canvas.getContext("2d");
        setInterval(() => {
            paint.fillStyle = "hsl(" + performance.now() / 10 % 360 + " 80% 50%)";
            paint.fillRect(0, 0, 320, 180);
        }, 50);
        const audio = new AudioContext();
        const [tone, target] = [audio.createOscillator(), audio.createMediaStreamDestination()];
        tone.connect(target);
        tone.start();
        return new MediaStream([...canvas.captureStream(20).getTracks(), ...target.stream.getTracks()]);
    }
    const stream = await (navigator.mediaDevices?.getUserMedia({ audio: true, video: true }) ?? made());
`;

/** The page's own look at what passes: the guide's handlers stay as they are. */
const WATCH = `
    ws.addEventListener("message", event => {
        const { type, data } = JSON.parse(event.data);
        seen.types.push(type);
        if (type === "error") seen.errors.push(data);
        if (type === "welcome") seen.peer = data.peerId;
        if (type.endsWith("-credentials")) seen.credentials += 1;
        if (type === "track-placed") seen.placed[data.trackId] = data.mid;
    });
    ws.addEventListener("close", event => { seen.closed = event.code; });
    Object.assign(window, { pc, ws, leave: () => send("leave", {}) });
    ws.addEventListener("open", () => {
        window.chat = pc.createDataChannel("chat");
        window.chat.onmessage = ({ data }) => seen.data.push(data);
    });
`;

/** A function for a page: joins \`roomId\` with \`jwt\` at \`origin\`, and says by \`window.seen\` how it goes. */
export async function snippet(origin) {
    const blocks = [...(await readFile(GUIDE, "utf8")).matchAll(/\n```js\n([^]*?)```/g)].map(match => match[1]);
    const joined = blocks.join("\n").replaceAll("https://ns-myapp.example.com", origin)
        .replaceAll("wss://ns-myapp.example.com", origin.replace(/^http/, "ws"));
    if (blocks.length < 6 || joined.includes("example.com")) {
        throw new Error(`${blocks.length} blocks, and another host than the guide's:\n${joined}`);
    }
    return `(async (jwt, roomId) => {${SOURCES}${REST}${joined}${WATCH}})`;
}

/** What a page of the snippet has seen so far, and what its connection receives. */
export const LOOK = `(async () => {
    const stats = [...(await window.pc.getStats()).values()];
    const by = id => stats.find(one => one.id === id);
    const inbound = kind => stats.filter(one => one.type === "inbound-rtp" && one.kind === kind);
    const pair = stats.find(one => one.type === "candidate-pair" && (one.nominated || one.selected) && one.state === "succeeded");
    return {
        ...window.seen, state: window.pc.connectionState, way: by(pair?.localCandidateId)?.candidateType,
        frames: inbound("video").map(one => one.framesDecoded ?? 0), sound: inbound("audio").map(one => one.totalAudioEnergy ?? 0),
        voice: inbound("audio").map(one => one.packetsReceived ?? 0),
    };
})()`;
