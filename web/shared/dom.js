// Small helpers for what a page is made of. Text is set as text, never as markup: what others say is theirs.

const byId = id => document.getElementById(id);

/** An element with this class, these attributes and these children. */
function make(tag, className = "", attributes = {}, ...children) {
    const element = document.createElement(tag);
    if (className) {
        element.className = className;
    }
    for (const [name, value] of Object.entries(attributes)) {
        element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
}

/** Changes a text only where it is another one, so that what is selected or read aloud stays. */
function put(element, text) {
    if (element.textContent !== text) {
        element.textContent = text;
    }
}

/** Puts the words where the page wants them. */
function speakPage() {
    document.documentElement.lang = LANGUAGE;
    document.querySelectorAll("[data-say]").forEach(each => put(each, say(each.dataset.say)));
}

function set(element, name, value) {
    if (value === null) {
        element.removeAttribute(name);
    } else if (element.getAttribute(name) !== value) {
        element.setAttribute(name, value);
    }
}

function button(className, words, action) {
    const element = make("button", className, { type: "button" }, words);
    element.addEventListener("click", action);
    return element;
}

/** Says something in passing, also to who does not see it. */
function announce(words, isTrouble = false) {
    const toast = make("p", isTrouble ? "toast trouble" : "toast", {}, words);
    byId("said").append(toast);
    setTimeout(() => toast.remove(), isTrouble ? 8000 : 4000);
}
