// The two last things that a person can see: "Stream ended" and "Connection lost".

class End {
    #overlay;
    #report;

    constructor(overlay, report) {
        this.#overlay = overlay;
        this.#report = report;
    }

    /** The session is over, for this reason code. */
    async ended(reason) {
        this.#overlay.endDock();
        await releasePage();
        // Who never had a stream has nothing to rate.
        const rated = ["create_failed", "connect_timeout", "unknown"].includes(reason) ? null : new Rating().element;
        this.#show(say("ended"), reasonInWords(reason), [this.#startNew("main"), this.#report.link(reason)], rated);
    }

    /** The server cannot be reached; `again` tries once more. */
    async lost(again) {
        await releasePage();
        const actions = [makeButton("main", say("tryAgain"), again), this.#startNew("other"), this.#report.link("lost")];
        this.#show(say("lost"), reasonInWords("lost"), actions, null);
    }

    #show(title, text, actions, rating) {
        const words = make("div", { class: "words" }, make("h2", { id: "title" }, title), make("p", { id: "text" }, text),
            make("div", { class: "actions" }, ...actions));
        const dialog = this.#overlay.dialog(rating ? "end rated" : "end", { final: true }, words, rating);
        dialog?.setAttribute("aria-describedby", "text");
    }

    #startNew(className) {
        const target = pageUrl(SETTINGS.returnUrl);
        return target ? make("a", { class: className, href: target }, say("startNew")) : null;
    }
}
