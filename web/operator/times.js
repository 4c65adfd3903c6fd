// Words that are put together, and times and numbers as people of this language write them.

/** The words of a state or reason; one that is newer than this page is shown as it is. */
const sayOf = (kind, code) => say(`${kind}.${code}`) || code;

const UNITS = Object.fromEntries(["second", "minute", "hour", "day"].map(unit =>
    [unit, new Intl.NumberFormat(LANGUAGE, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 })]));
const CLOCK = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });
const CLOCK_WITH_SECONDS = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const NUMBER = new Intl.NumberFormat(LANGUAGE);

/** How long something lasts: `12 s`, `3 min`, `2 h 5 min`, `3 days`. */
function lasting(ms) {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86400)];
    if (days > 1) {
        return UNITS.day.format(days);
    }
    if (hours > 0) {
        return `${UNITS.hour.format(hours)} ${UNITS.minute.format(minutes % 60)}`;
    }
    return minutes > 0 ? UNITS.minute.format(minutes) : UNITS.second.format(seconds);
}
