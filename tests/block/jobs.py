#!/usr/bin/env python3
"""Block jobs of viv-storaged and viv-vm: one script of QMP through them and through Debian's qemu-storage-daemon, answers and events beside
each other; images after kill -9 at any moment. VIV_STORAGED and VIV_VM are their paths; SEED=N kills at other moments."""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from daemons import OURS, PEER, QUIET, VM, Daemon, backing, call, comparable, differences, images


def script(d, which):
    """Returns the images that hold the disk afterwards."""
    full = {"device": "top", "target": "t", "sync": "full"}
    if which == "backup":
        d.job("blockdev-backup", "null", job_id="b", **full)
        d.do("query-block-jobs")
        d.job("blockdev-backup", "pending", job_id="b", auto_finalize=False, auto_dismiss=False, **full)
        for name in ("query-block-jobs", "query-jobs"):
            d.do(name)
        d.do("job-dismiss", id="b")
        d.do("block-job-complete", device="b")
        d.do("block-job-pause", device="b")
        d.do("job-finalize", id="b")
        for name in ("query-block-jobs", "query-jobs"):
            d.do(name)
        d.do("block-job-cancel", device="b")
        d.do("job-dismiss", id="b")
        d.do("job-dismiss", id="b")
        d.do("block-job-cancel", device="b")
        since = len(d.events)
        d.do("blockdev-backup", job_id="b", speed=65536, **full)
        time.sleep(0.3)
        d.do("query-block-jobs")
        d.do("block-job-pause", device="b")
        time.sleep(0.3)
        d.do("query-jobs")
        d.do("block-job-pause", device="b")
        d.do("block-job-resume", device="b")
        d.do("block-job-resume", device="b")
        d.do("block-job-set-speed", device="b", speed=-1)
        d.do("block-job-set-speed", device="b", speed=131072)
        d.do("block-job-cancel", device="b")
        d.wait("null", since)
        d.do("blockdev-backup", job_id="b", device="nope", target="t", sync="full")
        d.do("blockdev-backup", job_id="b", device="top", target="nope", sync="full")
        d.do("blockdev-backup", **full)
        d.do("blockdev-backup", job_id="1", **full)
        d.do("blockdev-backup", job_id="b", device="top", target="top", sync="full")
        d.do("blockdev-backup", job_id="b", device="top", target="t", sync="bitmap")
        d.do("blockdev-backup", job_id="b", device="top", target="t", sync="incremental", bitmap="x")
        d.do("block-dirty-bitmap-add", node="top", name="x")
        d.do("blockdev-backup", job_id="b", device="top", target="t", sync="bitmap", bitmap="x")
        d.job("blockdev-backup", "null", job_id="b", device="top", target="t", sync="incremental", bitmap="x")
        d.job("blockdev-backup", "null", job_id="b", **full)
        return ["top", "t"]
    if which == "mirror":
        d.job("blockdev-mirror", "ready", job_id="m", **full)
        time.sleep(0.3)
        for name in ("query-block-jobs", "query-jobs"):
            d.do(name)
        since = len(d.events)
        d.do("block-job-complete", device="m")
        d.wait("null", since)
        d.do("blockdev-del", node_name="top")
        return ["top", "t"]
    if which == "mirror-cancel":
        d.job("blockdev-mirror", "ready", job_id="m", copy_mode="write-blocking", auto_finalize=False, auto_dismiss=False, **full)
        since = len(d.events)
        time.sleep(0.3)
        d.do("block-job-cancel", device="m")
        d.wait("pending", since)
        d.do("query-jobs")
        d.do("job-finalize", id="m")
        d.do("query-jobs")
        d.do("job-dismiss", id="m")
        since = len(d.events)
        d.do("blockdev-mirror", job_id="m", device="top", target="t", sync="full", speed=65536)
        d.do("block-job-complete", device="m")
        d.do("job-complete", id="m")
        d.do("job-cancel", id="nope")
        time.sleep(0.3)
        d.do("job-cancel", id="m")
        d.wait("null", since)
        d.do("blockdev-mirror", job_id="m", device="top", target="t", sync="incremental")
        d.do("blockdev-mirror", job_id="m", device="top", target="t", sync="full", granularity=1000)
        d.do("blockdev-mirror", job_id="m", device="top", target="t", sync="full", granularity=100)
        d.do("blockdev-mirror", job_id="m", device="top", target="top", sync="full")
        d.do("blockdev-mirror", job_id="m", device="mid", target="t", sync="full")
        d.job("blockdev-mirror", "ready", job_id="m", **full)
        since = len(d.events)
        d.do("job-cancel", id="m")
        d.wait("null", since)
        return ["top"]
    if which == "stream":
        d.job("block-stream", "null", job_id="s", device="top", base_node="base")
        d.do("block-stream", job_id="s", device="top", base_node="nope")
        d.do("block-stream", job_id="s", device="top", base_node="t")
        d.do("block-stream", device="top")
        d.job("block-stream", "null", job_id="s", device="top", base_node="base")
        return ["top"]
    if which == "stream-all":
        d.job("block-stream", "null", job_id="s", device="top")
        d.job("block-stream", "null", job_id="s", device="top")
        d.do("blockdev-del", node_name="mid")
        return ["top"]
    if which == "commit":
        d.do("block-commit", job_id="c", device="top", base_node="nope")
        d.do("block-commit", job_id="c", device="top", base_node="top")
        d.do("block-commit", job_id="c", device="top", base_node="t")
        d.job("block-commit", "null", job_id="c", device="top", top_node="mid", base_node="base")
        d.do("block-commit", job_id="c", device="top", top_node="mid", base_node="base")
        d.do("blockdev-del", node_name="mid")
        return ["top"]
    d.job("block-commit", "ready", job_id="c", device="top", base_node="base")
    time.sleep(0.3)
    d.do("query-block-jobs")
    since = len(d.events)
    d.do("job-complete", id="c")
    d.wait("null", since)
    d.do("blockdev-del", node_name="top")
    return ["base"]


def compare():
    bad = 0
    for which in ("backup", "mirror", "mirror-cancel", "stream", "stream-all", "commit", "commit-active"):
        seen = []
        for prog in (PEER, OURS, VM):
            images()
            call("qemu-img", "convert", "-O", "raw", "top", "disk.raw")
            d = Daemon(prog)
            hold = script(d, which)
            d.end()
            for name in hold:
                call("qemu-img", "check", "-q", name)
                if subprocess.run(["qemu-img", "compare", "-q", "-F", "raw", name, "disk.raw"], check=False).returncode:
                    sys.exit(f"{prog}: {which}: {name} holds another disk")
            answers, events = comparable(d)
            seen.append((answers, events, [(n, backing(n)) for n in hold]))
        for prog, mine in ((OURS, seen[1]), (VM, seen[2])):
            bad += differences(f"{os.path.basename(prog)}: {which}", seen[0], mine)
        print(f"{which}: {len(seen[0][0])} answers, {len(seen[0][1])} events", flush=True)
    return bad


def kills(rounds):
    """The top shows the same disk whenever the daemon dies, through the chain that its header names."""
    rand = random.Random(int(os.environ.get("SEED", "1")))
    jobs = {
        "backup": ("blockdev-backup", {"target": "t", "sync": "full"}),
        "mirror": ("blockdev-mirror", {"target": "t", "sync": "full"}),
        "stream": ("block-stream", {"base_node": "base"}),
        "stream-all": ("block-stream", {}),
        "commit": ("block-commit", {"top_node": "mid", "base_node": "base"}),
        "commit-active": ("block-commit", {"base_node": "base"}),
    }
    ended = 0
    for i in range(rounds):
        name, (command, args) = rand.choice(sorted(jobs.items()))
        images()
        call("qemu-img", "convert", "-O", "raw", "top", "disk.raw")
        d = Daemon(OURS)
        d.do(command, job_id="j", device="top", speed=rand.choice((0, 32 << 20, 100 << 20)), **args)
        time.sleep(rand.choice((0, 0.005, 0.02, 0.1)) * rand.random())
        if rand.random() < 0.3:
            d.do("block-job-complete", device="j")
            time.sleep(0.01 * rand.random())
        d.p.send_signal(signal.SIGKILL)
        d.p.wait()
        d.s.close()
        for n in ("base", "mid", "top"):
            # leaked clusters (3) are what a kill may leave
            if subprocess.run(["qemu-img", "check", "-q", n], check=False, **QUIET).returncode not in (0, 3):
                sys.exit(f"kill {i} during {name}: {n} is damaged")
        if subprocess.run(["qemu-img", "compare", "-q", "-F", "raw", "top", "disk.raw"], check=False).returncode:
            sys.exit(f"kill {i} during {name}: another disk")
        ended += backing("top")[0] != "mid"
    print(f"{rounds} kills, {ended} behind the end of a stream or commit")


def main():
    with tempfile.TemporaryDirectory(prefix="viv-jobs-") as work:
        os.chdir(work)
        bad = compare()
        kills(40)
        os.chdir("/")
    sys.exit(bad != 0)


main()
