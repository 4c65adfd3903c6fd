// Every word that a person reads stands in web/i18n, one table for each language, which are joined into STRINGS.

/** The first of the browser's languages that we speak, else English. */
function chooseLanguage(preferred) {
    const spoken = preferred.map(tag => tag.toLowerCase().split("-")[0]).find(tag => Object.hasOwn(STRINGS, tag));
    return spoken ?? "en";
}

const LANGUAGE = chooseLanguage(navigator.languages ?? [navigator.language ?? "en"]);

/** The words under this key, with `{name}` replaced by its value. */
function say(key, values = {}) {
    const words = STRINGS[LANGUAGE][key] ?? "";
    return words.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** A reason code in words. A code that is newer than this script reads as "does not exist any more". */
function reasonInWords(code) {
    // What its owner left was ended for those who watched.
    const key = code === "quit" && SETTINGS.viewer ? "viewer.quit" : `reason.${code}`;
    return say(Object.hasOwn(STRINGS[LANGUAGE], key) ? key : "reason.unknown");
}
