// The last things that a person can see: "Stream ended", "Connection lost", "The stream does not start".

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
        // Who never had a stream has nothing to rate, and who only watched it does not speak for the one whose it was.
        const unrated = SETTINGS.viewer || ["create_failed", "connect_timeout", "unknown"].includes(reason);
        const rated = unrated ? null : new Rating().element;
        this.#show(say("ended"), reasonInWords(reason), [this.#wayBack("main"), this.#report.link(reason)], rated);
    }

    /** The server cannot be reached; `again` tries once more. */
    async lost(again) {
        await this.#tryAgain(say("lost"), "lost", again);
    }

    /** The server is there, and the stream does not come, for this reason; `again` tries once more. */
    async stuck(why, again) {
        await this.#tryAgain(say(why === "unstable" ? "lost" : "stuck"), why, again);
    }

    async #tryAgain(title, reason, again) {
        await releasePage();
        const actions = [makeButton("main", say("tryAgain"), again), this.#wayBack("other"), this.#report.link(reason)];
        this.#show(title, reasonInWords(reason), actions, null);
    }

    /** A proxy in front of the server passes no WebSockets. */
    async blocked() {
        await releasePage();
        const again = makeButton("main", say("tryAgain"), () => location.reload());
        this.#show(say("blocked"), reasonInWords("blocked"), [again, this.#wayBack("other"), this.#report.link("blocked")], null);
    }

    #show(title, text, actions, rating) {
        const words = make("div", { class: "words" }, make("h2", { id: "title" }, title), make("p", { id: "text" }, text),
            make("div", { class: "actions" }, ...actions));
        const dialog = this.#overlay.dialog(rating ? "end rated" : "end", { final: true }, words, rating);
        dialog?.setAttribute("aria-describedby", "text");
    }

    /** Out of here: into a new stream, for whose stream it was. */
    #wayBack(className) {
        const target = pageUrl(SETTINGS.returnUrl);
        const words = SETTINGS.viewer ? "back" : "startNew";
        return target ? make("a", { class: className, href: target }, say(words)) : null;
    }
}
