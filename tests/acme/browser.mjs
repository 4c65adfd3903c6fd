// A controller with `server.domain` on a machine of its own, from its first start to a stream in a browser on another machine, and over
// a renewal. Nobody does a step by hand: what is done here beside starting programs is done to the browser, which has to believe a test's
// authority. Prints the times; ends with 1 when anything is not as it should be.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../browser/support/browser.mjs";
import { ADDRESSES, makeNetwork } from "../browser/support/netns.mjs";
import { BUILT } from "../browser/support/standin.mjs";

const TOKEN = "browser-test-token-0123456789";

/** Seconds for which pebble's certificates are good here: they are renewed at half of that. */
const LIFE = 50;

/** Seconds for which the stream is watched: one renewal lies within at least. */
const WATCHED = 40;

const VISITOR = new URL("visitor.mjs", import.meta.url).pathname;

const CLIENT = new URL("../support/standins/static", import.meta.url).pathname;

const dir = mkdtempSync(join(tmpdir(), "neck-acme-browser-"));
const file = name => join(dir, name);
const running = [];
const places = [];
let begun;

const network = makeNetwork();
if (network.refused) {
    console.error(`network namespaces are refused here: ${network.refused}`);
    process.exit(1);
}

/** Starts a program on the far machine; what it says is kept. */
function start(name, program, ...args) {
    const [command, ...rest] = network.inside("far", program, ...args);
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, HOME: dir, PEBBLE_VA_NOSLEEP: "1" } });
    const it = { name, child, output: "", ended: false };
    for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", bytes => { it.output += bytes; });
    }
    child.on("exit", () => { it.ended = true; });
    running.push(it);
    return it;
}

const far = (program, ...args) => {
    const [command, ...rest] = network.inside("far", program, ...args);
    return execFileSync(command, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
};

const told = what => console.log(`${((performance.now() - begun) / 1000).toFixed(2)} s: ${what}`);

/** Whom both machines ask for names. ip-netns(8) shows it to what runs there. */
function nameServer() {
    for (const side of ["near", "far"]) {
        const name = network.inside(side, "")[3];
        const place = `/etc/netns/${name}`;
        mkdirSync(place, { recursive: true });
        places.push(place);
        writeFileSync(join(place, "resolv.conf"), `nameserver ${ADDRESSES.far}\n`);
        writeFileSync(join(place, "hosts"), "127.0.0.1 localhost\n");
    }
    // Newer ones have another word for it, and speak DNS over HTTPS, too.
    const help = spawnSync("pebble-challtestsrv", ["-help"], { encoding: "utf8" }).stderr;
    const more = help.includes("-doh") ? ["-doh", ""] : [];
    const flag = help.includes("-dnsserver") ? "-dnsserver" : "-dns01";
    return start("names", "pebble-challtestsrv", ...more, flag, `${ADDRESSES.far}:53`, "-http01", "", "-https01", "", "-tlsalpn01", "",
        "-management", "127.0.0.1:8055", "-defaultIPv4", ADDRESSES.far, "-defaultIPv6", "");
}

async function authority() {
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ca.test",
        "-addext", "subjectAltName=DNS:ca.test", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", file("ca.key"), "-out", file("ca.pem")],
    { stdio: "ignore" });
    const pebble = {
        listenAddress: `${ADDRESSES.far}:14000`, managementListenAddress: "127.0.0.1:15000", certificate: file("ca.pem"), privateKey: file("ca.key"),
        httpPort: 80, tlsPort: 443, ocspResponderURL: "", externalAccountBindingRequired: false, certificateValidityPeriod: LIFE,
        // Newer ones have it by profile.
        profiles: { default: { description: "short", validityPeriod: LIFE } },
    };
    writeFileSync(file("pebble.json"), JSON.stringify({ pebble }));
    const it = start("pebble", "pebble", "-config", file("pebble.json"), "-dnsserver", `${ADDRESSES.far}:53`);
    writeFileSync(file("root.pem"), await until("its root", () => far("curl", "-sSk", "https://127.0.0.1:15000/roots/0"), 30_000));
    return it;
}

/** The browser's home, where it finds whom to believe. */
function browsersHome() {
    const home = file("home");
    const store = join(home, ".pki/nssdb");
    mkdirSync(store, { recursive: true });
    execFileSync("certutil", ["-d", `sql:${store}`, "-N", "--empty-password"]);
    execFileSync("certutil", ["-d", `sql:${store}`, "-A", "-t", "C,,", "-n", "pebble", "-i", file("root.pem")]);
    return home;
}

/** What a worker looks for, though nobody here asks for its engine. */
function install() {
    mkdirSync(file("install"));
    for (const name of ["web-server", "streamer"]) {
        symlinkSync(join(BUILT, `stand-in-${name}`), file(`install/${name}`));
    }
    cpSync(CLIENT, file("install/static"), { recursive: true });
    return file("install/web-server");
}

function role(mode, config) {
    writeFileSync(file(`${mode}.yaml`), JSON.stringify({ mode, ...config }), { mode: 0o600 });
    return start(mode, join(BUILT, "hydraneckwebrtc"), mode, "--config", file(`${mode}.yaml`));
}

const certificate = () => JSON.parse(far(join(BUILT, "hydraneckwebrtc"), "certificate", "--config", file("controller.yaml"), "--json"));

/** A session with the built-in clip; where its page is. */
async function session() {
    const body = JSON.stringify({ body_ip: "127.0.2.1", engine: "demo" });
    return until("a session", () => {
        const answer = far("curl", "-sS", "--cacert", file("root.pem"), "-H", `Authorization: Bearer ${TOKEN}`, "-H", "Content-Type: application/json",
            "-d", body, "https://neck.test/api/v1/sessions");
        return JSON.parse(answer).stream_url;
    }, 60_000);
}

/** The browser on the other machine: what it says, line by line. */
function visit(url, home) {
    const [command, ...rest] = network.inside("near", process.execPath, VISITOR, url, String(WATCHED));
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, HOME: home } });
    const said = [];
    let part = "";
    child.stdout.on("data", bytes => {
        const lines = (part + bytes).split("\n");
        part = lines.pop();
        for (const line of lines) {
            told(`the browser: ${line}`);
            said.push(line);
        }
    });
    return { said, end: new Promise(done => { child.on("exit", code => done(code)); }) };
}

async function main() {
    nameServer();
    const pebble = await authority();
    const home = browsersHome();
    begun = performance.now();
    const controller = role("controller", {
        server: {
            domain: "neck.test", admin_token: TOKEN, state_dir: file("controller-state"), operator_listen: "none",
            acme: { directory: "https://ca.test:14000/dir", ca_file: file("ca.pem") },
        },
        workers: { heartbeat_interval: "500ms", heartbeat_timeout: "5s" },
    });
    role("worker", {
        server: { listen: `${ADDRESSES.far}:0`, admin_token: TOKEN, worker_id: "one", state_dir: file("worker-state") },
        controller: { url: "https://neck.test", token: TOKEN, heartbeat_interval: "500ms", ca_file: file("root.pem") },
        sessions: { data_dir: file("sessions"), allowed_bodies: ["127.0.2.0/24"], force_relay: false, web_server: install() },
        webrtc: { udpmux: "any", ip_retrieval_url: "off" },
    });
    const first = await until("a certificate", () => certificate().serial, 60_000);
    told(`a certificate of ${certificate().issuer}`);
    const url = await session();
    told("a session");
    // As somebody types it: without HTTPS.
    const visitor = visit(url.replace("https://", "http://"), home);
    let renewals = 0;
    let serial = first;
    const watch = setInterval(() => {
        const now = certificate().serial;
        if (now !== serial) {
            [serial, renewals] = [now, renewals + 1];
            told(`renewal ${renewals}`);
        }
    }, 1_000);
    const code = await visitor.end;
    clearInterval(watch);
    const seen = pattern => pebble.output.match(pattern)?.length ?? 0;
    const issued = () => seen(/Added order/g) === seen(/Issued certificate/g);
    // The last one may just have been begun.
    await until("the last order is issued", issued, 30_000);
    console.log(`${renewals} renewals while it was there, ${seen(/Added order/g)} orders in all`);
    if (code !== 0 || renewals === 0) {
        throw new Error(`the browser ended with ${code}\n${controller.output}`);
    }
}

try {
    await main();
} catch (error) {
    console.error(error.message);
    running.forEach(({ name, output }) => console.error(`---- ${name}\n${output.slice(-4_000)}`));
    process.exitCode = 1;
} finally {
    running.forEach(({ child }) => child.kill("SIGKILL"));
    await Promise.all(running.map(it => until(`${it.name} ends`, () => it.ended)));
    network.close();
    places.forEach(place => rmSync(place, { recursive: true, force: true }));
    rmSync(dir, { recursive: true, force: true });
}
