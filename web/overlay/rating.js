// Five stars and a comment.
//
//   choosing ── send ──► sending ── 200 ──► thanks ── "Change", as long as the server lets it ──► choosing
//      ▲                    │  ├── 409, 404 ──► done: rated before, or too late
//      └── anything else ◄──┘ with words and a chance to try again

/** As the server takes it; longer comments are cut while they are typed. */
const MAX_COMMENT = 1_000;

class Rating {
    /** The part of the dialog. */
    element = make("section", { class: "rating", "aria-live": "polite" });
    #stars = 0;
    #comment = "";
    #form = null;

    constructor() {
        const before = store.get("rated", null);
        if (before && before.until > Date.now()) {
            this.#stars = before.stars;
            this.#comment = before.comment;
            this.#thank(before.until - Date.now());
        } else if (before) {
            this.#done("rating.thanks", before.stars);
        } else {
            this.#choose();
        }
    }

    #choose() {
        const error = make("p", { class: "error", role: "alert" });
        const comment = make("textarea", { id: "comment", rows: "2", maxlength: String(MAX_COMMENT) });
        comment.value = this.#comment;
        const more = make("div", { class: "more", hidden: this.#stars === 0 },
            make("label", { for: "comment" }, say("rating.comment")), comment, error,
            make("button", { class: "other", type: "submit" }, say("rating.send")));
        const stars = make("div", { class: "stars" }, ...[1, 2, 3, 4, 5].map(count => this.#star(count, more)));
        this.#form = make("form", { on: { submit: event => this.#send(event, comment, error) } },
            make("fieldset", {}, make("legend", {}, say("rating.question")), stars), more);
        this.element.replaceChildren(this.#form);
    }

    #star(count, more) {
        const radio = make("input", { type: "radio", name: "stars", value: String(count), on: {
            change: () => {
                this.#stars = count;
                more.hidden = false;
            },
        } });
        radio.checked = this.#stars === count;
        return make("label", { class: "star" }, radio, icon("star"), make("span", { class: "unseen" }, say(`rating.${count}`)));
    }

    async #send(event, comment, error) {
        event.preventDefault();
        const button = this.#form.querySelector("button");
        // Not `disabled`: that would drop the focus.
        if (button.getAttribute("aria-disabled") === "true") {
            return;
        }
        this.#comment = comment.value.trim();
        button.setAttribute("aria-disabled", "true");
        button.textContent = say("rating.sending");
        error.textContent = "";
        const body = { stars: this.#stars, ...(this.#comment ? { comment: this.#comment } : {}) };
        const answer = await call("POST", "rating", { body });
        button.removeAttribute("aria-disabled");
        button.textContent = say("tryAgain");
        this.#answered(answer, error);
    }

    #answered({ ok, status, json, retryMs }, error) {
        if (ok) {
            const left = (json.changeable_seconds ?? 0) * 1000;
            store.set("rated", { stars: this.#stars, comment: this.#comment, until: Date.now() + left });
            this.#thank(left);
        } else if (status === 409) {
            this.#done("rating.already");
        } else if (status === 404) {
            this.#done("rating.late");
        } else if (status === 429) {
            error.textContent = say("rating.busy", { n: Math.ceil(retryMs / 1000) || 5 });
        } else {
            error.textContent = say(status === 413 ? "rating.tooLong" : "rating.failed");
        }
    }

    #thank(left) {
        const change = makeButton("quiet", say("rating.change"), () => {
            this.#choose();
            this.#form.querySelector("input:checked")?.focus();
        });
        this.#done("rating.thanks", this.#stars, left > 1_000 ? change : null);
        setTimeout(() => {
            if (change.isConnected) {
                this.#done("rating.thanks", this.#stars);
            }
        }, Math.max(0, left));
    }

    #done(key, stars = 0, change = null) {
        const hadFocus = this.element.contains(this.element.getRootNode().activeElement);
        const given = make("p", { class: "given", role: "img", "aria-label": say("rating.given", { n: stars }) },
            ...[1, 2, 3, 4, 5].map(count => {
                const star = icon("star");
                star.classList.toggle("full", count <= stars);
                return star;
            }));
        const words = make("p", { class: "thanks", tabindex: "-1" }, say(key));
        this.element.replaceChildren(...[stars > 0 ? given : null, words, change].filter(each => each));
        if (hadFocus) {
            words.focus();
        }
    }
}
