#!/usr/bin/env python3
"""Images of the classes of published CVEs (hostile_images.py) through the tools: none may crash, hang, take much memory or write much.

cves.py [-v] [PART OF A CASE'S NAME]: -v tells the outcome of each."""
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

VERBOSE = "-v" in sys.argv
ONLY = [a for a in sys.argv[1:] if a != "-v"]
IMG = os.environ["VIV_IMG"].split()
IO = os.environ.get("VIV_IO", IMG[-1].replace("viv-img", "viv-io")).split()
work = tempfile.TemporaryDirectory(prefix="viv-cves-")
os.chdir(work.name)
import hostile_images  # noqa: E402

SECONDS, KIB, WRITTEN = 10, 400 << 10, 256 << 20 # of CPU; of memory (the sanitizers' included); of one file
failures = []


def limits():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(words):
    """Exit code, what was said, most memory in KiB."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=limits)
        killer = threading.Timer(100, p.kill) # who waits takes no CPU time
        killer.start()
        _, status, usage = os.wait4(p.pid, 0)
        killer.cancel()
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return p.returncode, out.read(65536).decode(errors="replace"), usage.ru_maxrss


def judge(case, words, code, said, memory):
    """A tool ends by itself, with a code of its own, says something when it fails, and took little memory."""
    verb = " ".join(w for w in words if "/" not in w)
    if code < 0 or code == 99 or "Sanitizer" in said or "runtime error" in said or "ssertion" in said:
        what = "ended by %s" % (signal.Signals(-code).name if code < 0 else code)
    elif memory > KIB:
        what = "took %d MiB" % (memory >> 10)
    elif code and not said.strip():
        what = "says nothing"
    elif code not in (0, 1, 2, 3, 4, 63):
        what = "exit code %d" % code
    else:
        return
    failures.append("%s: '%s' %s: %s" % (case.what, verb, what, said[-2000:]))


def tools(case):
    f = ["-f", case.fmt] if case.fmt else []
    yield [*IMG, "info", *f, "hostile"]
    yield [*IMG, "check", *f, "hostile"]
    yield [*IMG, "map", *f, "hostile"]
    yield [*IMG, "measure", "-O", "qcow2", *f, "hostile"]
    yield [*IMG, "compare", *f, *(["-F", case.fmt] if case.fmt else []), "hostile", "hostile"]
    yield [*IMG, "convert", *f, "-O", "qcow2", "hostile", "out"]
    yield [*IO, "-r", *f, "-c", "read 0 64k", "-c", "map", "hostile"]
    if case.words:
        yield [*IMG, *case.words, "hostile"]
    yield [*IO, *f, "-c", "write -P 7 0 64k", "-c", "write -z 64k 64k", "-c", "discard 0 1M", "-c", "flush", "hostile"]
    if case.what.startswith("qcow2"): # verbs of its own; those before have changed the image, as far as they could
        yield [*IMG, "snapshot", "-c", "new", "hostile"]
        yield [*IMG, "bitmap", "--add", "hostile", "new"]
        yield [*IMG, "rebase", "-u", "-b", "other", "-F", "raw", "hostile"]
        yield [*IMG, "amend", "-o", "refcount_bits=64", "hostile"]
        yield [*IMG, "amend", "-o", "compat=0.10,refcount_bits=16", "hostile"]
        yield [*IMG, "snapshot", "-a", "new", "hostile"]
    yield [*IMG, "check", "-r", "all", *f, "hostile"]
    yield [*IMG, "resize", *f, "hostile", "+1M"]


def outcome(case):
    """What info says, and how many of the tools refused."""
    for left in ("out", "hostile"):
        if os.path.exists(left):
            os.unlink(left)
    case.make("hostile")
    results = []
    for words in tools(case):
        code, said, memory = run(words)
        judge(case, words, code, said, memory)
        results.append((words, code, said))
        if os.path.exists("out"):
            os.unlink("out")
    refused = results[0][1] != 0
    if not case.open_ok and not refused:
        failures.append("%s: info takes it: %s" % (case.what, results[0][2]))
    if not any(code for _, code, _ in results):
        failures.append("%s: nothing refuses it" % case.what)
    return results


def main():
    start, done = time.monotonic(), 0
    for case in hostile_images.images():
        if ONLY and not any(o in case.what for o in ONLY):
            continue
        before = len(failures)
        results = outcome(case)
        done += 1
        if VERBOSE:
            first = next((r for r in results if r[1]), results[0])
            print("%-7s %s [%s]: %s%s" % ("WRONG" if len(failures) > before else "right", case.what, case.cves,
                                          "" if first is results[0] else "'%s': " % first[0][1], (first[2].strip().splitlines() or [""])[0][:170]))
            print("        " + " ".join(str(code) for _, code, _ in results))
    for f in failures:
        print("FAIL: " + f)
    print("%d images, %d failures, %.0f s" % (done, len(failures), time.monotonic() - start))
    return 1 if failures or not done else 0


sys.exit(main())
