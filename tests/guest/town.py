"""What surrounds the hosts: their network, names, an authority for certificates, a body, and a browser's part of a stream."""
import base64
import contextlib
import email
import hashlib
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from machine import HERE, Failed, Machine, until

# Here, where the world is: a bridge with the authority and the body.
OUTSIDE = "203.0.113.1"
CONTROLLER = "203.0.113.2"
WORKER = "203.0.113.7"
BODY = "10.10.100.6"
NAME = "neck.test"
AUTHORITY = "https://ca.test:14000/dir"

NETNS = "/run/netns"


def command(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more)


class Town:
    """Everything but the hosts."""

    def __init__(self, trees, work, program, body):
        self.trees, self.work, self.program, self.stand_ins = trees, work, program, body.parent
        self.processes, self.body = [], None
        # `run` removes them.
        self.groups = cgroup2() / os.environ["NECK_GROUP"]
        self.groups.mkdir()
        command("mount", "-t", "tmpfs", "tmpfs", "/run")
        os.makedirs(NETNS)
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", "town", "type", "bridge")
        command("ip", "address", "add", f"{OUTSIDE}/24", "dev", "town")
        command("ip", "link", "set", "town", "up")
        command("ip", "address", "add", f"{BODY}/32", "dev", "lo")
        # This is the way to itself, too: names of ours are known here.
        (work / "hosts").write_text(self.hosts())
        command("mount", "--bind", work / "hosts", "/etc/hosts")
        self.start_body(body)
        self.start_authority()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def machine(self, name, address, tree=None):
        """`tree`: its Debian; default: the first."""
        return Machine(self, name, address, tree or next(iter(self.trees.values())))

    @staticmethod
    def hosts():
        return f"127.0.0.1 localhost\n{OUTSIDE} ca.test\n{CONTROLLER} {NAME}\n{WORKER} worker.test\n"

    @staticmethod
    def plug(name, address):
        """Gives a host a network card with this address; it keeps it when it is off."""
        command("ip", "netns", "add", name)
        command("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        command("ip", "link", "set", f"to-{name}", "master", "town", "up")
        for words in (
            f"link set lo up|link set eth0 up|address add {address}/24 dev eth0|route add default via {OUTSIDE}"
        ).split("|"):
            command("ip", "-n", name, *words.split())

    @staticmethod
    def unplug(name):
        # Whatever is left in its network has no way out any more.
        command("ip", "link", "del", f"to-{name}")
        command("ip", "netns", "del", name)

    def process(self, name, *words, **more):
        """Something that runs until the end."""
        log = (self.work / f"{name}.log").open("wb")
        more = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **more}
        process = subprocess.Popen([str(word) for word in words], **more)
        self.processes.append(process)
        return process

    def start_body(self, program):
        words = [program, BODY, 47989, 47990, 47991, "sunshine", "sunshine"]
        self.body = self.process("body", *words, stdin=subprocess.PIPE)
        until("the body", lambda: (self.work / "body.log").read_text().startswith("ready"))

    def start_authority(self):
        """Pebble, whose own HTTPS needs a certificate, and a name server for it."""
        work = self.work
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command(*request, "-subj", "/CN=root", "-keyout", work / "ca-root.key", "-out", work / "ca-root.pem")
        command(
            *request, "-CA", work / "ca-root.pem", "-CAkey", work / "ca-root.key", "-subj", "/CN=ca.test",
            "-addext", "subjectAltName=DNS:ca.test", "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", work / "ca.key", "-out", work / "ca.pem",
        )
        config = {
            "listenAddress": f"{OUTSIDE}:14000", "managementListenAddress": f"{OUTSIDE}:15000",
            "certificate": str(work / "ca.pem"), "privateKey": str(work / "ca.key"), "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
        }
        (work / "pebble.json").write_text(json.dumps({"pebble": config}))
        said = subprocess.run(["pebble-challtestsrv", "-help"], capture_output=True, text=True, check=False).stderr
        # Its name depends on the version.
        names = "-dnsserver" if "-dnsserver" in said else "-dns01"
        self.process(
            "names", "pebble-challtestsrv", names, "127.0.0.1:8053", "-http01", "", "-https01", "", "-tlsalpn01", "",
            "-management", "127.0.0.1:8055", "-defaultIPv6", "", "-defaultIPv4", CONTROLLER,
        )
        self.process(
            "pebble", "pebble", "-config", work / "pebble.json", "-dnsserver", "127.0.0.1:8053",
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"},
        )
        own = ssl.create_default_context(cafile=work / "ca-root.pem")
        root = until("the authority", lambda: fetched("https://ca.test:15000/roots/0", own))
        (work / "issued.pem").write_bytes(root)

    def tls(self):
        """How a browser sees the controller."""
        return ssl.create_default_context(cafile=self.work / "issued.pem")


def cgroup2():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, kind, _ = line.split(" ", 3)
        if kind == "cgroup2":
            return pathlib.Path(where)
    raise Failed("there is no cgroup2 here")


def fetched(url, tls):
    try:
        return urllib.request.urlopen(url, context=tls, timeout=5).read()
    except OSError:
        return None


class Viewer(threading.Thread):
    """Who watches a stream: the page, then the WebSocket of signalling, over which the stand-in's media come."""

    def __init__(self, town, url):
        super().__init__(daemon=True)
        self.town, self.url = town, urllib.parse.urlsplit(url)
        self.pieces, self.connections, self.over, self.problem = 0, 0, False, None
        self.start()
        self.goes_on("the stream begins")

    def run(self):
        while not self.over:
            try:
                self.watch()
            except OSError as error:
                self.problem = error
            # As the page does, which connects again.
            time.sleep(0.2)

    def watch(self):
        page = self.page()
        if b" 307 " in page.split(b"\r\n", 1)[0]:
            place = email.message_from_bytes(page.split(b"\r\n", 1)[1])["Location"]
            self.url = urllib.parse.urlsplit(urllib.parse.urljoin(self.url.geturl(), place))
            page = self.page()
        if b" 200 " not in page.split(b"\r\n", 1)[0]:
            raise OSError(page[:1000])
        query = urllib.parse.parse_qs(self.url.query)
        with contextlib.closing(self.connect()) as stream:
            reader = self.upgrade(stream)
            self.say(stream, {"Init": {
                "host_id": int(query["hostId"][0]), "app_id": int(query["appId"][0]),
                "video_frame_queue_size": 3, "audio_sample_queue_size": 20,
            }})
            self.connections += 1
            self.listen(stream, reader)

    def connect(self):
        plain = socket.create_connection((self.url.hostname, 443), timeout=60)
        return self.town.tls().wrap_socket(plain, server_hostname=self.url.hostname)

    def page(self):
        with contextlib.closing(self.connect()) as stream:
            path = self.url._replace(scheme="", netloc="").geturl()
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.url.hostname}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: stream.recv(65536), b""))

    def upgrade(self, stream):
        key = base64.b64encode(os.urandom(16)).decode()
        path = self.url.path.rsplit("/", 1)[0] + "/api/host/stream"
        stream.sendall((
            f"GET {path} HTTP/1.1\r\nHost: {self.url.hostname}\r\nOrigin: https://{self.url.hostname}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode())
        reader = stream.makefile("rb")
        if b" 101 " not in reader.readline():
            raise OSError("no WebSocket")
        expected = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        fields = list(iter(reader.readline, b"\r\n"))
        if not any(expected in field for field in fields):
            raise OSError(f"another WebSocket: {fields}")
        return reader

    @staticmethod
    def say(stream, message):
        text = json.dumps(message).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
        stream.sendall(b"\x81" + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)))

    def listen(self, stream, reader):
        playing = False
        while not self.over:
            first, length = reader.read(2) or (0x88, 0)
            length &= 0x7F
            if length == 126:
                length, = struct.unpack(">H", reader.read(2))
            elif length == 127:
                length, = struct.unpack(">Q", reader.read(8))
            data = reader.read(length)
            kind = first & 0x0F
            if kind == 8:
                raise OSError("the stream was closed")
            if kind == 1 and b'"Setup"' in data:
                self.say(stream, {"Offer": {"sdp": ""}})
            if kind == 2:
                self.pieces += 1
                if not playing:
                    playing = True
                    self.say(stream, "Playing")

    def goes_on(self, what):
        """Waits for more of it."""
        before = self.pieces
        try:
            until(what, lambda: self.pieces > before + 2)
        except Failed as failed:
            raise Failed(f"{failed}; {self.pieces} pieces, {self.connections} connections, {self.url.path}: {self.problem}") from None


class Crowd:
    """Asks again and again, each time by a new connection, and counts what becomes of it."""

    def __init__(self, address, tls=None):
        self.address, self.tls = address, tls
        self.answers, self.refused, self.broken = 0, 0, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def ask(self):
        while not self.over.is_set():
            try:
                plain = socket.create_connection(self.address, timeout=120)
                with (self.tls.wrap_socket(plain, server_hostname=NAME) if self.tls else plain) as stream:
                    stream.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                    if stream.recv(64).startswith(b"HTTP/1.1 200"):
                        self.answers += 1
                    else:
                        self.broken.append("no answer")
            except ConnectionRefusedError:
                self.refused += 1
            except OSError as error:
                self.broken.append(f"{error}")
            time.sleep(0.02)

    def __str__(self):
        return f"{self.answers} answered, {self.refused} refused, {len(self.broken)} broken off {sorted(set(self.broken))}"
