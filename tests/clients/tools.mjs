// What was installed into target/clients, and the versions of it all.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

export const TOOLS = new URL("../../target/clients/", import.meta.url).pathname;

/** Resolves as a module in target/clients would. */
const from = createRequire(join(TOOLS, "package.json"));

/** A package that was installed there. */
export const load = name => import(from.resolve(name));

export const python = () => join(TOOLS, "python/bin/python");

const say = (program, ...args) => {
    try {
        return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    } catch {
        return "";
    }
};

let found;

/** The FFmpeg of PyPI's imageio-ffmpeg when it can publish; Debian's cannot. */
export function ffmpeg() {
    found ??= say(python(), "-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())");
    return found && / whip /.test(say(found, "-hide_banner", "-muxers")) ? found : "";
}

const CERTIFICATE = `
from aiortc.rtcdtlstransport import RTCCertificate
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
made = RTCCertificate.generateCertificate()
print(made._cert.public_bytes(Encoding.PEM).decode() + made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
`;

/** An ECDSA P-256 certificate as aiortc makes one, with its key: PEM. */
export const ecdsaCertificate = () => say(python(), "-c", CERTIFICATE);

const scripts = new Map();

/** Modules of npm as one script for a page, which has what they export as `window[name]`. */
export async function bundle(name, ...modules) {
    if (!scripts.has(name)) {
        const { build } = await load("esbuild");
        const contents = modules.map(each => `export * from "${each}";`).join("\n");
        const { outputFiles } = await build({
            stdin: { contents, resolveDir: TOOLS }, bundle: true, write: false, format: "iife", globalName: name, logLevel: "silent",
        });
        scripts.set(name, `${outputFiles[0].text}\nwindow.${name} = ${name};`);
    }
    return scripts.get(name);
}

const npm = name => {
    const file = join(TOOLS, "node_modules", name, "package.json");
    return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : "";
};
const number = text => text.match(/\d+(\.\d+)+/)?.[0] ?? "";
const browsers = {
    chromium: () => number(say(process.env.CHROMIUM ?? "/usr/bin/chromium", "--version")),
    firefox: () => number(say(process.env.FIREFOX ?? "/usr/bin/firefox-esr", "--version")),
};
const gstreamer = () => number(say("/usr/bin/python3", "-c",
    "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None); print(Gst.version_string())"));

/** The version of a client, as far as it has one. */
export function version(client) {
    const own = {
        aiortc: () => say(python(), "-c", "import aiortc; print(aiortc.__version__)"), libdatachannel: () => npm("node-datachannel"),
        ffmpeg: () => number(say(ffmpeg(), "-version")), werift: () => npm("werift"), medooze: () => npm("whip-whep"),
        eyevinn: () => `${npm("@eyevinn/whip-web-client")}, ${npm("@eyevinn/webrtc-player")}`,
        mediamtx: () => process.env.MEDIAMTX_VERSION ?? "",
    };
    return (own[client.name] ?? (client.drive === "gstreamer" ? gstreamer : browsers[client.browser]))();
}
