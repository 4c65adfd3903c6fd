/** Asks whether it is meant. */
function askWhether(title, text, yes) {
    const dialog = byId("sure");
    put(byId("sure-title"), title);
    put(byId("sure-text"), text);
    put(byId("sure-yes"), yes);
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise(answer => dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true }));
}
