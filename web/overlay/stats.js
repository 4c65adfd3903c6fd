// The panel with figures of the connection, refreshed while it is open.

/** A figure with its unit in the person's language. */
function figure(value, unit, digits = 0) {
    if (value === null || !Number.isFinite(value)) {
        return "–";
    }
    const number = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return unit ? `${number.format(value)}\u00a0${unit}` : number.format(value);
}

class Stats {
    #values = {};
    #last = null;
    #panel;
    #button;
    #overlay;

    constructor(overlay, media) {
        this.#overlay = overlay;
        const rows = ["roundTrip", "bitrate", "frames", "dropped", "loss", "candidate", "relay"].map(name => {
            this.#values[name] = make("dd", {}, "–");
            return make("div", {}, make("dt", {}, say(`stats.${name}`)), this.#values[name]);
        });
        this.#panel = make("section", { class: "box panel stats", id: "stats", "aria-labelledby": "stats-title" },
            this.#head(), make("dl", {}, ...rows));
        this.#button = makeButton("round", icon("chart"), () => this.toggle());
        for (const [name, value] of [["aria-label", say("stats")], ["data-tip", say("stats")], ["aria-expanded", "false"],
            ["aria-keyshortcuts", "S"]]) {
            this.#button.setAttribute(name, value);
        }
        overlay.shortcuts.s = () => this.toggle();
        overlay.addToDock(this.#button);
        media.listen(sample => this.#take(sample));
    }

    #head() {
        const close = makeButton("round plain", icon("close"), () => this.toggle());
        close.setAttribute("aria-label", say("close"));
        return make("div", { class: "head" }, make("h2", { id: "stats-title" }, say("stats")), close);
    }

    toggle() {
        this.#overlay.togglePanel(this.#panel, this.#button);
    }

    #take(sample) {
        const before = this.#last;
        this.#last = sample;
        if (!before || !this.#panel.isConnected) {
            return;
        }
        const seconds = (sample.at - before.at) / 1000;
        const per = name => Math.max(0, sample[name] - before[name]) / seconds;
        const packets = sample.received + sample.lost;
        const show = (name, text) => { this.#values[name].textContent = text; };
        show("roundTrip", figure(sample.rtt === null ? null : sample.rtt * 1000, "ms"));
        show("bitrate", figure(per("bytes") * 8 / 1e6, "Mbit/s", 1));
        show("frames", figure(per("frames"), ""));
        show("dropped", figure(sample.dropped, ""));
        show("loss", figure(packets > 0 ? 100 * sample.lost / packets : null, "%", 1));
        show("candidate", this.#connection(sample));
        show("relay", sample.relay ?? say("stats.none"));
    }

    #connection({ type, overSocket }) {
        if (overSocket) {
            return say("stats.socket");
        }
        return type === "relay" ? say("stats.relayed") : type ? say("stats.direct", { type }) : say("stats.unknown");
    }
}
