"""A host: a disk with a Debian on it, a network card, and a systemd that is its first process."""
import fcntl
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent

# FS_IOC_SHUTDOWN, and its order to write nothing more, not even what the journal of the file system holds.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2

# A part of it is used: the file has holes.
DISK = 3 << 30

# A busy machine boots slowly.
BOOT = 120

# Boots go on without it: it says so when what it took back was bad.
MAY_FAIL = {"hydraneckwebrtc-update-resume.service"}

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(Exception):
    """What a test says when it fails."""


class Done:
    """How a command ended, and what it said."""

    def __init__(self, words, status, text):
        self.words, self.status, self.text = words, status, text

    def __str__(self):
        return f"{' '.join(self.words)}: {self.status}\n{self.text}"


def until(what, holds, limit=BOOT, pause=0.1):
    """Waits until it holds, and gives what it gave."""
    end = time.monotonic() + limit
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"not within {limit} s: {what}")
        time.sleep(pause)


class Machine:
    """One host of the town."""

    def __init__(self, town, name, address, tree):
        self.town, self.name, self.address = town, name, address
        self.root = town.work / name / "root"
        self.disk = town.work / name / "disk"
        self.boots, self.since, self.init, self.process = 0, 0, None, None
        self.root.mkdir(parents=True)
        with self.disk.open("wb") as disk:
            disk.truncate(DISK)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, self.disk], check=True)
        town.plug(name, address)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.init is not None:
            if kind is not None:
                self.tell()
            self.cut()
        self.town.unplug(self.name)

    def start(self):
        """Mounts the disk, as it is, and boots."""
        # Names that are renamed over others get no help from the file system: the program has to see to it by itself.
        subprocess.run(["mount", "-o", "loop,noauto_da_alloc,commit=60", self.disk, self.root], check=True)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/hosts").write_text(self.town.hosts())
        self.boots, self.since = self.boots + 1, int(time.time())
        group = self.town.groups / f"{self.name}-{self.boots}"
        group.mkdir()
        log = (self.town.work / self.name / f"boot-{self.boots}.log").open("wb")
        self.process = subprocess.Popen(
            ["sh", HERE / "boot", self.root, group, self.name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        self.init = int(until("its first process", self._first_process))
        until(f"{self.name} has booted", self._is_up)

    def tell(self):
        """What its services said last, for whoever asks why a test failed."""
        for unit in ("hydraneckwebrtc-controller", "hydraneckwebrtc", "hydraneckwebrtc-update"):
            said = self.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "20", "-u", unit, check=None).text
            if "No entries" not in said:
                print(f"--- {self.name}, {unit}:\n{said}", flush=True)

    def _first_process(self):
        if self.process.poll() is not None:
            log = (self.town.work / self.name / f"boot-{self.boots}.log").read_text()
            raise Failed(f"{self.name} does not boot:\n{log}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return children.strip()

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=None).text.strip()
        if state == "degraded" and (failed := self.failed() - MAY_FAIL):
            raise Failed(f"{self.name}: {failed} failed at boot")
        return state in ("running", "degraded")

    def failed(self):
        """The units that failed."""
        listed = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager").text
        return {line.split()[0] for line in listed.splitlines()}

    def cut(self):
        """The power goes: what is not on the disk is lost, and nobody can do anything more."""
        root = os.open(self.root, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(root)
        self._end(signal.SIGKILL)

    def off(self):
        """An orderly end."""
        self._end(signal.SIGRTMIN + 4)

    def _end(self, how):
        os.kill(self.init, how)
        self.process.wait(timeout=BOOT)
        self.init = None
        unmount = ["umount", self.root]
        # The last process may hold it for a moment.
        until("its disk is free", lambda: subprocess.run(unmount, capture_output=True).returncode == 0)

    def words(self, *words):
        """A command inside, for subprocess."""
        enter = ["nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"]
        return [*enter, "--target", str(self.init), "env", "-i", "-C", "/", f"PATH={PATH}", "HOME=/root", *words]

    def run(self, *words, check=0, limit=240):
        """Runs a command inside to its end; its status must be `check`."""
        words = tuple(map(str, words))
        done = subprocess.run(
            self.words(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit,
        )
        done = Done(words, done.returncode, done.stdout.decode(errors="replace"))
        if check is not None and done.status != check:
            raise Failed(f"{self.name}: {done}")
        return done

    def sh(self, script, **more):
        return self.run("sh", "-ec", script, **more)

    def path(self, path):
        """Where a path of its own is, as seen from here."""
        return self.root / path.lstrip("/")

    def write(self, path, text, mode=0o644):
        path = self.path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def install(self, program, to):
        """Copies a program there."""
        subprocess.run(["install", "-D", "-m", "0755", program, self.path(to)], check=True)

    def read(self, path):
        return self.path(path).read_text()

    def is_active(self, unit):
        return self.run("systemctl", "is-active", unit, check=None).text.strip() == "active"

    def journal(self, unit):
        """What it said since this boot, which has the kernel's name as all others have: so by time."""
        return self.run("journalctl", "--no-pager", f"--since=@{self.since}", "-o", "cat", "-u", unit).text

    def edit(self, path, *changes):
        """As an operator edits a file: each pattern is replaced, once."""
        text = self.read(path)
        for pattern, put in changes:
            text, count = re.subn(pattern, lambda _: put, text, count=1)
            if count != 1:
                raise Failed(f"{path} has no {pattern!r}:\n{text}")
        self.path(path).write_text(text)
