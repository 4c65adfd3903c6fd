"""A release server of one's own: keys, newer builds of the real program, and builds that are bad in every way."""
import hashlib
import json
import platform
import re
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from machine import Failed

PORT = 8000
ARCHITECTURE = "amd64" if platform.machine() == "x86_64" else "arm64"
FILE = f"hydraneckwebrtc-linux-{ARCHITECTURE}"

# Where a host has sound builds, which bad ones begin as.
SOUND = "/opt/sound"


def version_of(program):
    return subprocess.run([program, "version"], check=True, capture_output=True, text=True).stdout.split()[1]


def another(program, version, to):
    """The same program with another version, so that nothing has to be built twice. Its first two numbers are replaced, with the dots:
    the compiler puts a text of five letters into the code as four and one."""
    data, old = Path(program).read_bytes(), version_of(program)
    head, new = old.rsplit(".", 1)[0] + ".", version.rsplit(".", 1)[0] + "."
    if len(head) != len(new):
        raise Failed(f"{version} cannot stand in the place of {old}")
    # Not in a path of a dependency.
    to.write_bytes(re.sub(re.escape(head.encode()) + rb"(?!\d+/)", new.encode(), data))
    to.chmod(0o755)
    if version_of(to) != version:
        raise Failed(f"{to} says that it is {version_of(to)}")
    return to


class Releases:
    """A release server's tree, and whoever signs."""

    def __init__(self, work, program):
        self.tree, self.keys, self.program = work / "releases", work / "keys", program
        self.keys.mkdir()
        for name in ("release", "other"):
            words = ["minisign", "-G", "-W", "-p", self.keys / f"{name}.pub", "-s", self.keys / name]
            subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        major, minor, patch = version_of(program).split(".")
        # As many letters as the program's own has.
        self.versions = iter(
            f"{one:0{len(major)}}.{two:0{len(minor)}}.{patch}"
            for one in range(int(major) + 1, 10 ** len(major)) for two in range(10 ** len(minor))
        )

    def build(self, version):
        """A newer build that is sound."""
        to = self.tree.parent / f"build-{version}"
        return to if to.exists() else another(self.program, version, to)

    def publish(self, version, content, key="release", comment=None):
        """Signs and names it. `content`: a file, or a script."""
        directory = self.directory(version)
        directory.mkdir(parents=True)
        content = content.read_bytes() if isinstance(content, Path) else content.encode()
        (directory / FILE).write_bytes(content)
        (directory / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  {FILE}\n")
        comment = comment or f"hydraneckwebrtc {version} production"
        words = ["minisign", "-S", "-t", comment, "-s", self.keys / key, "-m", directory / "SHA256SUMS"]
        subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        self.name(version)
        return version

    def name(self, version):
        """Says that it is the newest."""
        (self.directory(version).parent / "latest.json").write_text(json.dumps({"version": version}))

    def directory(self, version):
        return self.tree / f"hydraneckwebrtc/production/v{version}"

    def sound(self):
        """The next version, as it should be."""
        version = next(self.versions)
        return self.publish(version, self.build(version))

    def bad(self, machine, role, mood):
        """The next version, with another way to run its role. `mood`: a script; `$sound` is a build of the same version."""
        version = next(self.versions)
        sound = f"{SOUND}/{version}"
        machine.install(self.build(version), sound)
        script = f'#!/bin/sh\nsound={sound}\n[ "$1" = {role} ] || exec "$sound" "$@"\n{mood}\n'
        return self.publish(version, script)


class Handler(BaseHTTPRequestHandler):
    """Serves the tree. While `hold` stands beside it, a program is served by half, until that is taken away."""

    def do_GET(self):
        tree = self.server.tree
        path = tree / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        hold = tree.parent / "hold"
        if path.name == FILE and hold.exists():
            half = len(data) // 2
            self.wfile.write(data[:half])
            self.wfile.flush()
            (tree.parent / "held").touch()
            while hold.exists():
                time.sleep(0.05)
            data = data[half:]
        cut = tree.parent / "cut"
        if path.name == FILE and cut.exists():
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main(tree):
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.tree = Path(tree)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
