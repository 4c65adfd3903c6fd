"""A client that is no browser: aiortc plays a WAV into a session's microphone.

client.py BASE_URL WAV SECONDS: prints one JSON line once it is connected and one when it is done.
"""

import asyncio
import json
import sys
import urllib.request

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        text = reply.read()
        return json.loads(text) if text else None


async def main(base, wav, seconds):
    servers = [
        RTCIceServer(urls=server["urls"], username=server.get("username"), credential=server.get("credential"))
        for server in call("GET", f"{base}_neck/ice")["iceServers"]
    ]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    connected = asyncio.Event()

    @pc.on("connectionstatechange")
    def changed():
        if pc.connectionState == "connected":
            connected.set()

    player = MediaPlayer(wav, loop=True)
    pc.addTransceiver(player.audio, direction="sendonly")
    await pc.setLocalDescription(await pc.createOffer())
    # aiortc gathers before it offers: the candidates are in the SDP.
    offer = {"type": "offer", "sdp": pc.localDescription.sdp}
    answer = call("POST", f"{base}mic/offer", offer)
    await pc.setRemoteDescription(RTCSessionDescription(**answer))
    await asyncio.wait_for(connected.wait(), 20)
    print(json.dumps({"state": pc.connectionState}), flush=True)
    await asyncio.sleep(seconds)
    call("DELETE", f"{base}mic")
    await pc.close()
    print(json.dumps({"state": "done"}), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
