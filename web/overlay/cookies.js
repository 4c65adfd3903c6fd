// Cookies that a page's script sets are for its session's path, as those of its replies are. Every session shares one
// origin, so a cookie for `/` would go to all of them. This is for pages that mean well and know nothing of others: a script
// that wants to get round it finds another window's `document`. What must never reach a process is taken away by the edge.

/** The text of `document.cookie = …` for the session's path; `Domain` goes. */
function confinedCookie(text, base) {
    const [pair, ...attributes] = text.split(";");
    const key = attribute => attribute.split("=")[0].trim().toLowerCase();
    const path = attributes.filter(attribute => key(attribute) === "path").at(-1)?.split("=").slice(1).join("=").trim() ?? "";
    const kept = attributes.filter(attribute => !["path", "domain"].includes(key(attribute)));
    return [pair, ...kept, ` path=${path.startsWith(base) ? path : base}`].join(";");
}

/** The same for `cookieStore.set(…)`, whose path is `/` when none is named. */
function confinedOptions(options, base) {
    const { domain: _, ...kept } = options;
    return { ...kept, path: kept.path?.startsWith(base) ? kept.path : base };
}

function confineCookies() {
    const native = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
    if (native?.set && native.configurable) {
        Object.defineProperty(Document.prototype, "cookie", {
            ...native, configurable: false,
            set(text) {
                native.set.call(this, confinedCookie(String(text), SETTINGS.base));
            },
        });
    }
    const store = window.CookieStore?.prototype;
    const nativeSet = store?.set;
    if (nativeSet) {
        store.set = function set(nameOrOptions, value) {
            const options = typeof nameOrOptions === "object" ? nameOrOptions : { name: nameOrOptions, value };
            return nativeSet.call(this, confinedOptions(options, SETTINGS.base));
        };
    }
}
