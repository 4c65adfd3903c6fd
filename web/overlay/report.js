// "Report a problem": a link to the operator's form, with what support needs to find the session.

/** Browser and system as people call them, from what the browser says of itself: "Chrome 126 on Linux". */
function shortUserAgent(agent) {
    const browsers = [["Edge", /Edg(?:A|iOS)?\/(\d+)/], ["Opera", /OPR\/(\d+)/], ["Samsung Internet", /SamsungBrowser\/(\d+)/],
        ["Firefox", /(?:Firefox|FxiOS)\/(\d+)/], ["Chrome", /(?:Chrome|CriOS)\/(\d+)/], ["Safari", /Version\/(\d+).*Safari/]];
    const systems = [["Android", /Android/], ["iOS", /iPhone|iPad/], ["Windows", /Windows/], ["macOS", /Macintosh/],
        ["ChromeOS", /CrOS/], ["Linux", /Linux/]];
    const browser = browsers.map(([name, pattern]) => [name, agent.match(pattern)?.[1]]).find(([, version]) => version);
    const system = systems.find(([, pattern]) => pattern.test(agent));
    return `${browser?.join(" ") ?? "unknown"}${system ? ` on ${system[0]}` : ""}`;
}

class Report {
    #watch;
    #media;

    constructor(watch, media) {
        this.#watch = watch;
        this.#media = media;
    }

    /** A link that opens the form in a tab of its own, which cannot reach back into this one. */
    link(reason) {
        const url = this.#url(reason);
        if (!url) {
            return null;
        }
        const newTab = make("span", { class: "unseen" }, ` (${say("report.newTab")})`);
        return make("a", {
            class: "quiet", href: url, target: "_blank", rel: "noopener noreferrer", referrerpolicy: "no-referrer",
        }, say("report"), newTab, icon("out"));
    }

    #url(reason) {
        const base = pageUrl(SETTINGS.reportUrl);
        if (!base) {
            return null;
        }
        const url = new URL(base);
        for (const [name, value] of Object.entries(this.#parameters(reason))) {
            url.searchParams.set(name, value);
        }
        return url.href;
    }

    #parameters(reason) {
        const { experience } = SETTINGS;
        return {
            project: "hydraneckwebrtc",
            category: "stream",
            title: experience ? `${reasonInWords(reason)} (${experience})` : reasonInWords(reason),
            session_id: SETTINGS.sessionId,
            experience,
            district: SETTINGS.district,
            body: SETTINGS.bodyName || SETTINGS.bodyIp,
            head: `browser ${shortUserAgent(navigator.userAgent)}`,
            body_ip: SETTINGS.bodyIp,
            disconnect_count: String(this.#watch.disconnects),
            duration_ms: String(sessionAge()),
            end_reason: reason,
            ice_candidate_type: this.#media.candidateType() ?? "none",
        };
    }
}

/** Milliseconds that the session has lasted, by the server's clock; it stands still once the session has ended. */
function sessionAge() {
    const since = SETTINGS.endReason ? 0 : performance.now();
    return Math.round((SETTINGS.ageMs ?? 0) + since);
}
