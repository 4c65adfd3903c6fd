// The worker that the clients meet, and its sessions.
import { startWorker } from "../browser/support/worker.mjs";

const FFMPEG = "/usr/bin/ffmpeg";
const picture = size => ["-re", "-f", "lavfi", "-i", `testsrc2=size=${size}:rate=15`];
const TONE = ["-re", "-f", "lavfi", "-i", "sine=frequency=440"];
const SILENCE = ["-re", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo"];

/** The engines' own picture where somebody else's is to be seen: smaller than any publisher's. */
export const OWN_WIDTH = 64;

/** What is watched has a tone. What is published stands in for a small silent picture, so that each can be told from the other. */
function engines() {
    const all = {};
    for (const video of ["h264", "vp8"]) {
        all[`watch-${video}`] = { command: [FFMPEG, ...picture("160x90"), ...TONE], video };
        all[`watch-${video}-mute`] = { command: [FFMPEG, ...picture("160x90")], video, audio: "no" };
        all[`publish-${video}`] = { command: [FFMPEG, ...picture(`${OWN_WIDTH}x48`), ...SILENCE], video };
        all[`publish-${video}-mute`] = { command: [FFMPEG, ...picture(`${OWN_WIDTH}x48`)], video, audio: "no" };
    }
    return all;
}

/** Starts the worker. `session(role, codec, sound)` is a new session, `{ id, url }`. */
export async function startStage(address) {
    // Clients on this host that pair no loopback candidate: Firefox.
    const worker = await startWorker(engines(), { sessions: { max: 40 }, webrtc: { nat1to1: [address] } });
    let bodies = 0;
    const session = async (role, codec, sound) => {
        bodies += 1;
        const engine = `${role}-${codec}${sound ? "" : "-mute"}`;
        const reply = await worker.api("POST", "/api/v1/sessions", { body_ip: `127.0.2.${bodies}`, engine });
        if (reply.status !== 201) {
            throw new Error(`no session of ${engine}: ${reply.status} ${JSON.stringify(reply.json)}`);
        }
        const { session_id: id, stream_url: url } = reply.json;
        return {
            id, url, endpoint: new URL(role === "publish" ? "whip" : "whep", url).href, watch: new URL("whep", url).href,
            look: async () => (await worker.api("GET", `/api/v1/sessions/${id}`)).json,
            end: () => worker.api("DELETE", `/api/v1/sessions/${id}`),
        };
    };
    return { origin: worker.origin, token: worker.token, session, output: worker.output, stop: worker.stop };
}
