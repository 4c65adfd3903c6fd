// The card over the stream, in a closed shadow root. It shows one of:
//
//   nothing ── notice (shaky, leaving): lets everything through, has no control
//       ├───── cover (broken): the same, over a dimmed page, whose own words are misleading then
//       └───── card (ended, lost): covers the stream, has a link and perhaps a button; final but for a reload
//
// It never takes the focus. While the card is shown the page is inert and hears no keys any more (it would swallow Tab
// and Enter), so that the card's controls are the next ones the keyboard reaches.

const STYLE = `
:host { all: initial; position: fixed; inset: 0; width: auto; height: auto; margin: 0; padding: 0; border: 0;
    z-index: 2147483647; display: none; background: transparent; overflow: hidden; pointer-events: none;
    color-scheme: dark; font: 400 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
:host([data-shows]) { display: grid; place-items: center; }
:host([data-shows="card"]) { pointer-events: auto; }
:host(:is([data-shows="card"], [data-shows="cover"])) { background: rgb(8 10 14 / .66);
    -webkit-backdrop-filter: blur(8px); backdrop-filter: blur(8px); animation: appear .3s ease-out; }
.box { box-sizing: border-box; color: #f2f4f8; background: rgb(22 25 32 / .97);
    border: 1px solid rgb(255 255 255 / .12); box-shadow: 0 16px 48px rgb(0 0 0 / .45); animation: rise .25s ease-out; }
.notice { display: flex; align-items: center; gap: 1rem; max-width: min(36rem, 92vw); padding: 1rem 1.5rem;
    border-radius: 1rem; }
.card { width: min(28rem, 92vw); max-height: 92vh; overflow: auto; padding: 2rem; border-radius: 1.25rem;
    text-align: center; }
h2, p { margin: 0; }
h2 { font-size: 1.0625rem; font-weight: 600; }
.card h2 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; }
p { color: #b9c0cc; font-size: .9375rem; }
.card p { margin-top: .625rem; font-size: 1rem; }
.actions { display: flex; flex-wrap: wrap; justify-content: center; gap: .75rem; margin-top: 1.75rem; }
a, button { box-sizing: border-box; min-height: 3rem; padding: .6875rem 1.5rem; border-radius: .75rem; cursor: pointer;
    border: 1px solid transparent; font: inherit; font-weight: 600; text-decoration: none; flex: 1 1 auto; }
.main { background: #eef2ff; color: #10131a; }
.main:hover { background: #fff; }
.other { background: transparent; color: #f2f4f8; border-color: rgb(255 255 255 / .28); }
.other:hover { background: rgb(255 255 255 / .08); }
a:focus-visible, button:focus-visible { outline: 3px solid #8ab4ff; outline-offset: 3px; }
.spinner { flex: none; width: 1.5rem; height: 1.5rem; border-radius: 50%; border: 3px solid rgb(255 255 255 / .2);
    border-top-color: #eef2ff; animation: turn 1s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
@keyframes appear { from { opacity: 0; } }
@keyframes rise { from { opacity: 0; transform: translateY(8px); } }
@media (prefers-reduced-motion: reduce) {
    :host([data-shows]), .box { animation: none; }
    .spinner { animation: none; border-top-color: rgb(255 255 255 / .2); border-style: dotted; }
}
@media (forced-colors: active) { .box, a, button { border: 1px solid; } }
`;

/** What must not travel from our controls to the page's listeners. */
const POINTER_EVENTS = ["click", "dblclick", "auxclick", "contextmenu", "mousedown", "mouseup", "mousemove", "wheel",
    "pointerdown", "pointerup", "pointermove", "touchstart", "touchmove", "touchend", "touchcancel"];
const KEY_EVENTS = ["keydown", "keyup", "keypress", "beforeinput", "input", "paste"];

/** An element with classes and text; never markup, so that nothing from a setting or a reply can become any. */
function make(tag, className, text) {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text ?? "";
    return element;
}

/** A link target that can only be a page: `javascript:` and the like become nothing. */
function pageUrl(text) {
    try {
        const url = new URL(text, location.href);
        return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
    } catch {
        return null;
    }
}

class Overlay {
    #host = document.createElement("div");
    #region = make("div", "region");
    #shown = "";

    constructor() {
        const root = this.#host.attachShadow({ mode: "closed" });
        root.append(this.#region);
        if ("adoptedStyleSheets" in root) {
            // Unlike a style element, allowed whatever policy the page has.
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(STYLE);
            root.adoptedStyleSheets = [sheet];
        } else {
            root.append(make("style", "", STYLE));
        }
        this.#host.lang = LANGUAGE;
        // Announces changes without moving the focus; it must exist before its content changes.
        this.#region.setAttribute("aria-live", "assertive");
        for (const type of POINTER_EVENTS) {
            this.#host.addEventListener(type, event => event.stopPropagation(), { passive: true });
        }
        for (const type of KEY_EVENTS) {
            window.addEventListener(type, event => this.#keepKey(event), { capture: true });
        }
    }

    #keepKey(event) {
        if (this.#host.dataset.shows === "card" || event.composedPath().includes(this.#host)) {
            event.stopImmediatePropagation();
        }
    }

    /** Hides whatever is shown. */
    clear() {
        if (this.#shown !== "") {
            this.#shown = "";
            delete this.#host.dataset.shows;
            this.#region.replaceChildren();
            this.#host.remove();
        }
    }

    /** A short notice with a spinner; `kind` is "notice" or "cover". */
    notice(kind, title, hint) {
        const words = make("div", "");
        words.append(make("h2", "", title), ...(hint ? [make("p", "", hint)] : []));
        const box = make("div", "box notice");
        const spinner = make("div", "spinner");
        spinner.setAttribute("aria-hidden", "true");
        box.append(spinner, words);
        this.#show(kind, `${kind} ${title} ${hint}`, box);
    }

    /** The card at the end. With `again`, a button that calls it comes first. */
    card(title, text, again) {
        const actions = make("div", "actions");
        if (again) {
            const button = make("button", "main", TEXT.tryAgain);
            button.type = "button";
            button.addEventListener("click", again);
            actions.append(button);
        }
        const target = pageUrl(SETTINGS.returnUrl);
        if (target) {
            const link = make("a", again ? "other" : "main", TEXT.startNew);
            link.href = target;
            actions.append(link);
        }
        const box = make("section", "box card");
        const heading = make("h2", "", title);
        heading.id = "title";
        box.setAttribute("aria-labelledby", heading.id);
        box.append(heading, make("p", "", text), actions);
        if (document.body) {
            document.body.inert = true;
        }
        this.#show("card", `card ${title} ${text}`, box);
        // A captured pointer or keyboard would keep the person from the link, and a screen reader finds nothing
        // outside a full screen element.
        document.exitPointerLock?.();
        if (document.fullscreenElement) {
            document.exitFullscreen().catch(() => {});
        }
        navigator.keyboard?.unlock?.();
    }

    #show(kind, key, box) {
        if (this.#shown === key) {
            return;
        }
        this.#shown = key;
        this.#host.dataset.shows = kind;
        if (!this.#host.isConnected) {
            document.documentElement.append(this.#host);
        }
        this.#raise();
        this.#region.replaceChildren(box);
    }

    /** Into the browser's top layer, above an element that the page made full screen. */
    #raise() {
        if (!this.#host.showPopover) {
            return;
        }
        this.#host.popover = "manual";
        if (this.#host.matches(":popover-open")) {
            this.#host.hidePopover();
        }
        this.#host.showPopover();
    }
}
