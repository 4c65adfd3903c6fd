// The table, for people: on the screen and in docs/clients.md.
import { readFile, writeFile } from "node:fs/promises";
import { CODECS, ROLES, SHAPES } from "./plan.mjs";

const DOCUMENT = new URL("../../docs/clients.md", import.meta.url);
const [BEGIN, END] = ["<!-- tests/clients/run writes from here -->", "<!-- to here -->"];

const SHORT = { plays: "✓", none: "–", FAILED: "**fails**" };
const NAMES = { h264: "H264", vp8: "VP8", publish: "publishes", watch: "watches" };

/** One client in one role: a column for each codec, and in it a mark for each shape unless all are alike. */
function row(cells, version, notes) {
    const [{ client, role }] = cells;
    const columns = CODECS.map(codec => {
        const results = SHAPES.map(shape => cells.find(cell => cell.codec === codec && cell.shape === shape)?.result ?? { mark: "none", told: "left out" });
        return SHAPES.map((_, index) => mark(results[index], client, notes)).join(" | ");
    });
    return `| ${[client.title, version(client)].filter(Boolean).join(" ")} | ${NAMES[role]} | ${columns.join(" | ")} |`;
}

function mark({ mark: name, told }, client, notes) {
    if (name === "plays") {
        return SHORT.plays;
    }
    if (name === "FAILED") {
        return SHORT.FAILED;
    }
    const text = name === "skipped" ? `not tried: ${told}` : name === "refused" ? "refused; the session's warnings say: use ECDSA P-256" : told;
    let index = notes.indexOf(text);
    if (index < 0) {
        index = notes.push(text) - 1;
    }
    return `${SHORT[name] ?? "✗"} (${index + 1})`;
}

/** The table of all cells. */
export function markdown(cells, version) {
    const notes = [];
    const head = CODECS.flatMap(codec => SHAPES.map(({ name }) => `${NAMES[codec]}: ${name}`));
    const clients = [...new Set(cells.map(({ client }) => client))];
    const rows = clients.flatMap(client => ROLES.map(role => {
        const own = cells.filter(cell => cell.client === client && cell.role === role);
        return row(own, version, notes);
    }));
    const lines = [
        `| client | role | ${head.join(" | ")} |`, `|---|---|${head.map(() => "---|").join("")}`, ...rows, "",
        ...notes.map((text, index) => `${index + 1}. ${text}`),
    ];
    return lines.join("\n");
}

/** Puts the table into the document, between its two marks. */
export async function writeDocument(table) {
    const text = await readFile(DOCUMENT, "utf8");
    const [before, rest] = text.split(BEGIN);
    const after = rest?.split(END)[1];
    if (after === undefined) {
        throw new Error(`docs/clients.md has no ${BEGIN} … ${END}`);
    }
    await writeFile(DOCUMENT, `${before}${BEGIN}\n\n${table}\n\n${END}${after}`);
}
