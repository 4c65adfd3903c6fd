// The stand-in web-server behind a small proxy that injects the overlay: the page without the product's servers, so
// that each answer of `_neck/status` can be played.
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove, until } from "./browser.mjs";
import { playServer } from "./own_server.mjs";
import { ownPort } from "./ports.mjs";

const ROOT = new URL("../../../", import.meta.url).pathname;
export const BUILT = process.env.BUILT ?? join(ROOT, "target/x86_64-unknown-linux-gnu/debug");
/** The pages of the stand-in for moonlight-web-stream. */
export const STATIC = join(ROOT, "tests/support/standins/static");
const ID = "0123456789abcdef0123456789abcdef";
const BASE = `/session/${ID}/`;

/** The script as src/api/overlay.rs joins it. */
export async function overlayScript(settings) {
    const rust = await readFile(join(ROOT, "src/api/overlay.rs"), "utf8");
    const files = [...rust.matchAll(/include_str!\("\.\.\/\.\.\/(web\/overlay\/[^"]+\.js)"\)/g)].map(match => match[1]);
    const texts = await Promise.all(files.map(file => readFile(join(ROOT, file), "utf8")));
    const style = await readFile(join(ROOT, "web/overlay/style.css"), "utf8");
    const constants = { VERSION: "test", SETTINGS: settings, STRINGS: await strings(), STYLE: style };
    const head = Object.entries(constants).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};`).join("\n");
    return `if (!("__neck" in window)) (() => {"use strict";${head}${texts.join("\n")}})();`;
}

/** The tables of web/i18n by language. */
export async function strings() {
    const tables = await Promise.all(["en", "nl", "fr", "de"].map(async language =>
        [language, JSON.parse(await readFile(join(ROOT, `web/i18n/${language}.json`), "utf8"))]));
    return Object.fromEntries(tables);
}

function listen(server) {
    return new Promise(done => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

/** A body that answers as a GameStream host does. */
async function startBody() {
    const server = http.createServer((request, reply) => {
        const apps = "<App><AppTitle>Desktop</AppTitle><ID>881448767</ID></App>";
        const body = request.url.startsWith("/applist") ? apps : "<hostname>test-body</hostname>";
        reply.setHeader("Connection", "close");
        reply.end(`<root status_code="200">${body}</root>`);
    });
    return { server, port: await listen(server) };
}

/** Starts everything. `status` is what `_neck/status` answers, [code, object, headers]; tests change it. `asked` says how often it was, `askedAt` when. */
export async function startSession(overrides = {}, faults = {}) {
    const dir = await mkdtemp(join(tmpdir(), "neck-standin-"));
    const body = await startBody();
    const childPort = await ownPort();
    await mkdir(join(dir, "install"));
    await mkdir(join(dir, "run/server"), { recursive: true });
    await symlink(join(BUILT, "stand-in-web-server"), join(dir, "install/web-server"));
    await symlink(join(BUILT, "stand-in-streamer"), join(dir, "install/streamer"));
    await writeFile(join(dir, "install/faults.json"), JSON.stringify(faults));
    await cp(STATIC, join(dir, "run/static"), { recursive: true });
    await writeFile(join(dir, "run/server/config.json"), JSON.stringify({
        webrtc: { ice_servers: [{ urls: ["stun:127.0.0.1:19302"] }] },
        web_server: {
            bind_address: `127.0.0.1:${childPort}`, url_path_prefix: BASE.slice(0, -1), first_login_create_admin: false,
            first_login_assign_global_hosts: false,
            forwarded_header: { username_header: "X-Forwarded-User", auto_create_missing_user: true },
        },
        streamer_path: join(dir, "install/streamer"), log: { level_filter: "INFO" },
    }));
    const session = { status: [200, { status: "streaming", restarts: 0 }, {}], asked: 0, askedAt: [], child: null };
    playServer(session);
    const front = http.createServer((request, reply) => answer(session, childPort, request, reply));
    front.on("upgrade", (request, socket, head) => tunnel(childPort, request, socket, head));
    const origin = `http://127.0.0.1:${await listen(front)}`;
    const settings = {
        sessionId: ID, base: BASE, returnUrl: `${origin}/home`, reportUrl: `${origin}/report`, forceRelay: false,
        iceServers: [], experience: "", district: "", bodyIp: "127.0.0.1", engine: "moonlight", mic: false, iceTtl: null,
        ageMs: 0, endReason: null, ...overrides,
    };
    /** The page's next load gets these. */
    session.settle = async changed => {
        session.script = await overlayScript(Object.assign(settings, changed));
    };
    await session.settle({});
    session.startChild = async () => {
        session.child = spawn(join(dir, "install/web-server"), [], { cwd: join(dir, "run"), env: {}, stdio: "ignore" });
        await until("the stand-in answers", () => call(childPort, "GET", "api/hosts"));
    };
    session.childRuns = () => session.child.exitCode === null && session.child.signalCode === null;
    session.killChild = () => new Promise(done => {
        if (!session.childRuns()) {
            done();
        }
        session.child.once("exit", done);
        session.child.kill("SIGINT");
    });
    await session.startChild();
    const { host } = JSON.parse(await call(childPort, "POST", "api/host", { address: "127.0.0.1", http_port: body.port }));
    session.origin = origin;
    session.base = origin + BASE;
    session.url = `${origin}${BASE}stream.html?hostId=${host.host_id}&appId=881448767`;
    session.stop = async () => {
        if (session.childRuns()) {
            await session.killChild();
        }
        body.server.close();
        front.close();
        front.closeAllConnections();
        await remove(dir);
    };
    return session;
}

async function call(port, method, path, body) {
    const reply = await fetch(`http://127.0.0.1:${port}${BASE}${path}`, {
        method, headers: { "X-Forwarded-User": "test" }, body: body && JSON.stringify(body),
    });
    const text = await reply.text();
    if (!reply.ok) {
        throw new Error(`${method} ${path}: ${reply.status} ${text}`);
    }
    return text;
}

function answer(session, childPort, request, reply) {
    const path = request.url.split("?")[0];
    if (path === "/report") {
        return reply.setHeader("Content-Type", "text/html").end("<title>Report</title>report");
    }
    if (path === "/home") {
        return reply.setHeader("Content-Type", "text/html").end("<title>Home</title>home");
    }
    if (path === `${BASE}_neck/overlay.js`) {
        return reply.setHeader("Content-Type", "text/javascript; charset=utf-8").end(session.script);
    }
    if (path === `${BASE}_neck/status`) {
        session.asked += 1;
        session.askedAt.push(Date.now());
        const [code, body, fields] = session.status;
        return reply.writeHead(code, { "Content-Type": "application/json", ...fields }).end(JSON.stringify(body));
    }
    if (path === `${BASE}ended.html`) {
        // As the worker answers for a session that has ended.
        const tag = `<script src="${BASE}_neck/overlay.js"></script>`;
        const page = `<!doctype html><html lang=en><head>${tag}<title>Stream ended</title></head><body><h1>Stream ended</h1></body></html>`;
        return reply.writeHead(404, { "Content-Type": "text/html; charset=utf-8" }).end(page);
    }
    if (path.startsWith(BASE) && session.answersItself(request, reply, path.slice(BASE.length))) {
        return undefined;
    }
    return forward(childPort, request, reply);
}

function forward(childPort, request, reply) {
    const headers = { ...request.headers, "x-forwarded-user": "test" };
    delete headers["if-none-match"];
    const upstream = http.request({ port: childPort, host: "127.0.0.1", method: request.method, path: request.url, headers });
    const fail = () => reply.headersSent ? reply.destroy() : reply.writeHead(503).end();
    upstream.on("error", fail);
    upstream.on("response", async response => {
        const isPage = response.headers["content-type"]?.startsWith("text/html");
        if (!isPage) {
            reply.writeHead(response.statusCode, response.headers);
            return response.pipe(reply);
        }
        let page = "";
        try {
            for await (const bytes of response) {
                page += bytes;
            }
        } catch {
            // The process was killed while it spoke.
            return fail();
        }
        page = page.replace("<head>", `<head><script src="${BASE}_neck/overlay.js"></script>`);
        reply.writeHead(response.statusCode, { "Content-Type": "text/html; charset=utf-8" }).end(page);
    });
    request.pipe(upstream);
}

function tunnel(childPort, request, socket, head) {
    const upstream = net.connect(childPort, "127.0.0.1", () => {
        const fields = Object.entries({ ...request.headers, "x-forwarded-user": "test" });
        upstream.write(`GET ${request.url} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
        upstream.write(head);
        socket.pipe(upstream).pipe(socket);
    });
    for (const [one, other] of [[socket, upstream], [upstream, socket]]) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
    }
}
