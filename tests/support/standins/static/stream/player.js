// Plays WebM clusters as they come, through MediaSource. Keeps close to the newest picture and forgets old ones.

const TYPE = 'video/webm; codecs="vp8,opus"'

/** Farther behind the newest picture than this (seconds) is caught up by a jump. */
const MAX_LAG = 2.5

/** Seconds of past that stay in memory. */
const KEPT = 10

export class Player {
    constructor(video) {
        this.video = video
        this.waiting = []
        this.onplaying = () => {}
        this.source = new MediaSource()
        this.source.addEventListener("sourceopen", () => {
            this.buffer = this.source.addSourceBuffer(TYPE)
            this.buffer.addEventListener("updateend", () => this.next())
            this.next()
        }, { once: true })
        video.src = URL.createObjectURL(this.source)
        video.addEventListener("playing", () => this.onplaying(), { once: true })
    }

    append(bytes) {
        this.waiting.push(bytes)
        this.next()
    }

    next() {
        if (!this.buffer || this.buffer.updating) {
            return
        }
        this.follow()
        const { buffered } = this.buffer
        const old = this.video.currentTime - KEPT
        if (buffered.length > 0 && buffered.start(0) < old - KEPT) {
            this.buffer.remove(0, old)
        } else if (this.waiting.length > 0) {
            this.buffer.appendBuffer(this.waiting.shift())
        }
    }

    follow() {
        const { buffered } = this.buffer
        if (buffered.length === 0) {
            return
        }
        const last = buffered.length - 1
        const newest = buffered.end(last)
        if (this.video.currentTime < buffered.start(last) || newest - this.video.currentTime > MAX_LAG) {
            this.video.currentTime = Math.max(buffered.start(last), newest - 0.6)
        }
        if (this.video.paused) {
            // Muted autoplay may still be refused; the person's next click starts it.
            this.video.play().catch(() => {})
        }
    }
}
