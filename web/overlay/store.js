// What must survive a reload of the page, and nothing else: kept by the tab, for this session only.

const store = {
    prefix: "neck-" + SETTINGS.base,

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
