// What must survive a reload of the page, and nothing else: kept by the tab, for this session only. Pages of other sessions in
// the same tab can read it, so it does not tell this one's address.

/** A name for a text that does not tell it: 53 bits (cyrb53, public domain), of addresses with 128 random ones. */
function nameOf(text) {
    let [low, high] = [0xdeadbeef, 0x41c6ce57];
    for (const unit of text) {
        const code = unit.codePointAt(0);
        low = Math.imul(low ^ code, 2_654_435_761);
        high = Math.imul(high ^ code, 1_597_334_677);
    }
    low = Math.imul(low ^ low >>> 16, 2_246_822_507) ^ Math.imul(high ^ high >>> 13, 3_266_489_909);
    high = Math.imul(high ^ high >>> 16, 2_246_822_507) ^ Math.imul(low ^ low >>> 13, 3_266_489_909);
    return (4_294_967_296 * (2_097_151 & high) + (low >>> 0)).toString(16);
}

const store = {
    prefix: `neck-${nameOf(SETTINGS.base)}-`,

    /** What was kept under this name; `otherwise` when nothing was, or when the browser keeps nothing. */
    get(name, otherwise) {
        try {
            return JSON.parse(sessionStorage.getItem(this.prefix + name)) ?? otherwise;
        } catch {
            return otherwise;
        }
    },

    /** Whether it is kept now. */
    set(name, value) {
        try {
            sessionStorage.setItem(this.prefix + name, JSON.stringify(value));
            return true;
        } catch {
            return false;
        }
    },
};
