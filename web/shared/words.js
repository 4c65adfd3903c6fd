// The words of a page, in the person's language. TABLES holds one table for each, English first.

const LANGUAGE = (navigator.languages ?? [navigator.language ?? "en"])
    .map(tag => tag.toLowerCase().split("-")[0]).find(tag => Object.hasOwn(TABLES, tag)) ?? "en";

/** The words under this key, with `{name}` replaced by its value. */
function say(key, values = {}) {
    return (TABLES[LANGUAGE][key] ?? "").replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
