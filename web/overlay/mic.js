// The microphone's states, and nothing of how they look.
//
//   off ── turnOn() ──► asking ── allowed ──► connecting ──► live ⇄ muted
//    ▲                    │                       │            │ ⇅
//    │                    │                       │            trouble
//    │                    └─ blocked, dismissed,  └────────────┴──► failed, busy, taken
//    │                       noDevice, inUse, insecure                 │
//    └── turnOff(), from anywhere; the next turnOn() starts anew ◄─────┘
//
// The device is held in connecting, live, muted and trouble, and in no other state.

/** States in which the device is held. */
const HOLDING = ["connecting", "live", "muted", "trouble"];

class Mic {
    #state = { name: "off" };
    #input = null;
    #link = null;
    #turn = 0;
    #muted = false;
    #deviceId = "";
    #listeners = new Set();

    constructor() {
        navigator.mediaDevices?.addEventListener?.("devicechange", () => this.#devicesChanged());
        window.addEventListener("pagehide", () => this.turnOff());
    }

    /** `{name, title, text}`: the last two only where they are not those of the name. */
    get state() {
        return this.#state;
    }

    get isOn() {
        return HOLDING.includes(this.#state.name);
    }

    get isMuted() {
        return this.#muted;
    }

    get peer() {
        return this.#link?.peer ?? null;
    }

    get deviceId() {
        return this.#input?.deviceId ?? this.#deviceId;
    }

    level() {
        return this.#input && !this.#muted ? this.#input.level() : 0;
    }

    listen(listener) {
        this.#listeners.add(listener);
    }

    #become(name, words = {}) {
        this.#state = { name, ...words };
        for (const listener of this.#listeners) {
            listener();
        }
    }

    async turnOn({ muted = false } = {}) {
        this.#release();
        const turn = this.#turn;
        const refusal = cannotAsk();
        if (refusal) {
            this.#become(refusal.state, refusal);
            return;
        }
        this.#become("asking");
        const input = await this.#open(this.#deviceId, turn);
        if (!input) {
            return;
        }
        this.#take(input);
        this.#muted = muted;
        this.#input.track.enabled = !muted;
        this.#link = new MicLink(state => this.#linkSays(turn, state));
        this.#link.connect(input.track);
    }

    /** The device; null when it was refused, or when nobody waits for it any more. */
    async #open(deviceId, turn) {
        try {
            const input = await MicInput.open(deviceId).catch(error => {
                // The chosen one may be gone: any other is better than none.
                if (deviceId && error.name === "OverconstrainedError") {
                    return MicInput.open("");
                }
                throw error;
            });
            if (turn !== this.#turn) {
                input.close();
                return null;
            }
            return input;
        } catch (error) {
            const refusal = await refusalOf(error);
            if (turn === this.#turn) {
                this.#release();
                this.#become(refusal.state, refusal);
            }
            return null;
        }
    }

    #take(input) {
        this.#input?.close();
        this.#input = input;
        input.track.addEventListener("ended", () => {
            if (this.#input === input) {
                this.#deviceLost();
            }
        });
    }

    #linkSays(turn, state) {
        if (turn !== this.#turn) {
            return;
        }
        if (state === "live") {
            this.#become(this.#muted ? "muted" : "live");
        } else if (HOLDING.includes(state)) {
            this.#become(state);
        } else {
            this.#release();
            this.#become(state === "busy" ? "failed" : state, state === "busy" ? { text: "mic.busy.text" } : {});
        }
    }

    /** Ends everything and lets the device go. */
    turnOff() {
        if (this.#state.name !== "off") {
            this.#release();
            this.#become("off");
        }
    }

    #release() {
        this.#turn += 1;
        this.#link?.close();
        this.#input?.close();
        this.#link = this.#input = null;
        this.#muted = false;
    }

    toggleMute() {
        if (!["live", "muted"].includes(this.#state.name)) {
            return;
        }
        this.#muted = !this.#muted;
        this.#input.track.enabled = !this.#muted;
        this.#become(this.#muted ? "muted" : "live");
    }

    async chooseDevice(deviceId) {
        this.#deviceId = deviceId;
        if (!this.isOn) {
            return;
        }
        const input = await this.#open(deviceId, this.#turn);
        if (input) {
            input.track.enabled = !this.#muted;
            const link = this.#link;
            this.#take(input);
            await link.replace(input.track);
            this.#become(this.#state.name);
        }
    }

    /** The device was pulled out, or the person took the permission back: another one, or none. */
    async #deviceLost() {
        if (await micPermission() === "denied") {
            this.#release();
            this.#become("blocked");
            return;
        }
        this.chooseDevice("");
    }

    async #devicesChanged() {
        if (this.isOn && this.#input.track.readyState === "ended") {
            this.#deviceLost();
        } else if (this.#state.name === "noDevice" && (await micDevices()).length > 0) {
            this.#become("off");
        } else {
            this.#become(this.#state.name, this.#state);
        }
    }
}
