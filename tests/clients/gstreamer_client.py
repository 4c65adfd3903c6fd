"""GStreamer's webrtcbin as WHIP publisher or WHEP viewer.

gstreamer_client.py publish|watch URL TOKEN KINDS CODEC: with its own certificate, which is RSA in Debian 12, or with the one in the
variable CERTIFICATE (PEM, with its key). A viewer decodes and counts. It prints what it counted as JSON, again and again, until its
input ends.
"""

import hashlib
import json
import os
import re
import ssl
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SOURCES = {
    "audio": "audiotestsrc is-live=true wave=sine freq=330 ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 ! "
    'capsfilter caps="application/x-rtp,media=audio,encoding-name=OPUS,payload=111"',
    "h264": "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=15/1 ! x264enc tune=zerolatency "
    "speed-preset=ultrafast key-int-max=15 bframes=0 ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 pt=96 ! "
    'capsfilter caps="application/x-rtp,media=video,encoding-name=H264,payload=96,packetization-mode=(string)1"',
    "vp8": "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=15/1 ! vp8enc deadline=1 "
    "keyframe-max-dist=15 ! rtpvp8pay pt=96 ! "
    'capsfilter caps="application/x-rtp,media=video,encoding-name=VP8,payload=96"',
}
WANTED = {
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=111",
    "h264": "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1,"
    "profile-level-id=(string)42e01f",
    "vp8": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96",
}


def fingerprint(pem):
    """What the offer says of a certificate."""
    certificate = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 26])
    return "sha-256 " + ":".join(f"{byte:02X}" for byte in hashlib.sha256(certificate).digest())


def call(method, url, token, body=None):
    headers = {"Content-Type": "application/sdp"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body and body.encode(), method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.headers.get("Location"), reply.read().decode()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method}: {error.code} {error.read().decode()}") from error


class Client:
    def __init__(self, role, url, token, kinds, codec, pem):
        self.role, self.url, self.token, self.kinds, self.codec, self.pem = role, url, token, kinds, codec, pem
        self.frames = dict.fromkeys(kinds, 0)
        self.location = None
        self.pipeline = Gst.Pipeline.new(None)
        self.peer = Gst.ElementFactory.make("webrtcbin", "peer")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        if pem:
            self.peer.connect("deep-element-added", self.came_inside)
        self.peer.connect("notify::ice-gathering-state", self.gathering_changed)
        self.peer.connect("pad-added", self.came)
        self.pipeline.add(self.peer)
        self.pipeline.set_state(Gst.State.READY)
        for kind in kinds:
            self.add(kind)
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.idle_add(self.offer)

    def came_inside(self, _bin, _parent, element):
        if element.find_property("pem"):
            element.set_property("pem", self.pem)

    def add(self, kind):
        name = "audio" if kind == "audio" else self.codec
        if self.role == "watch":
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(WANTED[name]))
            return
        source = Gst.parse_bin_from_description(SOURCES[name], True)
        self.pipeline.add(source)
        source.link(self.peer)
        self.peer.emit("get-transceiver", self.kinds.index(kind)).set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)

    def offer(self):
        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise, _):
        # The offer lives in the reply: it must not go first.
        reply = promise.get_reply()
        self.peer.emit("set-local-description", reply.get_value("offer"), None)

    def gathering_changed(self, peer, _):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE and not self.location:
            self.location = "asked"
            threading.Thread(target=self.ask, daemon=True).start()

    def ask(self):
        sdp = self.peer.get_property("local-description").sdp.as_text()
        if self.pem:
            # webrtcbin 1.22 hashes the key along with a certificate that it was given.
            sdp = re.sub("a=fingerprint:[^\r\n]*", f"a=fingerprint:{fingerprint(self.pem)}", sdp)
        try:
            self.location, text = call("POST", self.url, self.token, sdp)
        except SystemExit as end:
            print(end, file=sys.stderr, flush=True)
            loop.quit()
            return
        _, answer = GstSdp.SDPMessage.new_from_text(text)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, answer)
        self.peer.emit("set-remote-description", description, None)

    def came(self, _peer, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        decode = Gst.ElementFactory.make("decodebin")
        decode.connect("pad-added", self.decoded)
        self.pipeline.add(decode)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def decoded(self, _decode, pad):
        kind = "audio" if pad.get_current_caps().to_string().startswith("audio") else "video"
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("signal-handoffs", True)
        sink.set_property("sync", False)
        sink.connect("handoff", lambda *_: self.count(kind))
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def count(self, kind):
        self.frames[kind] = self.frames.get(kind, 0) + 1

    def tell(self):
        print(json.dumps({"frames": self.frames}), flush=True)
        return True

    def leave(self):
        if self.location and self.location != "asked":
            call("DELETE", urllib.parse.urljoin(self.url, self.location), self.token)
        self.pipeline.set_state(Gst.State.NULL)


def wait_for_end():
    sys.stdin.read()
    loop.quit()


Gst.init(None)
loop = GLib.MainLoop()
role, url, token, kinds, codec = sys.argv[1:]
client = Client(role, url, token, kinds.split("+"), codec, os.environ.get("CERTIFICATE"))
GLib.timeout_add(200, client.tell)
threading.Thread(target=wait_for_end, daemon=True).start()
loop.run()
client.leave()
