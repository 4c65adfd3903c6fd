// Making elements. Text is set as text, never as markup, so that nothing from a setting or a reply can become any.

/** What this script carries on a page of ours, whose policy asks for it. A page of the stream process has its own rules. */
const NONCE = document.currentScript?.nonce || null;

/** An element with properties (`class`, `on: {click}`, attributes) and children: elements, texts, or null. */
function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name === "on") {
            for (const [type, listener] of Object.entries(value)) {
                element.addEventListener(type, listener);
            }
        } else if (value !== null && value !== false) {
            element.setAttribute(name, value === true ? "" : value);
        }
    }
    element.append(...children.filter(child => child !== null));
    return element;
}

/** A button that never submits anything. */
function makeButton(className, words, click) {
    return make("button", { class: className, type: "button", on: { click } }, words);
}

/** Drawn on a field of 24 by 24, in the colour of the text around them. */
const ICONS = {
    mic: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3Z M6 11.5a6 6 0 0 0 12 0 M12 17.5V21 M9 21h6",
    micOff: "M9 9v3a3 3 0 0 0 4.6 2.5 M15 11.5V6a3 3 0 0 0-5.9-.8 M6 11.5a6 6 0 0 0 9.4 4.9 M18 11.5c0 .9-.2 1.8-.6 2.6 "
        + "M12 17.5V21 M9 21h6 M4 4l16 16",
    chart: "M4 20V13 M10 20V4 M16 20V9 M22 20H2",
    leave: "M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4 M10 8l-4 4 4 4 M6 12h9",
    more: "M6 14.5l6-6 6 6",
    close: "M6 6l12 12 M18 6L6 18",
    warn: "M12 4 2.8 19.5h18.4L12 4Z M12 10v4.5 M12 17.2v.1",
    done: "M5 12.5l4.5 4.5L19 7.5",
    out: "M14 5h5v5 M19 5l-8 8 M17 14v4a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1h4",
    star: "M12 2.6l2.9 6 6.5.9-4.7 4.6 1.1 6.5-5.8-3.1-5.8 3.1 1.1-6.5L2.6 9.5l6.5-.9L12 2.6Z",
};

/** A picture that says nothing to a screen reader: the words beside it do. */
function icon(name) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    picture.setAttribute("viewBox", "0 0 24 24");
    picture.setAttribute("aria-hidden", "true");
    picture.setAttribute("class", `icon icon-${name}`);
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", ICONS[name]);
    picture.append(path);
    return picture;
}

/** A link target that can only be a page: `javascript:` and the like become null. */
function pageUrl(text) {
    try {
        const url = new URL(text, location.href);
        return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
    } catch {
        return null;
    }
}
