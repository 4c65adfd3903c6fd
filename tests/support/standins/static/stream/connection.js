// Signalling and the peer connection. The stand-in's server has no WebRTC: the offer is answered by a DebugLog and
// the media comes as binary frames, which is the real page's fallback.

export class Connection {
    constructor(prefix, { host_id, app_id }) {
        this.onmedia = this.onclose = this.onlog = () => {}
        const url = new URL(`${prefix}/api/host/stream`, location.href)
        url.protocol = location.protocol === "https:" ? "wss:" : "ws:"
        this.socket = new WebSocket(url)
        this.socket.binaryType = "arraybuffer"
        this.socket.onopen = () => this.socket.send(JSON.stringify({
            Init: { host_id, app_id, video_frame_queue_size: 3, audio_sample_queue_size: 20 },
        }))
        this.socket.onmessage = event => this.receive(event.data)
        this.socket.onclose = () => this.onclose()
    }

    say(message) {
        this.socket.send(JSON.stringify(message))
    }

    receive(data) {
        if (typeof data !== "string") {
            this.onmedia(data)
            return
        }
        const message = JSON.parse(data)
        if (message.Setup) {
            this.connect(message.Setup.ice_servers)
        } else if (/^fatal/i.test(message.DebugLog?.ty ?? "")) {
            this.onlog(message.DebugLog.message)
        }
    }

    // Exactly as the real page: the list of servers and nothing else.
    async connect(iceServers) {
        this.peer = new RTCPeerConnection({ iceServers })
        this.general = this.peer.createDataChannel("general")
        const offer = await this.peer.createOffer()
        await this.peer.setLocalDescription(offer)
        this.say({ Offer: { sdp: offer.sdp } })
    }

    stop() {
        if (this.general?.readyState === "open") {
            this.general.send(JSON.stringify("Stop"))
        }
    }
}
