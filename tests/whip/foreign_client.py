"""A client that is no browser: aiortc as WHIP publisher or WHEP viewer.

foreign_client.py publish|watch URL TOKEN KINDS: KINDS is "audio+video" or "video". One JSON line when media flows (a viewer: what
it decoded) and the process goes on until its input ends; then it closes.
"""

import asyncio
import json
import os
import sys
import urllib.parse
import urllib.request
from fractions import Fraction

from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import RTCCertificate, generate_certificate
from av import VideoFrame
from cryptography.hazmat.primitives.asymmetric import rsa

WIDTH, HEIGHT = 176, 144

# A viewer is content with so many decoded frames of each kind.
ENOUGH = 25


if os.environ.get("FOREIGN_CERTIFICATE") == "rsa":
    RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    RTCCertificate.generateCertificate = classmethod(lambda cls: cls(key=RSA, cert=generate_certificate(RSA)))


# Only this protection profile of SRTP, by the name that OpenSSL has for it.
if profile := os.environ.get("FOREIGN_PROFILE"):
    rtcdtlstransport.SRTP_PROFILES[:] = [
        one for one in rtcdtlstransport.SRTP_PROFILES if one.openssl_profile.decode() == profile
    ]
    assert rtcdtlstransport.SRTP_PROFILES, f"no profile {profile}"


class Flashing(VideoStreamTrack):
    """A picture that is brighter from frame to frame."""

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        frame.planes[0].update(bytes([16 + pts // 3000 * 8 % 200]) * frame.planes[0].buffer_size)
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, Fraction(time_base)
        return frame


class Tone(AudioStreamTrack):
    """A square wave of 500 Hz: sound that can be told from silence."""

    async def recv(self):
        frame = await super().recv()
        [plane] = frame.planes
        period = [b"\x00\x10" if at < 8 else b"\x00\xf0" for at in range(16)]
        plane.update((b"".join(period) * (frame.samples // 16 + 1))[: plane.buffer_size])
        return frame


class Seen:
    """What a viewer has decoded."""

    def __init__(self, kinds):
        self.frames = dict.fromkeys(kinds, 0)
        self.shades = set()
        self.size = None
        self.enough = asyncio.Event()

    async def take(self, track):
        while True:
            frame = await track.recv()
            self.frames[track.kind] += 1
            if track.kind == "video":
                self.size = [frame.width, frame.height]
                self.shades.add(bytes(frame.planes[0])[frame.width * 3])
            if all(count >= ENOUGH for count in self.frames.values()):
                self.enough.set()

    def told(self, codecs):
        return {"frames": self.frames, "shades": len(self.shades), "size": self.size, "codecs": codecs}


def call(method, url, token, body=None):
    headers = {"Content-Type": "application/sdp"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body and body.encode(), method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.headers.get("Location"), reply.read().decode()


def codecs_of(sdp):
    return sorted({line.split(" ")[1].split("/")[0] for line in sdp.splitlines() if line.startswith("a=rtpmap:")} - {"rtx"})


async def main(what, url, token, kinds):
    # No server: everything is on this machine.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connected, seen, tasks = asyncio.Event(), Seen(kinds), []

    @pc.on("connectionstatechange")
    def changed():
        if pc.connectionState == "connected":
            connected.set()

    @pc.on("track")
    def came(track):
        tasks.append(asyncio.ensure_future(seen.take(track)))

    for kind in kinds:
        if what == "watch":
            pc.addTransceiver(kind, direction="recvonly")
        else:
            pc.addTransceiver(Flashing() if kind == "video" else Tone(), direction="sendonly")
    await pc.setLocalDescription(await pc.createOffer())
    location, answer = call("POST", url, token, pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(type="answer", sdp=answer))
    await asyncio.wait_for(connected.wait(), 20)
    if what == "watch":
        try:
            await asyncio.wait_for(seen.enough.wait(), 30)
        except asyncio.TimeoutError:
            pass
    print(json.dumps(seen.told(codecs_of(answer))), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    call("DELETE", urllib.parse.urljoin(url, location), token)
    await pc.close()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].split("+")))
