#!/usr/bin/env python3
"""Mixed load in a Debian guest, each result compared with the same program's on the host's CPU: mixed.py [MINUTES [CPUS]]

Streams of jobs (tests/system/mixed/run: gcc, node, java, python, perl, sqlite, compression and ciphers, stress-ng --verify)
run in the guest, one more than it has CPUs. What each prints is compared with what it prints in a chroot of the guest's own
root file system. Fails on the first wrong result, on a kernel complaint, or when the guest stops answering."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mixed")
COMPLAINT = (r"BUG:|WARNING:|Oops|oops|segfault|traps:|general protection|stall|soft lockup|hung_task|blocked for more|"
             r"Call Trace|call trace|EXT4-fs error|I/O error|invalid opcode|Bad page|Code:")
NATIVE = """mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
exec chroot "$0" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root "$@" """


class Native:
    """What the jobs print on the bare CPU; computed once for each, with what time the guest leaves."""

    def __init__(self, root):
        self.root = root
        target = os.path.join(root, "mixed")
        shutil.rmtree(target, True)
        shutil.copytree(JOBS, target)
        self.namespace = ["unshare", "--fork", "--pid", "--mount"] + ([] if os.geteuid() == 0 else ["-r"])
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.known = {}
        if self.run("true") is None:
            vm.skip("cannot make a namespace for the native runs (unshare --pid --mount)")

    def run(self, *command):
        p = subprocess.run(["nice"] + self.namespace + ["sh", "-c", NATIVE, self.root] + list(command), capture_output=True,
                           text=True, stdin=subprocess.DEVNULL)
        return p.stdout.strip() if p.returncode == 0 else None

    def result(self, job, seed):
        if job == "stress":
            return "ok"
        if (job, seed) not in self.known:
            self.known[job, seed] = self.run("/mixed/run", job, seed)
            if self.known[job, seed] is None:
                vm.fail(f"{job} {seed} fails natively: the test is wrong")
        return self.known[job, seed]


class Results:
    """Reads the file behind the guest's second serial port."""

    def __init__(self, path, native):
        self.path, self.native = path, native
        self.at, self.rest = 0, ""
        self.count, self.seconds, self.wrong, self.done = {}, {}, [], 0
        self.waiting = []

    def poll(self):
        with open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += len(data)
        lines = (self.rest + data.decode("utf-8", "replace").replace("\r", "")).split("\n")
        self.rest = lines.pop()
        for line in lines:
            if line.startswith("DONE"):
                self.done += 1
            elif m := re.match(r"RESULT (\d+) (\w+) (\d+) (\d+) (.*)", line):
                future = self.native.pool.submit(self.native.result, m.group(2), m.group(3))
                self.waiting.append((m, future))
        still = []
        for m, future in self.waiting:
            if future.done():
                self.judge(m, future.result())
            else:
                still.append((m, future))
        self.waiting = still

    def judge(self, m, want):
        _, job, seed, seconds, got = m.groups()
        self.count[job] = self.count.get(job, 0) + 1
        self.seconds[job] = self.seconds.get(job, 0) + int(seconds)
        if got.strip() != want:
            self.wrong.append(f"{job} {seed}: '{got.strip()}', not '{want}'")

    def __str__(self):
        return ", ".join(f"{j} {n} ({self.seconds[j] / n:.1f} s)" for j, n in sorted(self.count.items()))


def complaints(g, seen):
    """New lines of the guest's kernel log that are complaints."""
    g.send("dmesg | grep -E '" + COMPLAINT + "'; echo dmesg-\"\"end\n")
    start = g.seen
    g.expect("dmesg-end", 300)
    new = [x for x in g.log[start:g.seen].decode("utf-8", "replace").splitlines() if re.match(r"\[ *\d+\.\d+\]", x) and x not in seen]
    seen.update(new)
    return new


def watch(g, results, minutes):
    seen = set()
    start = time.monotonic()
    last = 0
    for minute in range(1, minutes + 1):
        while time.monotonic() < start + 60 * minute:
            g._pump(1)
            results.poll()
            if g.p.poll() is not None:
                g.die(f"ended by itself, status {g.p.returncode}")
            if results.wrong:
                g.die("wrong result: " + "; ".join(results.wrong))
        if bad := complaints(g, seen):
            g.die("the kernel complains:\n" + "\n".join(bad))
        total = sum(results.count.values())
        print(f"minute {minute}: {total} results right: {results}", flush=True)
        if minute % 30 == 0:
            if total == last:
                g.die("no result in half an hour")
            last = total


def finish(g, results, streams):
    g.send("touch /mixed/stop\n")
    end = time.monotonic() + 1800 * vm.SLOW
    while results.done < streams or results.waiting:
        g._pump(1)
        results.poll()
        if results.wrong:
            g.die("wrong result: " + "; ".join(results.wrong))
        if time.monotonic() > end:
            g.die("the last jobs did not end")
    if bad := complaints(g, set()):
        g.die("the kernel complains:\n" + "\n".join(bad))
    g.send("poweroff\n")
    if g.wait(300):
        g.die("poweroff did not end with status 0")


def main():
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    cpus = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    vm.need("mmdebstrap", "unshare", "chroot")
    vm.run_tool(["tools/guest/make-debian", vm.GUEST, vm.tool("viv-img"), "mixed"])
    folder = os.path.join(vm.GUEST, "mixed")
    native = Native(os.path.join(folder, "root"))
    work = vm.scratch()
    img, jobs, out = (os.path.join(work, x) for x in ("d.qcow2", "jobs.tar", "results"))
    with tarfile.open(jobs, "w") as t:
        t.add(JOBS, "mixed")
    with open(jobs, "ab") as f:
        f.truncate((os.path.getsize(jobs) + 65535) & ~65535)
    open(out, "w").close()
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", "-b", os.path.join(folder, "debian.qcow2"), "-F", "qcow2",
                    img], check=True)
    args = vm.base_args(mem="2G", cpus=cpus) + [
        "-kernel", os.path.join(folder, "vmlinuz"), "-initrd", os.path.join(folder, "initrd.img"),
        "-append", "console=ttyS0 root=/dev/vda rw quiet", "-serial", f"file:{out}",
        "-drive", f"file={img},if=virtio,format=qcow2", "-drive", f"file={jobs},if=virtio,format=raw,readonly=on",
        "-device", "virtio-rng-pci"]
    with vm.Guest(args, "guest") as g:
        g.expect(r"root@vivarium:~#", 900)
        g.send("stty -F /dev/ttyS1 raw -echo; dmesg -n 1; tar -C / -xf /dev/vdb; echo unpacked-$((40 + 2))\n")
        g.expect("unpacked-42", 300)
        for n in range(cpus + 1):
            g.send(f"/mixed/stream {n} {n * 13} </dev/null >/dev/null 2>&1 &\n")
        results = Results(out, native)
        watch(g, results, minutes)
        finish(g, results, cpus + 1)
    print(f"ok: {minutes} minutes with {cpus} CPUs: {results}")


main()
