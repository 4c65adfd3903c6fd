// The box in the middle of the page.

const overlay = () => document.getElementById("modal-overlay")

export function showModal(text) {
    const box = document.createElement("div")
    box.className = "modal-video-connect"
    box.appendChild(document.createElement("p")).textContent = text
    document.getElementById("modal-parent").replaceChildren(box)
    overlay().classList.remove("modal-disabled")
}

export function hideModal() {
    overlay().classList.add("modal-disabled")
}
