"""The way through: each part is a function, and stops at the first thing that is not as promised. Called by `run`."""
import argparse
import contextlib
import hashlib
import json
import pathlib
import random
import re
import subprocess
import threading
import time
import urllib.request

import releases
from machine import PATH, Failed, until
from town import AUTHORITY, BODY, CONTROLLER, HERE, NAME, WORKER, Crowd, Town, Viewer

TREE = HERE.parents[1]
CONFIG = "/root/.hydraneckwebrtc/config.yaml"
PROGRAM = "/usr/local/bin/hydraneckwebrtc"
SERVICES = {"controller": "hydraneckwebrtc-controller", "worker": "hydraneckwebrtc"}
STREAMS = "/opt/moonlight-web-stream"

# What an update notes of a version that nobody has judged yet.
TRIAL = "/var/lib/hydraneckwebrtc-update/trial.json"

# How long a new version is watched here; by default it is a minute.
WATCH = 6

# What a check of a sound host may warn of here: the kernel's WireGuard, and what this machine has not.
MAY_WARN = {"confinement", "stream process"}

STARTED = time.monotonic()


def fine(text):
    print(f"[{time.monotonic() - STARTED:4.0f} s] ok: {text}", flush=True)


def expect(holds, text):
    if not holds:
        raise Failed(text)


# Hosts ------------------------------------------------------------------------------------------------------------------------------


def stand_in_streams(town, machine):
    """What stands in the place of moonlight-web-stream."""
    machine.sh(f"mkdir -p {STREAMS}")
    for name in ("web-server", "streamer"):
        program = town.work / name
        subprocess.run(["strip", "-o", program, town.stand_ins / f"stand-in-{name}"], check=True)
        machine.install(program, f"{STREAMS}/{name}")
    subprocess.run(["cp", "-r", TREE / "tests/support/standins/static", machine.path(STREAMS) / "static"], check=True)
    machine.sh(f"chmod -R a+rX {STREAMS}")


def neck(machine, *words, **more):
    return machine.run("hydraneckwebrtc", *words, **more)


def set_up(machine, *words):
    """`setup`: says what it would do and does nothing, does it, and has nothing to do then."""
    def files():
        return machine.sh("find /etc /root -type f ! -name '*.deb' | xargs md5sum | sort").text

    before = files()
    would = neck(machine, "setup", *words, "--dry-run").text
    expect(files() == before, f"--dry-run changes something:\n{would}")
    expect("would write" in would and "would run systemctl" in would, would)
    did = neck(machine, "setup", *words).text
    expect("\nwould " not in did and "\nrun systemctl" in did, did)
    again = neck(machine, "setup", *words).text
    expect(again.startswith("nothing to do"), f"a second setup does something:\n{again}")


def controller(town, machine, more=""):
    set_up(machine, "controller", "--domain", NAME)
    without_a_socket(machine)
    # Without an authority that is reached it serves, and says what it waits for.
    expect(machine.is_active("hydraneckwebrtc-controller.service"), machine.journal("hydraneckwebrtc-controller"))
    machine.write("/etc/neck/ca.pem", (town.work / "ca-root.pem").read_text())
    machine.edit(CONFIG, (r"(?m)^server:\n", f"server:\n  acme: {{directory: {AUTHORITY}, ca_file: /etc/neck/ca.pem}}\n"))
    add(machine, more)
    neck(machine, "validate", "--config", CONFIG)
    machine.run("systemctl", "restart", "hydraneckwebrtc-controller")
    until("its certificate", lambda: answers(town), limit=60)


def without_a_socket(machine):
    """A controller that runs without its socket unit, as by a capability: setup goes on, and says when it has it."""
    machine.run("systemctl", "disable", "--now", "hydraneckwebrtc-controller.socket")
    expect(machine.is_active("hydraneckwebrtc-controller.service"), "the controller ends with its socket unit")
    told = neck(machine, "setup", "controller", "--domain", NAME).text
    expect("run systemctl enable hydraneckwebrtc-controller.socket" in told, told)
    advice = re.search(r"at once, as a restart: (.*)", told)
    expect(advice, told)
    machine.sh(advice[1])
    expect(neck(machine, "setup", "controller", "--domain", NAME).text.startswith("nothing to do"), told)


def answers(town):
    with contextlib.suppress(OSError):
        viewer = Crowd((CONTROLLER, 443), town.tls())
        with viewer:
            time.sleep(0.3)
        return viewer.answers


def worker(town, machine, at, more=""):
    """`at`: the controller."""
    stand_in_streams(town, machine)
    machine.write("/root/token", at.read("/root/.hydraneckwebrtc/workers-token"), 0o600)
    set_up(machine, "worker", "--controller", f"https://{NAME}", "--token-file", "/root/token", "--public-ip", WORKER)
    machine.write("/etc/neck/issued.pem", (town.work / "issued.pem").read_text())
    # This kernel has no WireGuard, as a rule.
    add(machine, f"bodies: {{wireguard_networks: []}}\nsunshine: {{username: sunshine, password: sunshine}}\n{more}")
    machine.edit(CONFIG, (r"(?m)^controller:\n", "controller:\n  ca_file: /etc/neck/issued.pem\n"))
    neck(machine, "validate", "--config", CONFIG)
    machine.run("systemctl", "restart", "hydraneckwebrtc")
    until("the controller has a worker", lambda: " up " in f"{neck(at, 'workers').text} ")


def add(machine, text):
    with machine.path(CONFIG).open("a") as file:
        file.write(text)


def doctor(machine):
    return json.loads(neck(machine, "doctor", "--json", "--config", CONFIG, check=None).text)


def examined(machine, role):
    """`doctor`: nothing fails, and only that is warned of which this machine lacks."""
    told = doctor(machine)
    wrong = [check for check in told["checks"] if check["level"] != "ok" and check["check"] not in MAY_WARN]
    expect(told["sound"] and not wrong, f"doctor on the {role}: {json.dumps(wrong, indent=1, ensure_ascii=False)}")
    fine(f"doctor on the {role}: {len(told['checks'])} checks, " + ", ".join(sorted({check["check"] for check in told["checks"]})))


def stream(town, at):
    """A session by the controller's own client, and somebody who watches."""
    words = ["session", "start", "--body-ip", BODY, "--experience", "Desktop", "--json"]
    session = json.loads(neck(at, *words).text)
    return session["session_id"], Viewer(town, session["stream_url"])


def health(town, role):
    """What the role answers to strangers; nothing while it does not."""
    where = f"https://{NAME}" if role == "controller" else f"http://{WORKER}:47990"
    try:
        return json.loads(urllib.request.urlopen(f"{where}/api/v1/health?ready", context=town.tls(), timeout=30).read())
    except OSError as error:
        return {"version": None, "error": f"{error}"}


def runs(town, role, version):
    found = health(town, role)
    expect(found["version"] == version, f"the {role} does not run as {version}: {found}")


# Parts ------------------------------------------------------------------------------------------------------------------------------


def section(page, title):
    """What stands under a heading."""
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def readme(town):
    """README, line by line as it stands there, on a Debian that has nothing but what README asks for."""
    page = (TREE / "README.md").read_text()
    lines = [line for line in blocks(section(page, "Install"), "sh")[0].splitlines() if line.strip()]
    configurations = {re.search(r"^mode: (\w+)", text).group(1): text for text in blocks(section(page, "First configuration"), "yaml")}
    for suite, tree in town.trees.items():
        for role, unit in SERVICES.items():
            with town.machine(f"{suite[0]}-{role}", CONTROLLER, tree) as machine:
                ours, other = unit, SERVICES["worker" if role == "controller" else "controller"]
                as_written(town, machine, [line for line in lines if f"--now {other} " not in line], configurations[role])
                expect(machine.is_active(f"{ours}.service"), f"{suite}: {machine.journal(ours)}")
                until(f"{role} answers", lambda: machine_health(machine, role), limit=60)
                told = neck(machine, "doctor", "--config", CONFIG, check=None).text
                expect(re.search(r"(?m)^ok +service ", told), told)
                fine(f"README on {suite}, {role}: {len(lines) - 1} lines")


def machine_health(machine, role):
    """What a role says on its own host, asked as `doctor` asks."""
    return [check for check in doctor(machine)["checks"] if check["check"] == "service" and "it runs" in check["text"]]


def as_written(town, machine, lines, configuration):
    """Types the lines, in a copy of the sources. `cargo` is one that has built already."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=TREE, check=True, capture_output=True).stdout
    machine.path("/source").mkdir()
    words = ["xargs", "-0", "cp", "--parents", "-t", machine.path("/source")]
    subprocess.run(words, cwd=TREE, input=files, check=True)
    machine.install(town.program, "/opt/built")
    to = "target/x86_64-unknown-linux-gnu/release"
    cargo = f'#!/bin/sh -e\n[ "$*" = "build --release" ]\nmkdir -p {to}\ncp /opt/built {to}/hydraneckwebrtc\n'
    machine.write("/opt/cargo/cargo", cargo, 0o755)
    # As README says: a secret of one's own where it says "…".
    configuration = re.sub("…", lambda _: random.randbytes(32).hex(), configuration)
    for line in lines:
        machine.run("env", "-C", "/source", "PATH=/opt/cargo:" + PATH, "bash", "-c", line)
        if ".hydraneckwebrtc " in line and line.startswith("install -d"):
            machine.write(CONFIG, configuration, 0o600)


def package(town):
    """From the package to a stream; what an upgrade, `update` and a removal do then."""
    ours = releases.version_of(town.program)
    later = next(town.releases.versions)
    debs, began = {}, time.monotonic()
    for number, program in ((ours, town.program), (later, town.releases.build(later))):
        out = town.work / f"deb-{number}"
        words = [TREE / "package", "--binary", program, "--out", out]
        debs[number] = TREE / subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    fine(f"two packages made in {time.monotonic() - began:.0f} s")
    with town.machine("neck", CONTROLLER) as neck_host, town.machine("worker", WORKER) as worker_host:
        for machine in (neck_host, worker_host):
            for number, deb in debs.items():
                subprocess.run(["cp", deb, machine.path(f"/root/{number}.deb")], check=True)
            machine.run("dpkg", "-i", f"/root/{ours}.deb")
        controller(town, neck_host)
        worker(town, worker_host, neck_host)
        fine("package installed, `setup controller` and `setup worker`, a certificate, the worker is up")
        examined(neck_host, "controller")
        examined(worker_host, "worker")
        session, viewer = stream(town, neck_host)
        fine(f"a stream plays: {viewer.pieces} pieces")
        told = neck(worker_host, "update", check=1).text
        expect("belongs to a Debian package" in told, told)
        with Crowd((CONTROLLER, 443), town.tls()) as crowd:
            neck_host.run("dpkg", "-i", f"/root/{later}.deb")
            until("the upgraded controller", lambda: health(town, "controller")["version"] == later)
        expect(crowd.refused == 0, f"an upgrade of the controller refuses people: {crowd}")
        viewer.goes_on("the stream goes on after the controller's upgrade")
        fine(f"the controller's upgrade: {crowd}; {viewer.connections} connections of the viewer")
        told = worker_host.run("dpkg", "-i", f"/root/{later}.deb").text
        expect("the worker goes on with the old version" in told, told)
        runs(town, "worker", ours)
        viewer.goes_on("the stream goes on after the worker's upgrade")
        viewer.over = True
        neck(neck_host, "session", "end", session)
        worker_host.run("dpkg", "-i", f"/root/{later}.deb")
        runs(town, "worker", later)
        fine("a worker with a stream keeps its old version over an upgrade; without one it gets the new one")
        for machine in (neck_host, worker_host):
            machine.run("dpkg", "-r", "hydraneckwebrtc")
            active = [unit for unit in SERVICES.values() if machine.is_active(f"{unit}.service")]
            expect(not active, f"a removed package leaves {active} running")
            expect(machine.path(CONFIG).exists(), "a removal takes the configuration")
        fine("removed")


UPDATES = f"""update:
  url: http://127.0.0.1:{releases.PORT}
  key_file: /etc/neck/release.pub
  watch: {WATCH}s
"""


def operate(title):
    """The lines of docs/operate.md that are typed there."""
    text = blocks(section((TREE / "docs/operate.md").read_text(), title), "sh")[0]
    return [line.strip() for line in text.splitlines() if line.strip()]


def by_hand(town, machine):
    """The program alone: `setup` does the rest."""
    machine.install(town.program, PROGRAM)
    machine.write("/etc/neck/release.pub", (town.releases.keys / "release.pub").read_text())
    machine.path("/source").mkdir()
    subprocess.run(["cp", "-r", TREE / "systemd", machine.path("/source/systemd")], check=True)
    # Each host has a way to the release server; that is on this host's own address because plain HTTP is for no other.
    town.process(
        f"releases-{machine.name}", "nsenter", f"--net=/run/netns/{machine.name}", "python3", "-B", HERE / "releases.py",
        town.releases.tree,
    )


@contextlib.contextmanager
def fleet(town):
    """A controller and a worker that are installed by hand."""
    with town.machine("neck-2", CONTROLLER) as neck_host, town.machine("worker-2", WORKER) as worker_host:
        for machine in (neck_host, worker_host):
            by_hand(town, machine)
        controller(town, neck_host, UPDATES)
        # A controller that starts waits for two beats of its workers before it is ready.
        neck_host.edit(CONFIG, (r"(?m)^workers:\n", "workers:\n  heartbeat_interval: 2s\n"))
        neck_host.run("systemctl", "restart", "hydraneckwebrtc-controller")
        worker(town, worker_host, neck_host, UPDATES)
        for machine in (neck_host, worker_host):
            for line in operate("Updates"):
                machine.run("env", "-C", "/source", "bash", "-c", line)
        for line in operate("Ports and socket units"):
            worker_host.run("bash", "-c", line.replace("hydraneckwebrtc-controller", "hydraneckwebrtc"))
        expect(worker_host.is_active("hydraneckwebrtc.socket"), "the worker has no socket")
        fine("a controller and a worker installed by hand, with units that update")
        yield neck_host, worker_host


def update(town, neck_host, worker_host):
    """Newer builds: nobody is refused, and no stream is cut."""
    examined(neck_host, "controller")
    examined(worker_host, "worker")
    new = town.releases.sound()
    told = neck(neck_host, "check-update").text
    expect(f"{new} is there" in told, told)
    session, viewer = stream(town, neck_host)
    with Crowd((CONTROLLER, 443), town.tls()) as crowd:
        told = neck(neck_host, "update").text
    expect(told.strip().endswith(f"to {new}"), told)
    runs(town, "controller", new)
    expect(crowd.refused == 0 and crowd.answers, f"an update of the controller refuses people: {crowd}")
    viewer.goes_on("the stream goes on after the controller's update")
    fine(f"the controller's update to {new}: {crowd}; {viewer.connections} connections of the viewer")
    # The worker has a stream: it waits, and the stream is not touched.
    connections = viewer.connections
    worker_host.run("systemctl", "start", "hydraneckwebrtc-update")
    told = worker_host.journal("hydraneckwebrtc-update")
    expect(f"{new} waits until nobody streams" in told, told)
    viewer.goes_on("the stream goes on while a version waits")
    expect(viewer.connections == connections, f"the stream was cut: {viewer.problem}")
    viewer.over = True
    with Crowd((WORKER, 47990)) as crowd:
        neck(neck_host, "session", "end", session)
        # Nobody starts anything: the worker rings.
        until("the worker is updated by itself", lambda: "updated from" in worker_host.journal("hydraneckwebrtc-update"))
    runs(town, "worker", new)
    expect(crowd.refused == 0 and crowd.answers, f"an update of the worker refuses people: {crowd}")
    fine(f"an idle worker rings, and is updated to {new}: {crowd}")
    session, viewer = stream(town, neck_host)
    viewer.over = True
    neck(neck_host, "session", "end", session)
    fine("and streams again")


# Ready, and a crash while it is watched.
CRASHES = f'(sleep {WATCH / 3}; kill -9 $$) & exec "$sound" "$@"'


def digest(machine, path=PROGRAM):
    return hashlib.sha256(machine.path(path).read_bytes()).hexdigest()


def leftovers(machine):
    """What an update that is over leaves behind, and should not."""
    names = [path.name for path in machine.path("/usr/local/bin").iterdir() if path.name.startswith(".")]
    trial = machine.path(TRIAL)
    return names + ([trial.name] if trial.exists() else [])


def stays(town, machine, role, what, words, rolled_back, status=1):
    """`update` says `words`, and the host is as it was before: the old version runs, after one rollback or none."""
    before, program = health(town, role)["version"], digest(machine)
    told = neck(machine, "update", check=status).text
    expect(words in told, f"{what}: it does not say {words!r}:\n{told}")
    expect(told.count("back\n") == int(rolled_back), f"{what}: not rolled back {int(rolled_back)} times:\n{told}")
    runs(town, role, before)
    expect(digest(machine) == program, f"{what}: another program is in place")
    expect(not leftovers(machine), f"{what}: {leftovers(machine)} is left")
    if rolled_back:
        # The timer leaves it alone.
        told_again = neck(machine, "update", "--auto").text
        expect("was rolled back here" in told_again, f"{what}: {told_again}")
    last = [line for line in told.strip().splitlines() if words in line][-1]
    fine(f"{what}: {last}")


def broken(town, neck_host, worker_host):
    """Builds that are bad in every way: the old version runs, after one rollback, and the host says why."""
    server = town.releases
    for what, mood, words in (
        ("exits 1", "exit 1", "does not start"),
        ("exits 78", "exit 78", "does not start"),
        ("is never ready", "exec sleep 1000", "does not start"),
        ("is ready, then crashes", CRASHES, "is bad"),
        ("runs as another version", f'exec {PROGRAM}.backup "$@"', "runs as"),
    ):
        server.bad(neck_host, "controller", mood)
        stays(town, neck_host, "controller", f"a build that {what}", words, True)
    told = neck(neck_host, "doctor", "--config", CONFIG, check=None).text
    expect(re.search(r"(?m)^warn +updates .* was rolled back here", told), told)
    server.bad(worker_host, "worker", "exit 78")
    stays(town, worker_host, "worker", "a build whose worker exits 78", "does not start", True)

    def stays_untouched(what, words, status=1):
        stays(town, neck_host, "controller", what, words, False, status)

    version = next(server.versions)
    server.publish(version, server.build(next(server.versions)))
    stays_untouched("a build of another version", "it says that it is")
    server.bad(neck_host, "validate", "echo a key of mine is missing >&2; exit 78")
    stays_untouched("a build that refuses the configuration", "a key of mine is missing")
    version = next(server.versions)
    server.publish(version, server.build(version), key="other")
    stays_untouched("a signature by another key", "is not by a key that we believe")
    older, version = server.sound(), next(server.versions)
    server.directory(older).rename(server.directory(version))
    server.name(version)
    stays_untouched("an old release, replayed", f"is signed as {older} of production")
    version = server.sound()
    with (server.directory(version) / releases.FILE).open("r+b") as program:
        program.truncate(1 << 20)
    stays_untouched("a truncated program", "is not the file that was signed")
    server.sound()
    with marked(town, "cut"):
        stays_untouched("a connection that breaks off", "broke off", status=69)
    full(town, neck_host, stays_untouched)
    new = server.sound()
    for machine, role in ((neck_host, "controller"), (worker_host, "worker")):
        neck(machine, "update")
        runs(town, role, new)
    fine(f"after all that, both are updated to {new}")


@contextlib.contextmanager
def marked(town, name):
    """While this file is there, the release server behaves in another way."""
    mark = town.work / name
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def full(town, machine, stays_untouched):
    """The disk is full when half of the program has come."""
    town.releases.sound()
    held, filler = town.work / "held", machine.path("/filler")

    def fill():
        until("half of it has come", held.exists)
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        hold.unlink()

    with marked(town, "hold") as hold:
        thread = threading.Thread(target=fill)
        thread.start()
        stays_untouched("a disk that is full in the middle", "No space left on device")
        thread.join()
    filler.unlink()


def cuts(town, neck_host, _):
    """The power is cut: a whole program is in place, one version runs, and a bad one goes."""
    chance = random.Random(town.seed)
    started = time.monotonic()
    town.releases.sound()
    neck(neck_host, "update")
    whole = time.monotonic() - started
    lines = ["is signed; fetching", "as signed; asking", "is in place; restarting", "watching"]
    points = [(None, chance.uniform(0, whole)) for _ in range(4)] + [(line, chance.uniform(0, 0.4)) for line in lines]
    # A bad one is put back at once.
    points += [("putting", chance.uniform(0, 0.1)), ("putting", chance.uniform(0, 1))]
    for number, (line, pause) in enumerate(points):
        is_bad = line == "putting" or number % 2 == 1
        cut(town, neck_host, line, pause, is_bad)


def cut(town, machine, line, pause, is_bad):
    server = town.releases
    before = health(town, "controller")["version"]
    new = server.bad(machine, "controller", CRASHES) if is_bad else server.sound()
    whole = {digest(machine), hashlib.sha256((server.directory(new) / releases.FILE).read_bytes()).hexdigest()}
    # What is tried is the update.
    machine.run("sync")
    said = machine.root.parent / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(machine.words("hydraneckwebrtc", "update"), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if line:
        until(f"it says {line!r}", lambda: line in said.read_text() or process.poll() is not None, pause=0.002)
        expect(line in said.read_text(), f"it never said {line!r}:\n{said.read_text()}")
    time.sleep(pause)
    machine.cut()
    process.wait()
    where = f"a {'bad' if is_bad else 'sound'} build, power cut {pause:.3f} s after {line or 'the start'}"
    last = (said.read_text().strip().splitlines() or ["nothing"])[-1]
    machine.start()
    expect(digest(machine) in whole, f"{where}: no whole program is in place")
    until("somebody has judged what was tried", lambda: not machine.path(TRIAL).exists())
    until("the controller answers", lambda: health(town, "controller")["version"])
    found = health(town, "controller")["version"]
    expect(found in ({before} if is_bad else {before, new}), f"{where}: {found} runs, after {before} and {new}")
    expect(f" {found}\n" in neck(machine, "version").text, f"{where}: {found} runs, and another is in place")
    expect(is_bad or not machine.failed(), f"{where}: {machine.failed()} failed")
    resumed = machine.journal("hydraneckwebrtc-update-resume").strip().splitlines()
    resumed = [text for text in resumed if "hydraneckwebrtc.backup" not in text]
    fine(f"{where} ({last}): {found} runs; at boot: {'; '.join(resumed) or 'nothing to resume'}")


PARTS = {"update": update, "broken": broken, "cuts": cuts}


def main():
    parser = argparse.ArgumentParser()
    for name in ("work", "program", "body"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--tree", type=pathlib.Path, required=True, action="append")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("parts", nargs="+")
    given = parser.parse_args()
    work = given.work.resolve()
    # Of a debug build some hundred megabytes are for debuggers.
    program = work / "hydraneckwebrtc"
    subprocess.run(["strip", "-o", program, given.program], check=True)
    print(f"seed {given.seed}, {releases.version_of(program)}", flush=True)
    trees = {tree.name: tree.resolve() for tree in given.tree}
    with Town(trees, work, program, given.body.resolve()) as town:
        town.releases, town.seed = releases.Releases(work, program), given.seed
        for part in (readme, package):
            if part.__name__ in given.parts:
                part(town)
        if rest := [PARTS[name] for name in PARTS if name in given.parts]:
            with fleet(town) as hosts:
                for part in rest:
                    part(town, *hosts)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        raise SystemExit(f"FAILED: {failed}") from None
