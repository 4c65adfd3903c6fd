// What is tried, and what must happen. A cell is one client in one role with one codec and one shape of its offer.

/**
 * The columns: the order in which a client offers sound and picture, and whether the session has sound. Of a session without,
 * the sound that is offered first is refused in its place (port 0), and everything hangs on the second section.
 */
export const SHAPES = [
    { name: "sound, picture", kinds: ["audio", "video"], sound: true },
    { name: "picture, sound", kinds: ["video", "audio"], sound: true },
    { name: "picture", kinds: ["video"], sound: true },
    { name: "refused sound, picture", kinds: ["audio", "video"], sound: false },
];

export const CODECS = ["h264", "vp8"];
export const ROLES = ["publish", "watch"];

const RSA = "an RSA certificate";
const ORDER = "orders its sections itself";

/** Of clients whose offer begins with sound whatever they are told. */
const soundFirst = (_, shape) => shape.kinds[0] === "video" && shape.kinds.length > 1 && ORDER;

/** Of those that never offer one section alone. */
const both = (role, shape) => shape.kinds.length === 1 ? "always offers both" : soundFirst(role, shape);

/**
 * `name` on the command line; `title` in the table. `program`: how it is driven, see clients.mjs. `cannot(role, shape, codec)`: why the
 * client itself has no such cell, or false. `refused`: what the session's warnings must say instead of anything being played.
 */
export const CLIENTS = [
    { name: "chromium", title: "Chromium", drive: "page", browser: "chromium" },
    {
        name: "firefox", title: "Firefox ESR", drive: "page", browser: "firefox",
        cannot: (_role, _shape, codec) => codec === "h264" && "Debian's Firefox has no H264 for WebRTC without a download",
    },
    {
        name: "aiortc", title: "aiortc", drive: "aiortc",
        cannot: (_role, shape) => !shape.sound && "it takes no answer in which a section is refused (port 0)",
    },
    {
        name: "ffmpeg", title: "FFmpeg `-f whip`", drive: "ffmpeg",
        cannot: (role, shape, codec) => role === "watch" ? "FFmpeg reads no WHEP"
            : codec === "vp8" ? "its muxer takes H264 only" : soundFirst(role, shape),
    },
    { name: "libdatachannel", title: "libdatachannel (node-datachannel)", drive: "node", program: "datachannel_client.mjs" },
    { name: "werift", title: "werift", drive: "node", program: "werift_client.mjs" },
    {
        name: "eyevinn", title: "Eyevinn's whip-web-client and webrtc-player", drive: "page", browser: "chromium", library: "eyevinn",
        cannot: (role, shape) => role === "watch" ? both(role, shape) : soundFirst(role, shape),
    },
    { name: "medooze", title: "medooze's whip-whep", drive: "page", browser: "chromium", library: "medooze" },
    {
        name: "mediamtx", title: "MediaMTX' publisher.js and reader.js", drive: "page", browser: "chromium", library: "mediamtx",
        cannot: soundFirst,
    },
    {
        name: "gstreamer-ecdsa", title: "GStreamer webrtcbin, ECDSA certificate", drive: "gstreamer", certificate: "ecdsa",
        cannot: (_role, shape) => !shape.sound && "it checks no candidate when the section that it offers first is refused: offer the picture first",
    },
    {
        name: "gstreamer", title: "GStreamer webrtcbin, its own RSA certificate", drive: "gstreamer", refused: /ECDSA P-256/,
        cannot: (_role, shape, codec) => (codec !== "h264" || shape !== SHAPES[0]) && RSA,
    },
    {
        name: "chromium-rsa", title: "Chromium, RSA certificate", drive: "page", browser: "chromium", certificate: "rsa", refused: /ECDSA P-256/,
        cannot: (_role, shape, codec) => (codec !== "vp8" || shape !== SHAPES[0]) && RSA,
    },
];
