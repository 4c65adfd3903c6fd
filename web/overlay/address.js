// Where this page is, without what a link like `https://user:password@host/…` has before its host. What is asked for relatively
// is resolved against the page's address, and `fetch` and `EventSource` refuse an address with credentials; the browser sends
// them by itself.

/** The page's own address. */
const HERE = location.origin + location.pathname + location.search;

/** The session's address: everything of ours is below it. */
const BASE_URL = location.origin + SETTINGS.base;

/** A stream process's page asks relatively, too: it gets a base without credentials. Ours asks by `BASE_URL`. */
function dropCredentials() {
    const { username, password } = new URL(document.baseURI);
    if ((username || password) && SETTINGS.engine === "moonlight" && !SETTINGS.endReason) {
        const base = document.createElement("base");
        base.href = HERE;
        document.head.prepend(base);
    }
}
