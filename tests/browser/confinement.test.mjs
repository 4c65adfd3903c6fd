// One origin for all sessions: a stream process's page that reaches for the rest of the origin gets nothing.
import assert from "node:assert/strict";
import http from "node:http";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "./support/timed.mjs";
import { openBrowser, until, untilEqual, untilPlaying } from "./support/browser.mjs";
import { childrenNamed } from "./support/demo.mjs";
import { startProduct } from "./support/product.mjs";

/** Puts pages and reply fields of the test's own into the product's stream process; a new session begins with them. */
async function hostileSession(product, fields, pages) {
    const child = await until("its process", () => childrenNamed(product.pid, "web-server")[0]);
    const program = (await readFile(`/proc/${child}/cmdline`, "utf8")).split("\0")[0];
    const install = dirname(program);
    await mkdir(join(install, "static/below"), { recursive: true });
    for (const [name, text] of Object.entries(pages)) {
        await writeFile(join(install, "static", name), text);
    }
    await writeFile(join(install, "faults.json"), JSON.stringify({ fields }));
    const { session_id: id } = await product.create({ body_ip: "127.0.0.1", replace: true });
    return new URL(`/session/${id}/`, product.origin).href;
}

// In the place of the stream's page: other pages of a process are not served.
const HOSTILE = {
    "stream.html": "<!doctype html><html><head><title>hostile</title></head><body>hostile</body></html>",
    "worker.js": "addEventListener('fetch', event => event.respondWith(new Response('taken over')));",
};

const FIELDS = [
    ["Service-Worker-Allowed", "/"], ["Set-Cookie", "field=1; Path=/"], ["Set-Cookie", "neck-operator=1; Path=/"],
    ["Clear-Site-Data", "\"cookies\", \"storage\""], ["Referrer-Policy", "unsafe-url"],
];

// SPEC edge: What a tab keeps of one session tells another session's page nothing of it
test("a stream process's page gets no worker and no cookie beyond its session", async () => {
    const product = await startProduct();
    const browser = await openBrowser();
    try {
        const base = await hostileSession(product, FIELDS, HOSTILE);
        const page = browser.page;
        // The person was in another session, in the same tab, which the process's page shares a good deal with.
        const other = await product.create({ body_ip: "127.0.0.2", engine: "demo" });
        await page.goto(other.stream_url);
        await until("it keeps something", () => page.evaluate(() => sessionStorage.length > 0));
        // What another page of the origin keeps is not the process's to clear.
        await page.goto(`${product.origin}/api/v1/health`);
        await page.evaluate(() => { localStorage.setItem("kept", "yes"); document.cookie = "kept=yes; path=/"; });
        await page.goto(`${base}stream.html`);
        const shared = await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.referrer,
            (window.navigation?.entries() ?? []).map(entry => entry.url)]));
        assert.ok(!shared.includes(other.session_id), `where the person was: ${shared}`);
        assert.match(shared, /stream\.html/, "its own entry is there");
        const worker = scope => page.evaluate(async wanted => {
            try {
                return (await navigator.serviceWorker.register("worker.js", { scope: wanted })).scope;
            } catch (error) {
                return error.name;
            }
        }, scope);
        assert.equal(await worker("/"), "SecurityError");
        assert.equal(await worker("/session/"), "SecurityError");
        assert.equal(await worker(`${base}below/`), `${base}below/`, "its own path is its own");
        const ours = await page.evaluate(url => navigator.serviceWorker.register(url).then(() => "taken", error => error.name),
            `${base}_neck/overlay.js`);
        assert.notEqual(ours, "taken", "our scripts are nobody's worker");
        await page.evaluate(async () => {
            document.cookie = "script=1; path=/";
            document.cookie = "other=1; Path=/session/; domain=127.0.0.1";
            await window.cookieStore?.set("stored", "1");
        });
        const names = async url => (await browser.context.cookies(url)).map(({ name }) => name).sort();
        assert.deepEqual(await names(`${product.origin}/`), ["kept"], JSON.stringify(await browser.context.cookies()));
        assert.deepEqual(await names(`${product.origin}/session/${"0".repeat(32)}/`), ["kept"]);
        const own = await names(base);
        assert.ok(["field", "kept", "other", "script"].every(name => own.includes(name)), `its own are there: ${own}`);
        assert.ok(!own.some(name => name.startsWith("neck-")), `none of ours: ${own}`);
        assert.equal(await page.evaluate(() => localStorage.getItem("kept")), "yes");
        await page.goto(`${product.origin}/session/${"0".repeat(32)}/`);
        // No worker answers for other sessions.
        await until("our own page", async () => (await page.content()).includes("does not exist any more"));
        assert.deepEqual(browser.errors, []);
    } finally {
        await browser.close();
        await product.stop();
    }
});

test("who is not named shows no stream in a frame, and no page tells its address to others", async () => {
    const product = await startProduct();
    const browser = await openBrowser();
    const seen = [];
    const elsewhere = http.createServer((request, reply) => {
        seen.push(`${request.url} ${request.headers.referer ?? "none"}`);
        const frame = request.url.startsWith("/frame") ? `<iframe src="${new URL(request.url, "http://x").searchParams.get("of")}"></iframe>` : "";
        reply.setHeader("Content-Type", "text/html").end(`<title>elsewhere</title>${frame}`);
    });
    await new Promise(done => elsewhere.listen(0, "127.0.0.1", done));
    // Another site: the same address under another name.
    const outside = `http://localhost:${elsewhere.address().port}`;
    try {
        const { view_url: viewer } = await product.create({ body_ip: "127.0.0.2", engine: "demo" });
        const page = browser.page;
        for (const url of [product.url, viewer]) {
            await page.goto(`${outside}/frame?of=${encodeURIComponent(url)}`);
            const frame = await until("the frame", () => page.frames().find(each => each !== page.mainFrame()));
            await until("the browser refuses the frame", () => frame.url().startsWith("chrome-error:"));
        }
        await page.goto(product.url);
        await untilPlaying(page);
        for (const url of [product.url, viewer]) {
            await page.goto(url);
            await page.evaluate(to => {
                document.body.append(Object.assign(document.createElement("a"), { href: to, id: "out", textContent: "out" }));
                document.getElementById("out").click();
            }, `${outside}/from`);
            await page.waitForURL(`${outside}/from`);
        }
        await untilEqual("what was told elsewhere", () => seen.filter(line => line.startsWith("/from")), ["/from none", "/from none"]);
    } finally {
        await browser.close();
        elsewhere.close();
        elsewhere.closeAllConnections();
        await product.stop();
    }
});
