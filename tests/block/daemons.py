"""Storage daemons beside each other: one script of QMP through Debian's qemu-storage-daemon, viv-storaged and viv-vm, and what they answer."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

OURS = os.environ["VIV_STORAGED"]
VM = os.environ["VIV_VM"]
PEER = "qemu-storage-daemon"
for tool in (PEER, "qemu-img", "qemu-io"):
    if not shutil.which(tool):
        print(f"skip: {tool} is missing")
        sys.exit(77)
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SIZE = 16 << 20


def call(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def images():
    """base <- mid <- top, and t of that size."""
    for name in ("base", "mid", "top", "t"):
        if os.path.exists(name):
            os.remove(name)
    call("qemu-img", "create", "-q", "-f", "qcow2", "base", str(SIZE))
    call("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 5M", "base")
    for name, below, at in (("mid", "base", 2), ("top", "mid", 4)):
        call("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name)
        call("qemu-io", "-f", "qcow2", "-c", f"write -P {at} {at}M 4M", "-c", f"write -z {at}M 300k", name)
    call("qemu-img", "create", "-q", "-f", "qcow2", "t", str(SIZE))


def nodes():
    args = []
    for name, more in (("base", ",read-only=on"), ("mid", ",read-only=on,backing=base"), ("top", ",backing=mid"), ("t", "")):
        only = ",auto-read-only=on" if "read-only" in more else ""
        args += ["-blockdev", f"driver=file,node-name=f-{name},filename={name}{only}",
                 "-blockdev", f"driver=qcow2,node-name={name},file=f-{name}{more}"]
    return args


def command(prog):
    chardev = "socket,id=m,path=q,server=on,wait=off"
    if prog != VM: # long options have two dashes there
        return [prog, "--chardev", chardev, "--monitor", "m", *(a.replace("-blockdev", "--blockdev") for a in nodes())]
    return [prog, "-M", "pc", "-accel", "interp", "-m", "16", "-S", "-nodefaults", "-display", "none", "-chardev", chardev,
            "-mon", "chardev=m,mode=control", *nodes(), "-device", "virtio-blk-pci,drive=top"]


def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items() if k != "timestamp"}
    return [plain(x) for x in v] if isinstance(v, list) else v


class Daemon:
    def __init__(self, prog):
        self.prog = prog
        if os.path.exists("q"):
            os.remove("q")
        self.p = subprocess.Popen(command(prog))
        end = time.monotonic() + 20
        while True:
            try:
                self.s = socket.socket(socket.AF_UNIX)
                self.s.connect("q")
                break
            except OSError:
                if time.monotonic() > end or self.p.poll() is not None:
                    sys.exit(f"{prog} does not come up")
                time.sleep(0.02)
        self.s.settimeout(30)
        self.f = self.s.makefile("r") # one for both would forget what came together with an answer
        self.f.readline()
        self.answers, self.events = [], []
        self.do("qmp_capabilities")

    def get(self):
        m = plain(json.loads(self.f.readline()))
        if "event" in m:
            self.events.append(m)
        return m

    def do(self, name, /, **args):
        m = {"execute": name}
        if args:
            m["arguments"] = {k.replace("_", "-"): v for k, v in args.items()}
        self.s.sendall((json.dumps(m) + "\n").encode())
        while True:
            m = self.get()
            if "event" not in m:
                self.answers.append((name, args, m))
                return m

    def wait(self, status, since=None):
        """For the newest job's status; events that are there already count from `since` on."""
        at = len(self.events) if since is None else since
        while True:
            while at < len(self.events):
                if self.events[at].get("data", {}).get("status") == status:
                    return
                at += 1
            self.get()

    def job(self, name, status, /, **args):
        since = len(self.events)
        if "return" in self.do(name, **args):
            self.wait(status, since)

    def end(self):
        self.do("quit")
        if self.p.wait() != 0:
            sys.exit("the daemon ended with an error")


# What is said in other words, on purpose.
def same_words(text):
    return re.sub(r"^blockdev-\w+: .*", "(ours)", text)


def comparable(d):
    answers, status = [], []
    for name, args, m in d.answers:
        if isinstance(m, dict) and "error" in m:
            m = {"error": [m["error"]["class"], same_words(m["error"]["desc"])]}
        for row in m["return"] if isinstance(m, dict) and isinstance(m.get("return"), list) else []:
            if row.get("status") in ("running", "paused"): # how far it is in a moment
                row.pop("current-progress", None)
                row.pop("offset", None)
                row.pop("busy", None)
        answers.append((name, args, m))
    for e in d.events:
        if "JOB" not in e["event"]: # of the machine
            continue
        data = dict(e["data"])
        if data.get("status") in ("paused", "running"): # the peer's jobs pause whenever the graph changes
            continue
        if e["event"] == "BLOCK_JOB_CANCELLED":
            data["offset"] = None
        status.append((e["event"], data))
    return answers, status


def backing(name):
    info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", name], check=True, capture_output=True).stdout)
    return info.get("backing-filename"), info.get("backing-filename-format")


def differences(where, their, our):
    bad = 0
    for what, theirs, ours in zip(("answers", "events", "headers"), their, our):
        for a, b in zip(theirs, ours):
            if a != b:
                print(f"{where}: {what}\n  theirs {json.dumps(a)}\n  ours   {json.dumps(b)}")
                bad += 1
        if len(theirs) != len(ours):
            print(f"{where}: {what}: {len(theirs)} of theirs, {len(ours)} of ours")
            bad += 1
    return bad
