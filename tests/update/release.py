#!/usr/bin/env python3
"""A stand-in for a released program. The test puts version and mood in the place of these words."""
import http.server
import json
import os
import pathlib
import socket
import sys
import threading
import time

VERSION, MOOD = "@VERSION@", "@MOOD@"


def tell_systemd(text):
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sessions = pathlib.Path(os.environ.get("SESSIONS", "/nowhere"))
        people = sessions.read_text().split() if sessions.exists() else ["0"]
        if people == ["silent"]:
            return
        active, members = int(people[0]), int("".join(people[1:]) or 0)
        version = "0.1.7" if MOOD == "runs as another" else VERSION
        extra = {"active_sessions": active, "room_members": members}
        body = {"service": "hydraneckwebrtc", "version": version, "extra": extra}
        body = json.dumps(body).encode()
        self.send_response(503 if MOOD == "unready" and "ready" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(config):
    host, port = json.loads(pathlib.Path(config).read_text())["server"]["listen"].rsplit(":", 1)
    if MOOD == "exit 1":
        sys.exit("the stand-in fails")
    if MOOD == "exit 78":
        sys.exit(78)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tell_systemd("STATUS=never ready" if MOOD == "never ready" else "READY=1")
    if MOOD == "crash":
        time.sleep(0.3)
        os._exit(2)
    while True:
        time.sleep(1000)


verb = sys.argv[1]
if verb == "version":
    print("hydraneckwebrtc " + ("0.1.7" if MOOD == "says another" else VERSION))
    sys.exit(3 if MOOD == "no version" else 0)
elif verb == "validate":
    sys.exit("server.listen: the stand-in wants none of it" if MOOD == "refuses" else 0)
else:
    serve(sys.argv[sys.argv.index("--config") + 1])
