// The stream page: asks for a stream, shows it, and says when it ended. Media comes over the WebSocket.
import CONFIG from "./config.js"
import { Connection } from "./stream/connection.js"
import { Player } from "./stream/player.js"
import { showModal, hideModal } from "./stream/modal.js"
import { addSidebar } from "./stream/sidebar.js"

class App {
    constructor(query) {
        this.input = []
        this.player = new Player(document.getElementById("stream-video"))
        this.stream = new Connection(CONFIG.path_prefix, {
            host_id: Number(query.get("hostId")),
            app_id: Number(query.get("appId")),
        })
        this.stream.onmedia = bytes => this.player.append(bytes)
        this.stream.onclose = () => showModal("The connection was closed: check your network")
        this.stream.onlog = text => showModal(text)
        this.player.onplaying = () => {
            this.stream.say("Playing")
            hideModal()
        }
        // The real page listens here too, in the bubble phase. What arrives is kept for tests.
        const root = document.getElementById("root")
        for (const type of ["keydown", "keyup"]) {
            window.addEventListener(type, event => this.input.push(`${type} ${event.code}`))
        }
        root.addEventListener("mousedown", () => this.input.push("mousedown"))
        addSidebar(document.querySelector("#sidebar-parent .sidebar-stream-buttons"), this.stream)
    }

    getStream() {
        return this.stream
    }
}

showModal("Connecting")
window.app = new App(new URLSearchParams(location.search))
