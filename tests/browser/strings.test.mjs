// The table of strings: no browser needed.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";

const source = await readFile(new URL("../../web/overlay/i18n.js", import.meta.url), "utf8");

function evaluate(languages, expression) {
    return vm.runInNewContext(`${source}; ${expression}`, { navigator: { languages } });
}

const keys = table => Object.entries(table).flatMap(([key, value]) =>
    typeof value === "string" ? [key] : keys(value).map(inner => `${key}.${inner}`));

test("every language has every string, none is empty", () => {
    const strings = evaluate([], "STRINGS");
    for (const [language, table] of Object.entries(strings)) {
        assert.deepEqual(keys(table), keys(strings.en), language);
        assert.ok(Object.values({ ...table, ...table.reason }).every(value => value !== ""), language);
    }
});

test("the first language that we speak is taken", () => {
    assert.equal(evaluate(["ja", "fr-CA", "de"], "LANGUAGE"), "fr");
    assert.equal(evaluate(["toString"], "LANGUAGE"), "en");
});

test("an unknown reason still has words", () => {
    assert.match(evaluate(["en"], `reasonInWords("constructor")`), /does not exist any more/);
});
