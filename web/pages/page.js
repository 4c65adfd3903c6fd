
// Only the words and, while something is on its way, the looking again: the page is whole without this script.
const languages = (navigator.languages || [navigator.language || "en"]).map(tag => tag.toLowerCase().split("-")[0]);
const language = languages.find(code => Object.hasOwn(WORDS, code)) || "en";
document.documentElement.lang = language;
for (const [id, words] of Object.entries(WORDS[language] || {})) {
    const element = document.getElementById(id);
    if (element) {
        element.textContent = words;
    }
}
document.title = document.getElementById("title").textContent;
const lookAgain = async () => {
    let ready = false;
    try {
        const reply = await fetch(location.origin + location.pathname + location.search, { cache: "no-store", redirect: "manual", headers: { Accept: "text/html" } });
        ready = reply.status !== 503 && reply.status < 500;
    } catch {
        // No network: it may come back.
    }
    if (ready) {
        location.reload();
    } else {
        setTimeout(lookAgain, AGAIN_MS);
    }
};
if (AGAIN_MS > 0) {
    setTimeout(lookAgain, AGAIN_MS);
}
