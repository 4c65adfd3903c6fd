#!/usr/bin/env python3
"""A stand-in for systemctl, of services with Type=notify and Restart=always. What has ended is started again when somebody looks.

$UNITS is a directory with a file UNIT.json for each unit: {"command": [...], "environment": {...}}.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

HOME = pathlib.Path(os.environ["UNITS"])
# Instead of TimeoutStartSec=, seconds: a busy machine starts a program slowly. One that says that it is never ready has had its time.
START_TIMEOUT = 60
NEVER = b"STATUS=never ready"


class Unit:
    def __init__(self, name):
        self.name = name
        self.description = json.loads((HOME / f"{name}.json").read_text())

    def file(self, what):
        return HOME / f"{self.name}.{what}"

    def number(self, what):
        try:
            return int(self.file(what).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def start(self):
        self.file("status").unlink(missing_ok=True)
        notify = self.file("notify")
        notify.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(notify))
        listener.settimeout(0.05)
        # Whoever finds the status finds all of it: a shell makes the file before it writes into it.
        script = 'log=$1 pid=$2 status=$3; shift 3; "$@" >>"$log" 2>&1 & echo $! >"$pid"; wait $!; ' \
            'echo $? >"$status.new"; mv "$status.new" "$status"'
        files = [str(self.file(what)) for what in ("log", "pid", "status")]
        environment = {**os.environ, **self.description["environment"], "NOTIFY_SOCKET": str(notify)}
        subprocess.Popen(
            ["sh", "-c", script, "sh", *files, *self.description["command"]],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/",
        )
        begun = time.monotonic()
        while time.monotonic() - begun < START_TIMEOUT:
            if self.file("status").exists():
                return f"the control process exited with status {self.number('status')}"
            try:
                said = listener.recv(4096)
                if b"READY=1" in said:
                    return None
                if NEVER in said:
                    break
            except TimeoutError:
                pass
        self.stop()
        return "a timeout was exceeded"

    def stop(self):
        pid = self.number("pid")
        for each in (signal.SIGTERM, signal.SIGKILL):
            begun = time.monotonic()
            while pid and not self.file("status").exists() and time.monotonic() - begun < 10:
                try:
                    os.kill(pid, each)
                except ProcessLookupError:
                    pass
                time.sleep(0.05)

    def show(self):
        ended = self.file("status").exists()
        failed = ended and self.number("status") == 78
        state = "failed" if failed else "activating" if ended else "active" if self.number("pid") else "inactive"
        if ended and not failed:
            self.file("restarts").write_text(str(self.number("restarts") + 1))
            self.start()
        command = self.description["command"]
        variables = " ".join(f"{name}={value}" for name, value in self.description["environment"].items())
        print(f"MainPID={self.number('pid')}\nNRestarts={self.number('restarts')}")
        print(f"ExecStart={{ path={command[0]} ; argv[]={' '.join(command)} ; ignore_errors=no ; pid=0 }}")
        print(f"Environment={variables}\nStateDirectory=\nLoadState=loaded\nActiveState={state}")


verb, name = sys.argv[1], sys.argv[-1]
with open(HOME / "calls", "a") as calls:
    if verb != "show":
        calls.write(f"{verb} {name}\n")
if not (HOME / f"{name}.json").exists():
    print("LoadState=not-found\nActiveState=inactive")
elif verb == "show":
    Unit(name).show()
elif verb == "stop":
    Unit(name).stop()
elif verb == "restart":
    unit = Unit(name)
    unit.stop()
    unit.file("restarts").write_text("0")
    failed = unit.start()
    if failed:
        sys.exit(f"Job for {name} failed because {failed}.")
