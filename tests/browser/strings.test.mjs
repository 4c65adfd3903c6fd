// The words and who chooses them: no browser needed.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "./support/timed.mjs";
import vm from "node:vm";
import { strings } from "./support/standin.mjs";

const WEB = new URL("../../web/", import.meta.url);
const source = await readFile(new URL("overlay/i18n.js", WEB), "utf8");
const tables = await strings();

function evaluate(languages, expression) {
    const context = { navigator: { languages }, STRINGS: tables };
    return vm.runInNewContext(`${source}; ${expression}`, context);
}

// SPEC 6: English, Dutch, French, German, on our own pages too
// Also: `the first language that we speak is taken`, `every string that the scripts ask for is in
// the table, and none is there for nobody`, `every_end_reason_has_words_in_every_language`,
// `a_page_has_its_words_in_every_language`
test("every language has every string, none is empty", () => {
    for (const [language, table] of Object.entries(tables)) {
        assert.deepEqual(Object.keys(table), Object.keys(tables.en), language);
        assert.deepEqual(Object.entries(table).filter(([, words]) => words.trim() === ""), [], language);
    }
});

test("a value has its place in every language", () => {
    const places = words => (words.match(/\{\w+\}/g) ?? []).sort();
    for (const [language, table] of Object.entries(tables)) {
        for (const [key, words] of Object.entries(table)) {
            assert.deepEqual(places(words), places(tables.en[key]), `${language} ${key}`);
        }
    }
});

test("every string that the scripts ask for is in the table, and none is there for nobody", async () => {
    const files = (await readdir(new URL("overlay/", WEB))).filter(name => name.endsWith(".js"));
    const scripts = await Promise.all(files.map(name => readFile(new URL(`overlay/${name}`, WEB), "utf8")));
    const pages = await readFile(new URL("../src/api/pages.rs", WEB), "utf8");
    const all = [...scripts, pages].join("\n");
    const asked = [...all.matchAll(/say\("([\w.]+)"/g)].map(match => match[1]);
    assert.deepEqual(asked.filter(key => !Object.hasOwn(tables.en, key)), []);
    // Keys that are put together are found by their first part.
    const made = ["reason.", "stats.", "rating.", "mic."];
    const unused = Object.keys(tables.en).filter(key => !all.includes(`"${key}"`) && !made.some(part => key.startsWith(part)));
    assert.deepEqual(unused, []);
});

test("the first language that we speak is taken", () => {
    assert.equal(evaluate(["ja", "fr-CA", "de"], "LANGUAGE"), "fr");
    assert.equal(evaluate(["toString"], "LANGUAGE"), "en");
});

test("an unknown reason still has words", () => {
    assert.match(evaluate(["en"], `reasonInWords("constructor")`), /does not exist any more/);
});

test("words with a value say it", () => {
    assert.equal(evaluate(["nl"], `say("rating.given", { n: 4 })`), "4 van 5 sterren");
});
