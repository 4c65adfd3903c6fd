// The microphone's button in the dock and its panel: what `Mic` says, in words and pictures.

/** The meter moves this often; less often where less motion is wanted. */
const METER_MS = 80;
const CALM_METER_MS = 400;

/** Once the microphone is on the panel has said what it had to: it goes unless somebody uses it. */
const PANEL_STAYS_MS = 2_500;

class MicView {
    #overlay;
    #mic;
    #button;
    #more;
    #panel = make("section", { class: "box panel mic", id: "mic", "aria-labelledby": "mic-title" });
    #said = make("span", { class: "unseen", "aria-live": "polite" });
    #meter = make("meter", { min: "0", max: "1", value: "0", "aria-label": say("mic.level") });
    #shown = "off";
    #timer = 0;
    #stays = null;

    constructor(overlay, mic) {
        this.#overlay = overlay;
        this.#mic = mic;
        this.#more = makeButton("round small", icon("more"), () => this.#settings());
        this.#more.setAttribute("aria-label", say("mic.settings"));
        this.#more.setAttribute("data-tip", say("mic.settings"));
        this.#more.setAttribute("aria-expanded", "false");
        this.#button = makeButton("round mic-button", "", () => this.#pressed());
        overlay.addToDock(this.#more);
        overlay.addToDock(this.#button);
        this.#button.after(this.#said);
        mic.listen(() => this.#show());
        this.#show();
    }

    #pressed() {
        if (["live", "muted"].includes(this.#mic.state.name)) {
            this.#mic.toggleMute();
        } else {
            this.#toggle(this.#button);
        }
    }

    /** A panel that is about to go by itself stays. */
    #settings() {
        if (this.#stays) {
            this.#stays();
        } else {
            this.#toggle(this.#more);
        }
    }

    #toggle(opener) {
        this.#render();
        this.#overlay.togglePanel(this.#panel, opener, { focus: true, light: true });
    }

    #close() {
        if (this.#overlay.panelIs(this.#panel)) {
            this.#overlay.closePanel();
        }
    }

    #show() {
        const { name } = this.#mic.state;
        const before = this.#shown;
        this.#shown = name;
        this.#showButton(name);
        this.#render();
        if (name !== before) {
            this.#said.textContent = name === "off" ? "" : this.#title();
            this.#measure();
        }
        if (name === "off" && before !== "noDevice") {
            this.#close();
        } else if (name === "live" && before === "connecting" && this.#overlay.panelIs(this.#panel)) {
            this.#closeUnlessUsed();
        } else if (!this.#mic.isOn && HOLDING.includes(before) && !this.#overlay.panelIs(this.#panel)) {
            // It stopped by itself: say why, without taking the focus.
            this.#overlay.togglePanel(this.#panel, this.#button, { light: true });
        }
    }

    #closeUnlessUsed() {
        const signs = ["pointermove", "change"];
        const stay = () => {
            clearTimeout(timer);
            signs.forEach(type => this.#panel.removeEventListener(type, stay));
            this.#stays = null;
        };
        const timer = setTimeout(() => {
            stay();
            if (this.#mic.state.name === "live") {
                this.#close();
            }
        }, PANEL_STAYS_MS);
        signs.forEach(type => this.#panel.addEventListener(type, stay));
        this.#stays = stay;
    }

    #showButton(name) {
        const crossed = !["live", "connecting", "trouble", "asking"].includes(name);
        const label = name === "live" ? "mic.mute" : name === "muted" ? "mic.unmute" : "mic";
        this.#button.replaceChildren(icon(crossed ? "micOff" : "mic"));
        this.#button.dataset.state = name;
        this.#button.setAttribute("aria-label", say(label));
        this.#button.setAttribute("data-tip", ["live", "muted", "off"].includes(name) ? say(label) : this.#title());
        const toggles = ["live", "muted"].includes(name);
        if (toggles) {
            this.#button.removeAttribute("aria-expanded");
        } else {
            this.#button.setAttribute("aria-expanded", String(this.#overlay.panelIs(this.#panel)));
        }
        this.#more.hidden = !toggles;
    }

    /** The panel's heading, which also says the state. */
    #title() {
        const { name, title } = this.#mic.state;
        return say(title ?? (name === "off" ? "mic.why" : `mic.${name}`));
    }

    #render() {
        const { name, text } = this.#mic.state;
        const busy = ["asking", "connecting", "trouble"].includes(name);
        const refused = !busy && !["off", "live", "muted"].includes(name);
        const mark = busy ? make("div", { class: "spinner" }) : refused ? icon("warn") : icon("mic");
        const words = say(text ?? (name === "off" ? "mic.why.text" : `mic.${name}.text`));
        const focused = this.#panel.getRootNode().activeElement;
        const key = this.#panel.contains(focused) ? focused.dataset.key ?? "" : null;
        this.#panel.dataset.state = name;
        this.#panel.replaceChildren(
            make("div", { class: "head" }, mark, make("h2", { id: "mic-title" }, this.#title())),
            ...(words ? [make("p", {}, words)] : []),
            ...(["live", "muted"].includes(name) ? [this.#meter, this.#devices()] : []),
            make("div", { class: "actions" }, ...this.#actions(name, refused)),
        );
        if (key !== null && this.#panel.isConnected) {
            (this.#panel.querySelector(`[data-key="${key}"]`) ?? this.#panel).focus({ preventScroll: true });
        }
    }

    #actions(name, refused) {
        const button = (key, className, words, click) => {
            const made = makeButton(className, say(words), click);
            made.dataset.key = key;
            return made;
        };
        if (name === "off") {
            return [button("on", "main", "mic.turnOn", () => this.#mic.turnOn()), button("no", "other", "mic.notNow", () => this.#close())];
        }
        if (refused) {
            // Trying again on a page that can never ask would be a lie.
            const again = name === "insecure" ? [] : [button("on", "main", "tryAgain", () => this.#mic.turnOn())];
            return [...again, button("no", "other", "close", () => this.#dismiss())];
        }
        const mute = name === "live" ? "mic.mute" : "mic.unmute";
        return [
            ...(["live", "muted"].includes(name) ? [button("mute", "other", mute, () => this.#mic.toggleMute())] : []),
            button("off", "other", name === "asking" ? "mic.notNow" : "mic.turnOff", () => this.#mic.turnOff()),
        ];
    }

    #dismiss() {
        this.#close();
        this.#mic.turnOff();
    }

    #devices() {
        const list = make("select", { id: "mic-device", "data-key": "device", on: {
            change: () => this.#mic.chooseDevice(list.value),
        } });
        micDevices().then(devices => {
            list.replaceChildren(...devices.map(({ deviceId, label }) => make("option", { value: deviceId }, label)));
            list.value = this.#mic.deviceId;
        });
        return make("div", { class: "field" }, make("label", { for: "mic-device" }, say("mic.device")), list);
    }

    #measure() {
        clearInterval(this.#timer);
        this.#button.style.removeProperty("--level");
        if (this.#mic.state.name === "live") {
            const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
            this.#timer = setInterval(() => {
                const level = this.#mic.level();
                this.#meter.value = level;
                this.#button.style.setProperty("--level", level.toFixed(2));
            }, calm ? CALM_METER_MS : METER_MS);
        } else {
            this.#meter.value = 0;
        }
    }
}
