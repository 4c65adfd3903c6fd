// How each client is started, told of its end, and asked what it saw. All give the same: an object with `seen()`, which answers
// `{ state, video, audio, … }` or throws what went wrong, and `leave()`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as inPage from "./in_page.mjs";
import { TOOLS, bundle, ecdsaCertificate, ffmpeg, python } from "./tools.mjs";

const HERE = new URL(".", import.meta.url).pathname;

/** A page of this context that can be a client; its origin is the worker's own. */
export async function clientPage(context, origin) {
    const page = await context.newPage();
    await page.addInitScript(inPage.prepare);
    await page.addInitScript(inPage.showing);
    await page.goto(`${origin}/api/v1/health`);
    return page;
}

/** Scripts that a library consists of. */
const LIBRARIES = {
    eyevinn: () => bundle("Eyevinn", "@eyevinn/whip-web-client", "@eyevinn/webrtc-player"),
    medooze: () => bundle("Medooze", "whip-whep/whip.js", "whip-whep/whep.js"),
    mediamtx: async () => {
        const scripts = ["reader.js", "publisher.js"].map(name => readFile(join(process.env.MEDIAMTX, name), "utf8"));
        return (await Promise.all(scripts)).map(text => `(() => {${text}\n})();`).join("\n");
    },
};

/** A browser, or a library in one. */
export async function startPage(browsers, stage, client, task) {
    const { context } = await browsers.of(client.browser);
    const page = await clientPage(context, stage.origin);
    if (client.library) {
        await page.evaluate(await LIBRARIES[client.library]());
    }
    await page.evaluate(inPage[client.library ?? "plain"], { ...task, certificate: client.certificate });
    return {
        seen: async () => {
            const { state, frames, sound, trouble, codec } = await page.evaluate(inPage.look);
            if (trouble?.length) {
                throw new Error(trouble.join("; "));
            }
            return { state, video: frames, audio: sound, codec };
        },
        leave: async () => {
            await Promise.race([page.evaluate(() => window.leave?.()).catch(() => {}), new Promise(done => setTimeout(done, 3_000))]);
            await page.close();
        },
    };
}

/** The lines of a program's last words that tell most: those with an error's name, else the last. */
function reason(words) {
    const lines = words.trim().split("\n");
    const telling = lines.filter(line => /\w(Error|Exception)\b|^[A-Z]+: \d{3} /.test(line));
    return (telling.length > 0 ? telling : lines).slice(-2).join(" / ");
}

/** A program: it prints what it saw as lines of JSON, and says good-bye when its input ends. */
function startProgram(command, args, environment = {}) {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } });
    let [told, words, code] = [null, "", null];
    child.stdin.on("error", () => {});
    child.stderr.on("data", bytes => { words = (words + bytes).slice(-4_000); });
    let rest = "";
    child.stdout.on("data", bytes => {
        const lines = (rest + bytes).split("\n");
        rest = lines.pop();
        for (const line of lines.filter(each => each.startsWith("{"))) {
            told = JSON.parse(line);
        }
    });
    child.on("error", error => { [words, code] = [String(error), -1]; });
    child.on("exit", status => { code ??= status ?? -1; });
    return {
        seen: async () => {
            if (code !== null) {
                throw new Error(`it ended with ${code}: ${reason(words)}`);
            }
            return { state: told ? "connected" : "new", video: told?.frames?.video ?? 0, audio: told?.frames?.audio ?? 0, codec: told?.codecs?.join() };
        },
        leave: async () => {
            if (code !== null) {
                return;
            }
            const gone = once(child, "exit");
            // `q` is for FFmpeg, which ends with it; the others ask for the end of their input only.
            child.stdin.end("q");
            const timer = setTimeout(() => child.kill("SIGKILL"), 4_000);
            await gone;
            clearTimeout(timer);
        },
    };
}

const token = task => task.role === "publish" ? task.token : "";

const STARTERS = {
    page: startPage,
    aiortc: async (_browsers, _stage, _client, task) => startProgram(python(),
        [join(HERE, "../whip/foreign_client.py"), task.role, task.endpoint, token(task), task.kinds.join("+")]),
    node: async (_browsers, _stage, client, task) => startProgram(process.execPath,
        [join(HERE, client.program), task.role, task.endpoint, token(task), task.kinds.join("+"), task.codec]),
    gstreamer: async (_browsers, _stage, client, task) => startProgram("/usr/bin/python3",
        [join(HERE, "gstreamer_client.py"), task.role, task.endpoint, token(task), task.kinds.join("+"), task.codec],
        client.certificate ? { CERTIFICATE: ecdsaCertificate() } : {}),
    ffmpeg: async (_browsers, _stage, _client, task) => startFfmpeg(task),
};

function startFfmpeg(task) {
    const sources = {
        video: ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"], audio: ["-re", "-f", "lavfi", "-i", "sine=frequency=330"],
    };
    const encoders = {
        video: ["-c:v", "libx264", "-profile:v", "baseline", "-bf", "0", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune", "zerolatency",
            "-g", "15"],
        audio: ["-c:a", "libopus", "-ar", "48000", "-ac", "2"],
    };
    return startProgram(ffmpeg(), ["-loglevel", "error", ...task.kinds.flatMap(kind => sources[kind]),
        ...task.kinds.flatMap((_, index) => ["-map", `${index}`]), ...task.kinds.flatMap(kind => encoders[kind]),
        "-f", "whip", "-authorization", task.token, task.endpoint]);
}

/** Starts a client at its task: `{ role, endpoint, token, kinds, codec }`. */
export const start = (browsers, stage, client, task) => STARTERS[client.drive](browsers, stage, client, task);

/** Why a client is not here; null when it is. */
export async function missing(client, browsers) {
    if (client.drive === "page") {
        const refused = await browsers.refused(client.browser);
        const kept = { eyevinn: "@eyevinn/whip-web-client", medooze: "whip-whep" }[client.library];
        return refused ?? (client.library === "mediamtx" && !(process.env.MEDIAMTX && existsSync(join(process.env.MEDIAMTX, "reader.js")))
            ? "no registry has them: MEDIAMTX=/directory/of/reader.js"
            : kept && !existsSync(join(TOOLS, "node_modules", kept)) ? "npm cannot give it" : null);
    }
    return TOOLS_OF[client.drive](client);
}

const TOOLS_OF = {
    aiortc: () => existsSync(python()) ? null : "PyPI cannot give it",
    ffmpeg: () => ffmpeg() ? null : "PyPI cannot give an FFmpeg with WHIP",
    node: client => {
        const name = client.program.startsWith("werift") ? "werift" : "node-datachannel";
        return existsSync(join(TOOLS, "node_modules", name)) ? null : "npm cannot give it";
    },
    gstreamer: () => existsSync("/usr/lib/python3/dist-packages/gi/overrides/Gst.py") ? null
        : "python3-gst-1.0 and GStreamer's plug-ins are not installed",
};
