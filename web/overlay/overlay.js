// What we put over the stream, in a closed shadow root:
//
//   notice    trouble, leaving: lets everything through, has no control
//   cover     the same over a dimmed page, whose own words are misleading then
//   toast     one message with a close button, at the top
//   dock      our buttons, bottom right; a panel opens above them
//   dialog    modal: covers the stream; the end is one, and final
//
// Keys: what is pressed here never reaches the page, and what is pressed there never reaches us. A key that goes down on
// one side comes up on the same side, so that none stays pressed when the focus moves.
// Focus: taken when the person opens something, and given back. The dialog at the end takes it too, because there is no
// stream any more, but puts it on no control: a key that was meant for the stream does nothing then.

/** What must not travel from our controls to the page's listeners. */
const POINTER_EVENTS = ["click", "dblclick", "auxclick", "contextmenu", "mousedown", "mouseup", "mousemove", "wheel",
    "pointerdown", "pointerup", "pointermove", "touchstart", "touchmove", "touchend", "touchcancel"];
const KEY_EVENTS = ["keydown", "keyup", "keypress", "beforeinput", "input", "paste", "cut", "copy",
    "compositionstart", "compositionupdate", "compositionend"];

/** After this long without a moving pointer the dock steps back. */
const CALM_MS = 4_000;

/** Full screen is left within this time, or what comes next does not wait for it. */
const LEAVE_FULL_SCREEN_MS = 1_000;

/** A captured pointer or keyboard would keep the person from our controls, full screen from seeing where links lead. */
async function releasePage() {
    document.exitPointerLock?.();
    navigator.keyboard?.unlock?.();
    if (document.fullscreenElement) {
        const left = document.exitFullscreen().catch(() => {});
        await Promise.race([left, new Promise(done => setTimeout(done, LEAVE_FULL_SCREEN_MS))]);
    }
}

class Overlay {
    #host = make("div");
    #root;
    #region = make("div", { class: "region", "aria-live": "assertive" });
    #toasts = make("div", { class: "toasts", "aria-live": "polite" });
    #corner = make("div", { class: "corner" });
    #dock = make("div", { class: "dock", role: "group", hidden: true });
    #shown = "";
    #dialog = null;
    #panel = null;
    #down = new Set();
    #calmTimer = 0;

    constructor() {
        this.#root = this.#host.attachShadow({ mode: "closed" });
        this.#corner.append(this.#dock);
        this.#root.append(this.#region, this.#toasts, this.#corner);
        if ("adoptedStyleSheets" in this.#root) {
            // Unlike a style element, allowed whatever policy the page has.
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(STYLE);
            this.#root.adoptedStyleSheets = [sheet];
        } else {
            this.#root.append(make("style", { nonce: NONCE }, STYLE));
        }
        this.#host.lang = LANGUAGE;
        for (const type of POINTER_EVENTS) {
            this.#host.addEventListener(type, event => event.stopPropagation(), { passive: true });
        }
        for (const type of KEY_EVENTS) {
            window.addEventListener(type, event => this.#sortKey(event), { capture: true });
        }
        // A release is not heard by a window that lost the keyboard.
        window.addEventListener("blur", event => event.target === window && this.#down.clear());
        document.addEventListener("visibilitychange", () => document.hidden && this.#down.clear());
        window.addEventListener("pointerdown", event => {
            if (this.#panel?.light && !event.composedPath().includes(this.#host)) {
                this.closePanel();
            }
        }, { capture: true, passive: true });
        window.addEventListener("pointermove", () => this.#stir(), { capture: true, passive: true });
        document.addEventListener("fullscreenchange", () => this.#raise());
        document.addEventListener("pointerlockchange", () => this.#stir());
    }

    /** Puts a button into the dock, right of those before it. */
    addToDock(button) {
        // A click there is no reason for the stream to lose the keyboard.
        button.addEventListener("mousedown", event => event.preventDefault());
        this.#dock.append(button);
        this.#dock.setAttribute("aria-label", "hydraneck");
        this.#dock.hidden = false;
        this.#attach();
        this.#stir();
    }

    /** "notice" or "cover". */
    notice(kind, title, text) {
        const key = `${kind} ${title} ${text}`;
        if (this.#dialog || this.#shown === key) {
            return;
        }
        this.#shown = key;
        this.#host.dataset.shows = kind;
        const words = make("div", {}, make("h2", {}, title), ...(text ? [make("p", {}, text)] : []));
        this.#region.replaceChildren(make("div", { class: `box ${kind}` }, make("div", { class: "spinner" }), words));
        this.#attach();
        this.#raise();
    }

    /** Hides the notice or cover. */
    clear() {
        if (this.#shown !== "") {
            this.#shown = "";
            delete this.#host.dataset.shows;
            this.#region.replaceChildren();
        }
    }

    /** One message at the top; without words it goes. A new one replaces the last. */
    toast(title, text) {
        if (!title) {
            this.#toasts.replaceChildren();
            return;
        }
        const close = makeButton("round plain", icon("close"), () => {
            this.#toasts.replaceChildren();
            this.#root.activeElement?.blur();
        });
        close.setAttribute("aria-label", say("close"));
        const words = make("div", {}, make("h2", {}, title), make("p", {}, text));
        this.#toasts.replaceChildren(make("div", { class: "box toast" }, icon("warn"), words, close));
        this.#attach();
        this.#raise();
    }

    /** Opens `panel` above the dock, or closes it when it is the open one. */
    togglePanel(panel, opener, options = {}) {
        const wasOpen = this.#panel?.panel === panel;
        this.closePanel();
        if (!wasOpen) {
            this.#openPanel(panel, opener, options);
        }
    }

    panelIs(panel) {
        return this.#panel?.panel === panel;
    }

    /** `focus`: the panel has controls that the person came for. `light`: a click beside it closes it. */
    #openPanel(panel, opener, { focus = false, light = false }) {
        this.#attach();
        this.#panel = { panel, opener, light, back: document.activeElement };
        panel.tabIndex = -1;
        this.#corner.prepend(panel);
        opener.setAttribute("aria-expanded", "true");
        if (focus) {
            panel.focus({ preventScroll: true });
        }
    }

    /** Closes whatever panel is open and gives the focus back if it was in there. */
    closePanel() {
        if (!this.#panel) {
            return;
        }
        const { panel, opener, back } = this.#panel;
        this.#panel = null;
        opener.setAttribute("aria-expanded", "false");
        const hadFocus = panel.contains(this.#root.activeElement);
        panel.remove();
        if (hadFocus) {
            this.#giveFocus(back === this.#host ? opener : back);
        }
    }

    #giveFocus(target) {
        if (target && target !== document.body && target.isConnected) {
            target.focus({ preventScroll: true });
        } else {
            this.#root.activeElement?.blur();
        }
    }

    /**
     * Opens a modal dialog over everything, labelled by its `h2`. A final one stays whatever is pressed; another one
     * is closed by Escape, and the focus returns to where it was.
     */
    dialog(className, { final = false }, ...children) {
        if (this.#dialog?.final) {
            return null;
        }
        // What is final replaces a question that is still open.
        this.closeDialog();
        this.closePanel();
        this.clear();
        this.#attach();
        const element = make("dialog", { class: `box ${className}`, "aria-labelledby": "title", tabindex: "-1" }, ...children);
        element.addEventListener("cancel", event => {
            if (final) {
                event.preventDefault();
            }
        });
        element.addEventListener("close", () => this.#closed(element));
        this.#present({ element, final });
        return element;
    }

    /** Closes a dialog that is not final; the focus returns to where it was. */
    closeDialog() {
        if (this.#dialog && !this.#dialog.final) {
            const { element } = this.#dialog;
            this.#dialog = null;
            delete this.#host.dataset.shows;
            element.close();
            element.remove();
        }
    }

    /** The browser closed it. */
    #closed(element) {
        if (this.#dialog?.element === element && this.#dialog.final) {
            // Some do so at the second Escape in a row whatever we say.
            element.remove();
            this.#present(this.#dialog);
        } else if (this.#dialog?.element === element) {
            this.closeDialog();
        }
    }

    #present(dialog) {
        this.#dialog = null;
        this.#raise();
        this.#dialog = dialog;
        this.#host.dataset.shows = "dialog";
        this.#root.append(dialog.element);
        dialog.element.showModal();
        dialog.element.focus({ preventScroll: true });
    }

    /** The dock and what hangs on it are for a stream that runs. */
    endDock() {
        this.closePanel();
        this.#toasts.replaceChildren();
        this.#corner.remove();
    }

    #sortKey(event) {
        const here = Boolean(this.#dialog) || event.composedPath().includes(this.#host);
        if (event.type === "keyup") {
            if (this.#down.delete(event.code)) {
                event.stopImmediatePropagation();
            }
            return;
        }
        if (!here) {
            this.#heardOutside(event);
            return;
        }
        event.stopImmediatePropagation();
        if (event.type === "keydown") {
            this.#down.add(event.code);
            this.#pressed(event);
        }
    }

    /** A key that is held since the overlay had the focus stays ours. One that goes down anew was released where nobody told us. */
    #heardOutside(event) {
        if (event.type !== "keydown" || !this.#down.has(event.code)) {
            return;
        }
        if (event.repeat) {
            event.stopImmediatePropagation();
        } else {
            this.#down.delete(event.code);
        }
    }

    #pressed(event) {
        if (event.key === "Escape" && this.#dialog?.final) {
            event.preventDefault();
        } else if (event.key === "Escape" && this.#panel && !this.#dialog && !event.isComposing) {
            event.preventDefault();
            this.closePanel();
        } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat && !this.#dialog) {
            const typing = this.#root.activeElement?.matches("textarea, select, input");
            const shortcut = typing ? null : this.shortcuts[event.key.toLowerCase()];
            shortcut?.();
        }
    }

    /** Letters that do something while the overlay has the focus, and then only. */
    shortcuts = {};

    #stir() {
        const locked = Boolean(document.pointerLockElement);
        this.#host.classList.toggle("calm", locked);
        clearTimeout(this.#calmTimer);
        if (!locked) {
            this.#calmTimer = setTimeout(() => this.#host.classList.add("calm"), CALM_MS);
        }
    }

    #attach() {
        if (!this.#host.isConnected && document.body) {
            document.documentElement.append(this.#host);
            this.#raise();
        } else if (!this.#host.isConnected) {
            document.addEventListener("DOMContentLoaded", () => this.#attach(), { once: true });
        }
    }

    /** Into the browser's top layer, above an element that the page made full screen. */
    #raise() {
        if (!this.#host.showPopover || !this.#host.isConnected || this.#dialog) {
            return;
        }
        this.#host.popover = "manual";
        const focused = this.#root.activeElement;
        if (this.#host.matches(":popover-open")) {
            this.#host.hidePopover();
        }
        this.#host.showPopover();
        focused?.focus({ preventScroll: true });
    }
}
