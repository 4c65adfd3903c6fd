// Leaving: the session ends on the server and the page leads back to where the person came from. The stream page's own
// Exit button would only try window.close(), which browsers refuse in an ordinary tab. It stands in a menu, so it leaves
// at once; the button in our dock, for pages without one of their own, asks first.

/** The server has this long to confirm; the person leaves in any case. */
const QUIT_LIMIT_MS = 3_000;

/** Version-specific: the button has neither id nor class, and its text is the language's. In v2.6, v2.10 and v3 it is the last. */
function isExitButton(target) {
    const button = target instanceof Element ? target.closest("#sidebar-parent .sidebar-stream-buttons button") : null;
    return button !== null
        && [...button.closest(".sidebar-stream-buttons").querySelectorAll("button")].at(-1) === button;
}

class Exit {
    #overlay;
    #prepare;
    #stay;
    #leaving = false;

    /** `prepare` stops everything else, first; `stay` shows the end when there is nowhere to go. */
    constructor(overlay, prepare, stay) {
        this.#overlay = overlay;
        this.#prepare = prepare;
        this.#stay = stay;
        window.addEventListener("click", event => {
            if (isExitButton(event.composedPath()[0])) {
                event.preventDefault();
                event.stopImmediatePropagation();
                this.leave();
            }
        }, { capture: true });
    }

    addButton() {
        const button = makeButton("round", icon("leave"), () => this.#ask());
        button.setAttribute("aria-label", say("exit"));
        button.setAttribute("data-tip", say("exit"));
        this.#overlay.addToDock(button);
    }

    async #ask() {
        await releasePage();
        const dialog = this.#overlay.dialog("question", {},
            make("h2", { id: "title" }, say("exit.question")), make("p", { id: "text" }, say("exit.text")),
            // The bright button is the one that loses nothing.
            make("div", { class: "actions" },
                makeButton("main", say("exit.stay"), () => this.#overlay.closeDialog()),
                makeButton("other danger", say("exit.leave"), () => {
                    this.#overlay.closeDialog();
                    this.leave();
                })));
        dialog?.setAttribute("aria-describedby", "text");
    }

    async leave() {
        if (this.#leaving) {
            return;
        }
        this.#leaving = true;
        this.#prepare();
        await releasePage();
        this.#overlay.notice("notice", say("leaving"), "");
        await this.#quit();
        const target = pageUrl(SETTINGS.returnUrl);
        if (target) {
            location.assign(target);
        } else {
            this.#stay();
        }
    }

    /** Told once more by beacon when the page goes before the server confirmed; ending twice is ending once. */
    async #quit() {
        const beacon = () => sendBeacon("quit", {});
        window.addEventListener("pagehide", beacon);
        const { status } = await call("POST", "quit", { body: {}, keepalive: true, limitMs: QUIT_LIMIT_MS });
        if (status > 0) {
            window.removeEventListener("pagehide", beacon);
        }
    }
}
