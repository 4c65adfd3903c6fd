// "Maintenance: this stream ends in about 5 minutes": said when the server says so, and again shortly before.

/** Said again when this much is left. */
const SAY_AGAIN_AT_MS = [120_000, 60_000, 15_000];

class Drain {
    #overlay;
    #timers = [];

    constructor(overlay) {
        this.#overlay = overlay;
    }

    /** `seconds` are left; 0 or less: as long as anybody watches, which needs no words. */
    tell(seconds) {
        this.stop();
        if (seconds <= 0) {
            return;
        }
        const end = performance.now() + seconds * 1000;
        const show = () => this.#show(end - performance.now());
        show();
        this.#timers = SAY_AGAIN_AT_MS.filter(left => left < seconds * 1000)
            .map(left => setTimeout(show, seconds * 1000 - left));
    }

    stop() {
        this.#timers.forEach(clearTimeout);
        this.#overlay.toast(null);
    }

    #show(left) {
        const minutes = Math.round(left / 60_000);
        const key = left < 30_000 ? "draining.soon" : minutes <= 1 ? "draining.minute" : "draining.minutes";
        this.#overlay.toast(say(key, { n: minutes }), say("draining.hint"));
    }
}
