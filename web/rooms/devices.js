// The person's camera, microphone and loudspeaker.

/** What a browser calls the devices of each list. */
const LISTS = { audio: "audioinput", video: "videoinput", output: "audiooutput" };

/** What pictures are asked for: enough for a tile, little enough for a phone. */
const PICTURE = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 25, max: 30 } };

const devices = {
    tracks: { audio: null, video: null },
    /** Which device was chosen, by its id; empty: the browser's own choice. */
    chosen: { audio: "", video: "", output: "" },
    /** Why there is none, by the name of the error. */
    trouble: { audio: "", video: "" },
};

/** Opens both, by one question to the person; where that fails, each by itself. */
async function openDevices() {
    try {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: wantedOf("audio"), video: wantedOf("video") });
        stream.getTracks().forEach(keepTrack);
    } catch {
        await openDevice("audio");
        await openDevice("video");
    }
}

/** Opens the device of a kind that was chosen. Afterwards either its track is there or its trouble. */
async function openDevice(kind) {
    closeDevice(kind);
    if (!navigator.mediaDevices) {
        // Browsers have none for pages of plain HTTP.
        devices.trouble[kind] = "insecure";
        return;
    }
    try {
        (await navigator.mediaDevices.getUserMedia({ [kind]: wantedOf(kind) })).getTracks().forEach(keepTrack);
    } catch (error) {
        devices.trouble[kind] = { NotAllowedError: "denied", NotFoundError: "missing", OverconstrainedError: "missing" }[error.name] ?? "busy";
    }
}

function wantedOf(kind) {
    const id = devices.chosen[kind];
    return { ...kind === "video" ? PICTURE : { echoCancellation: true }, ...id ? { deviceId: { exact: id } } : {} };
}

function keepTrack(track) {
    const { kind } = track;
    closeDevice(kind);
    devices.tracks[kind] = track;
    devices.trouble[kind] = "";
    track.onended = () => {
        if (devices.tracks[kind] === track) {
            devices.tracks[kind] = null;
            devices.trouble[kind] = "lost";
            devicesChanged();
        }
    };
}

/** Lets go of it: the camera's light goes out. */
function closeDevice(kind) {
    const track = devices.tracks[kind];
    devices.tracks[kind] = null;
    if (track) {
        track.onended = null;
        track.stop();
    }
}

/** Fills the lists with what there is. Names come only once the person has let the page use a device. */
async function fillDevices() {
    const found = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    for (const [kind, wanted] of Object.entries(LISTS)) {
        const list = byId(`choose-${kind}`);
        const listed = found.filter(each => each.kind === wanted && each.deviceId !== "");
        const options = listed.map((each, index) => make("option", "", { value: each.deviceId }, each.label || say("device.number", { number: index + 1 })));
        list.replaceChildren(make("option", "", { value: "" }, say("device.usual")), ...options);
        list.value = devices.chosen[kind];
        if (list.selectedIndex < 0) {
            list.value = "";
        }
    }
    byId("output").hidden = !("setSinkId" in HTMLMediaElement.prototype) || byId("choose-output").options.length < 2;
}
