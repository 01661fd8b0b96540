#!/usr/bin/env python3
"""snapshot-save, snapshot-load and snapshot-delete: answers, events, errors and what then lies in the images, beside QEMU's; what is
refused has written nothing; HMP's commands and the jobs see each other's snapshots."""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402

SAVE, LOAD, DELETE = "snapshot-save", "snapshot-load", "snapshot-delete"
STEPS = [ # command, tag, vmstate, devices
    (SAVE, "t", "a", ["a", "b"]),
    (SAVE, "t", "a", ["a", "b"]), # it is there
    (SAVE, "t", "b", ["b"]),
    (SAVE, "u", "a", ["b"]), # the state elsewhere
    (SAVE, "u", "zz", ["a", "b"]),
    (SAVE, "u", "a", ["a", "zz"]),
    (SAVE, "u", "a", ["a", "r"]),
    (SAVE, "u", "a", ["a", "afile"]),
    (SAVE, "u", "a", ["da"]),
    (SAVE, "u", "a", []),
    (SAVE, "u", "a", ["under"]), # a state that no device has
    (SAVE, "s", "b", ["a", "b"]),
    (SAVE, "f", "under", ["under"]), # what a filter stands on
    (LOAD, "t", "a", ["a"]), # one of the two
    (LOAD, "t", "b", ["a", "b"]), # the state is elsewhere
    (LOAD, "s", "b", ["b", "a"]),
    (LOAD, "t", "a", ["a", "b"]),
    (LOAD, "f", "under", ["under"]),
    (LOAD, "none", "a", ["a", "b"]),
    (LOAD, "t", "zz", ["a"]),
    (LOAD, "t", "a", ["a", "zz"]),
    (LOAD, "t", "a", ["a", "r"]),
    (LOAD, "t", "a", []),
    (DELETE, "none", None, ["a", "b"]),
    (DELETE, "t", None, ["a", "r"]),
    (DELETE, "t", None, ["a", "zz"]),
    (DELETE, "t", None, []),
    (DELETE, "s", None, ["b"]),
    (LOAD, "s", "a", ["a", "b"]),
    (DELETE, "s", None, ["a", "b"]),
]
WRONG = [(SAVE, {"job-id": "9x", "tag": "w", "vmstate": "a", "devices": ["a"]}), (SAVE, {"tag": "w", "vmstate": "a", "devices": ["a"]}),
         (SAVE, {"job-id": "j", "tag": "w", "vmstate": "a"}), (SAVE, {"job-id": "j", "tag": "w", "vmstate": "a", "devices": "a"}),
         (DELETE, {"job-id": "j", "tag": "w", "vmstate": "a", "devices": ["a"]})]


class Machine(monitored.Machine):
    def __init__(self, emulator):
        self.work = vm.scratch()
        for n in "a", "b", "c", "ro":
            subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", f"{self.work}/{n}", "1M"], check=True)
        with open(f"{self.work}/r", "wb") as f:
            f.truncate(1 << 20)
        nodes = [f"driver=qcow2,node-name=a,file.driver=file,file.filename={self.work}/a,file.node-name=afile",
                 f"driver=qcow2,node-name=b,file.driver=file,file.filename={self.work}/b",
                 f"driver=qcow2,node-name=under,file.driver=file,file.filename={self.work}/c",
                 "driver=throttle,node-name=c,throttle-group=g,file=under",
                 f"driver=qcow2,read-only=on,node-name=ro,file.driver=file,file.filename={self.work}/ro",
                 f"driver=raw,node-name=r,file.driver=file,file.filename={self.work}/r"]
        words = [w for n in nodes for w in ("-blockdev", n)]
        words += [w for n in ("a", "b", "c", "ro", "r") for w in ("-device", f"virtio-blk-pci,drive={n},id=d{n}")]
        super().__init__(emulator, "-object", "throttle-group,id=g", *words, paused=False, work=self.work, stderr=None)

    def state(self):
        """All images' bytes."""
        return [hashlib.sha256(open(f"{self.work}/{n}", "rb").read()).hexdigest() for n in "abc"]

    def job(self, name, tag, vmstate, devices):
        """What the job was to who watches it, its error, whether the machine ran afterwards."""
        args = {"job-id": "j", "tag": tag, "devices": devices}
        if vmstate:
            args["vmstate"] = vmstate
        del self.q.events[:]
        before = self.state()
        self.q.cmd(name, **args)
        job = self.wait("j")
        events = [(e["event"], e.get("data", {}).get("status")) for e in self.q.events]
        running = self.q.cmd("query-status")["running"]
        self.q.cmd("job-dismiss", id="j")
        if self.q.cmd("query-jobs"):
            vm.fail("dismissed, and still there")
        if job.get("error") and self.state() != before:
            vm.fail(f"{name} {args}: '{job['error']}', and the images have changed")
        if not running:
            self.q.cmd("cont")
        return job["type"], events, job.get("error"), running

    def wait(self, name):
        end = time.monotonic() + 60 * vm.SLOW
        while time.monotonic() < end:
            job = next(j for j in self.q.cmd("query-jobs") if j["id"] == name)
            if job["status"] == "concluded":
                return job
            time.sleep(0.01)
        vm.fail(f"job {name} has not ended: {job}")

    def wrong(self, name, args):
        try:
            self.q.cmd(name, **args)
            return None
        except RuntimeError as e:
            return str(e)

    def snapshots(self, n):
        """Number, name, whether the machine is in it: by QEMU's tool or ours."""
        text = subprocess.run([shutil.which("qemu-img") or vm.tool("viv-img"), "snapshot", "-l", "-U", f"{self.work}/{n}"], stdout=subprocess.PIPE,
                              check=True, text=True).stdout
        return [(m[1], m[2], m[3] != "0 B") for m in re.finditer(r"^(\d+) +(\S+) +([\d.]+ \S+) ", text, re.M)]


def script(emulator):
    m = Machine(emulator)
    try:
        time.sleep(0.3 * vm.SLOW) # the firmware has looked at its disks
        seen = []
        for step in STEPS:
            seen.append(m.job(*step))
            seen.append([m.snapshots(n) for n in "abc"])
        m.q.cmd("stop")
        for step in (SAVE, "still", "a", ["a", "b"]), (LOAD, "still", "a", ["a", "b"]): # what stood goes on standing
            seen.append(m.job(*step))
            m.q.cmd("stop")
        seen.append([m.snapshots(n) for n in "abc"])
        seen += [m.wrong(*w) for w in WRONG]
        return m, seen
    except BaseException:
        m.end()
        raise


def same(mine, theirs):
    if isinstance(mine, tuple) and len(mine) == 4 and mine[2] and theirs[2]: # ours may say more
        plain = " ".join(theirs[2].split()).replace("qemu-img", "viv-img")
        return mine[:2] + mine[3:] == theirs[:2] + theirs[3:] and mine[2].startswith(plain)
    if isinstance(mine, str) and isinstance(theirs, str): # refused: options have our words
        return True
    return mine == theirs


def alone(m):
    """Where QEMU does otherwise, and what only we can be asked."""
    for step, why in (((SAVE, "", "a", ["a"]), "a snapshot needs a name"),
                      ((SAVE, "x", "a", ["a", "ro"]), "Device 'ro' does not support snapshots: it is read-only")):
        if (said := m.job(*step)[2]) != why:
            vm.fail(f"{step}: {said}")
    m.job(SAVE, "twice", "a", ["a", "b", "a"])
    if [s[1] for s in m.snapshots("a")].count("twice") != 1:
        vm.fail(f"one disk named twice: {m.snapshots('a')}")
    # Two at once: one after the other.
    for n in "1", "2":
        m.q.cmd(SAVE, **{"job-id": "j" + n, "tag": n, "vmstate": "a", "devices": ["a", "b"]})
    for n in "1", "2":
        if (said := m.wait("j" + n)).get("error"):
            vm.fail(f"two at once: {said}")
    if (said := m.wrong(SAVE, {"job-id": "j1", "tag": "3", "vmstate": "a", "devices": ["a"]})) is None or "'j1' already in use" not in said:
        vm.fail(f"a name twice: {said}")
    if (said := m.wrong("job-cancel", {"id": "j1"})) is None:
        vm.fail("a job that has ended was cancelled")


def with_people():
    """What HMP makes the jobs load and delete, and the other way."""
    work = vm.scratch()
    words = []
    for n in "ab":
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", f"{work}/{n}", "1M"], check=True)
        words += ["-drive", f"if=none,id=d{n},node-name={n},format=qcow2,file={work}/{n}", "-device", f"virtio-blk-pci,drive=d{n}"]
    m = Machine.__new__(Machine)
    m.work = work
    m.p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp",
                                            f"unix:{work}/q,server=on,wait=off"] + words)
    m.state = lambda: None
    try:
        m.q = vm.QMP(f"{work}/q")
        said = [m.hmp("savevm people"), m.job(LOAD, "people", "a", ["a", "b"])[2:], m.job(SAVE, "job", "b", ["a", "b"])[2:], m.hmp("loadvm job")]
        if said != ["", (None, True), (None, True), ""]:
            vm.fail(f"jobs and HMP: {said}")
        listed = m.hmp("info snapshots")
        if not re.search(r"^-- +people ", listed, re.M) or not re.search(r"^-- +job ", listed, re.M) or "partial" in listed:
            vm.fail(f"info snapshots: {listed}")
        said = [m.job(DELETE, "people", None, ["a", "b"])[2:], m.hmp("delvm job"), m.snapshots("a"), m.snapshots("b")]
        if said != [(None, True), "", [], []]:
            vm.fail(f"deleted: {said}")
        if m.hmp("loadvm none") == "" or not m.q.cmd("query-status")["running"]:
            vm.fail("loadvm of what there is not stopped the machine")
    finally:
        m.end()


def second_fails():
    """The second disk cannot be written: the first has no snapshot either, and the machine goes on."""
    m = Machine.__new__(Machine)
    m.work = vm.scratch()
    words = []
    for n in "ab":
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", f"{m.work}/{n}", "1M"], check=True)
        file = "file" if n == "a" else "file.image"
        words += ["-blockdev", f"driver=qcow2,node-name={n},{file}.driver=file,{file}.filename={m.work}/{n}" +
                  (",file.driver=blkdebug,file.inject-error.0.event=none,file.inject-error.0.iotype=write" if n == "b" else ""),
                  "-device", f"virtio-blk-pci,drive={n}"]
    m.p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp",
                                            f"unix:{m.work}/q,server=on,wait=off"] + words)
    m.state = lambda: None
    try:
        m.q = vm.QMP(f"{m.work}/q")
        said = m.job(SAVE, "t", "a", ["a", "b"])
        if not said[2] or "disk 'b'" not in said[2] or not said[3] or m.snapshots("a"):
            vm.fail(f"the second disk fails: {said}, {m.snapshots('a')}")
    finally:
        m.end()


def main():
    m, ours = script(vm.emulator())
    try:
        alone(m)
    finally:
        m.end()
    for n in "abc":
        subprocess.run([vm.tool("viv-img"), "check", "-q", f"{m.work}/{n}"], check=True)
    with_people()
    second_fails()
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    m, theirs = script(["qemu-system-x86_64"])
    m.end()
    for n, (mine, other) in enumerate(zip(ours, theirs)):
        if not same(mine, other):
            vm.fail(f"{STEPS[n // 2] if n < 2 * len(STEPS) else n}:\n{mine}\nQEMU:\n{other}")
    print(f"ok: {len(STEPS)} jobs, as QEMU's")


main()
