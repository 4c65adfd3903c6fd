// Picture and sound as RTP for clients that bring no encoder: FFmpeg makes both, and sends them to this process on loopback.
import { spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";

const SOURCES = {
    video: ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"], audio: ["-re", "-f", "lavfi", "-i", "sine=frequency=330"],
};
const ENCODERS = {
    // A key frame a second: nobody tells FFmpeg that one is wanted.
    h264: ["-c:v", "libx264", "-profile:v", "baseline", "-bf", "0", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune", "zerolatency",
        "-g", "15"],
    vp8: ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k", "-g", "15"],
    audio: ["-c:a", "libopus", "-ar", "48000", "-ac", "2", "-frame_duration", "20"],
};

/** Calls `take(kind, packet)` for each RTP packet. `stop()` ends it. */
export async function startRtp(kinds, codec, payloadTypes, take) {
    const args = ["-loglevel", "error", "-nostdin"];
    const sockets = [];
    for (const kind of kinds) {
        args.push(...SOURCES[kind]);
    }
    for (const [index, kind] of kinds.entries()) {
        const socket = dgram.createSocket("udp4");
        socket.bind(0, "127.0.0.1");
        await once(socket, "listening");
        // Reports come to the same port (`rtcpport`); their second byte tells them apart (RFC 5761).
        socket.on("message", packet => packet[1] >= 192 && packet[1] <= 223 || take(kind, packet));
        sockets.push(socket);
        const { port } = socket.address();
        args.push("-map", `${index}`, ...ENCODERS[kind === "video" ? codec : kind], "-payload_type", `${payloadTypes[kind]}`,
            "-f", "rtp", `rtp://127.0.0.1:${port}?rtcpport=${port}&pkt_size=1200`);
    }
    const child = spawn("/usr/bin/ffmpeg", args, { stdio: ["ignore", "ignore", "inherit"] });
    return {
        stop: () => {
            child.kill("SIGTERM");
            sockets.forEach(socket => socket.close());
        },
    };
}

/** A request of WHIP or WHEP. */
export async function call(method, url, token, body) {
    const authorization = token ? { Authorization: `Bearer ${token}` } : {};
    const reply = await fetch(url, { method, body, headers: { "Content-Type": "application/sdp", ...authorization } });
    const text = await reply.text();
    if (!reply.ok) {
        throw new Error(`${method}: ${reply.status} ${text}`);
    }
    return { location: new URL(reply.headers.get("Location") ?? "", url).href, text };
}

/** Payload types of an answer: of sound and of the picture's codec. */
export function payloadTypes(answer, codec) {
    const of = name => Number(answer.match(new RegExp(`^a=rtpmap:(\\d+) ${name}/`, "im"))?.[1] ?? 0);
    return { audio: of("opus"), video: of(codec) };
}

/** Kinds of an answer's sections that are not rejected. */
export const accepted = answer => [...answer.matchAll(/^m=(audio|video) (\d+) /gm)].filter(([, , port]) => port !== "0").map(([, kind]) => kind);

/** Tells what was counted, again and again, until the input ends; then `leave()`. */
export async function tellUntilInputEnds(frames, leave) {
    const timer = setInterval(() => console.log(JSON.stringify({ frames })), 200);
    process.stdin.resume();
    await once(process.stdin, "end");
    clearInterval(timer);
    await leave();
    process.exit(0);
}
