// The microphone itself: asked for, measured, and let go. Whoever opened it must close it.

/** How the browser is asked: speech of one person, without the echo of the stream. */
const SPEECH = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Why there is no microphone: the state's name in `Mic`, and the words below it when they differ. */
async function refusalOf(error) {
    const name = error?.name ?? "";
    if (name === "NotFoundError" || name === "OverconstrainedError") {
        return { state: "noDevice" };
    }
    if (name === "NotReadableError" || name === "AbortError") {
        return { state: "inUse" };
    }
    if (name !== "NotAllowedError" && name !== "SecurityError") {
        return { state: "failed" };
    }
    const asked = await micPermission() === "prompt";
    const policy = document.permissionsPolicy ?? document.featurePolicy;
    // Firefox tells of no policy. A page within another cannot ask for itself there, whoever said no.
    const given = policy?.allowsFeature ? policy.allowsFeature("microphone") : asked || window === window.top;
    if (!given) {
        return { state: "blocked", text: "mic.embedded.text" };
    }
    return { state: asked ? "dismissed" : "blocked" };
}

/** Why this page cannot even ask; null when it can. */
function cannotAsk() {
    if (!window.isSecureContext) {
        return { state: "insecure" };
    }
    if (!navigator.mediaDevices?.getUserMedia || !NATIVE_PEER) {
        return { state: "insecure", title: "mic.failed", text: "mic.unsupported.text" };
    }
    return null;
}

/** "granted", "denied", "prompt", or null where the browser does not tell. */
async function micPermission() {
    try {
        return (await navigator.permissions.query({ name: "microphone" })).state;
    } catch {
        return null;
    }
}

class MicInput {
    #stream = null;
    #context = null;
    #analyser = null;
    #samples = null;

    /** Takes a device (any when `deviceId` is empty) and gives its track. Throws what the browser throws. */
    static async open(deviceId) {
        const audio = deviceId ? { ...SPEECH, deviceId: { exact: deviceId } } : SPEECH;
        return new MicInput(await navigator.mediaDevices.getUserMedia({ audio, video: false }));
    }

    constructor(stream) {
        this.#stream = stream;
    }

    get track() {
        return this.#stream.getAudioTracks()[0];
    }

    get deviceId() {
        return this.track.getSettings().deviceId ?? "";
    }

    /** How loud it is now, from 0 to 1 on a scale of 60 decibels. */
    level() {
        this.#analyser ??= this.#listen();
        if (!this.#analyser) {
            return 0;
        }
        this.#analyser.getFloatTimeDomainData(this.#samples);
        const power = this.#samples.reduce((sum, each) => sum + each * each, 0) / this.#samples.length;
        return Math.min(1, Math.max(0, 1 + Math.log10(power + 1e-12) / 6));
    }

    #listen() {
        try {
            this.#context = new AudioContext();
            this.#context.resume();
            const analyser = this.#context.createAnalyser();
            analyser.fftSize = 512;
            this.#samples = new Float32Array(analyser.fftSize);
            this.#context.createMediaStreamSource(this.#stream).connect(analyser);
            return analyser;
        } catch {
            // No meter, then.
            return null;
        }
    }

    /** Lets the device go; the browser's sign that it is in use disappears. */
    close() {
        for (const track of this.#stream.getTracks()) {
            track.stop();
        }
        this.#context?.close().catch(() => {});
        this.#context = this.#analyser = null;
    }
}

/** The microphones, with a name for each, and which one is used. */
async function micDevices() {
    try {
        const all = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
        return all.map(({ deviceId, label }, at) => ({ deviceId, label: label || say("mic.device.default", { n: at + 1 }) }));
    } catch {
        return [];
    }
}
