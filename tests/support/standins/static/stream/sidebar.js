// The sidebar's buttons. The last one is Exit: it has neither id nor class.

export function addSidebar(parent, stream) {
    const add = (text, action) => {
        const button = document.createElement("button")
        button.textContent = text
        button.addEventListener("click", action)
        parent.appendChild(button)
    }
    add("Fullscreen", () => document.documentElement.requestFullscreen().catch(() => {}))
    add("Exit", async () => {
        stream.stop()
        await new Promise(done => setTimeout(done, 100))
        window.close()
    })
}
