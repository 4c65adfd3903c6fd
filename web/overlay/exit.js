// The page's own Exit button ends the session on the server and leads back to where the person came from. By itself
// the page would only try window.close(), which browsers refuse in an ordinary tab.

/** The server has this long to confirm; the person leaves in any case. */
const QUIT_LIMIT_MS = 3_000;

/** Version-specific: the button has neither id nor class, it is the last one that says "Exit". */
function isExitButton(target) {
    const button = target instanceof Element ? target.closest("#sidebar-parent .sidebar-stream-buttons button") : null;
    if (!button) {
        return false;
    }
    const all = [...button.closest(".sidebar-stream-buttons").querySelectorAll("button")];
    return all.findLast(other => other.textContent.trim() === "Exit") === button;
}

async function quit() {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), QUIT_LIMIT_MS);
    try {
        await fetch(SETTINGS.base + "quit", {
            method: "POST", headers: { "Content-Type": "application/json" }, body: "{}", keepalive: true,
            signal: limit.signal,
        });
    } catch {
        // The server ends the session by itself when nobody is connected.
    } finally {
        clearTimeout(timer);
    }
}

function takeOverExit(overlay, watch) {
    let leaving = false;
    window.addEventListener("click", async event => {
        if (!isExitButton(event.composedPath()[0])) {
            return;
        }
        event.preventDefault();
        event.stopImmediatePropagation();
        if (leaving) {
            return;
        }
        leaving = true;
        watch.stop();
        overlay.notice("notice", TEXT.leaving, "");
        await quit();
        const target = pageUrl(SETTINGS.returnUrl);
        if (target) {
            location.assign(target);
        } else {
            overlay.card(TEXT.ended, TEXT.reason.quit);
        }
    }, { capture: true });
}
