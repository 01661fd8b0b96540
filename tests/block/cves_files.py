#!/usr/bin/env python3
"""Which files do the tools open when an image that nobody vouches for names some? By strace: `info` and `check` open the image alone; what
reads the disk follows backing and data files as it must, but no addresses in json: from a data file, and no vmdk extents outside the
image's folder. And a raw guest's first bytes never become another format's header.

CVE-2008-2004, 2010-2238 (formats of raw files guessed), 2012-2652 (-snapshot's file), 2015-1851 and 2015-5163 (backing files),
2022-47951 (vmdk extents), 2024-32498 (data files), 2024-4467 (json: in a data file's name)."""
import os
import shutil
import subprocess
import sys
import tempfile

IMG = os.environ["VIV_IMG"].split()
IO = os.environ.get("VIV_IO", IMG[-1].replace("viv-img", "viv-io")).split()
if not shutil.which("strace"):
    print("skip: strace is missing")
    sys.exit(77)
work = tempfile.TemporaryDirectory(prefix="viv-cves-")
os.chdir(work.name)
import hostile as h  # noqa: E402

ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:" + os.environ.get("ASAN_OPTIONS", "")) # which strace is in the way of
os.mkdir("private")
CANARY = os.path.abspath("private/canary").encode()
SECRET = b"nobody is to read this\n"
h.write(CANARY, SECRET * 50000)
JSON = b'json:{"driver":"raw","file":{"driver":"file","filename":"%s"}}' % CANARY
VERBS = {"info": ["info", "hostile"], "check": ["check", "hostile"], "map": ["map", "hostile"], "convert": ["convert", "-O", "raw", "hostile", "out"]}
failures = []


def wrong(what, why):
    failures.append("%s: %s" % (what, why))


def strace(*words):
    """Exit code, what was said, the system calls that name or connect something."""
    p = subprocess.run(["strace", "-f", "-qq", "-s", "2000", "-o", "trace", "-e", "trace=openat,open,connect,linkat,renameat", *words], env=ENV,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200)
    with open("trace", errors="replace") as f:
        return p.returncode, p.stdout.decode(errors="replace"), f.read().splitlines()


def clean():
    for f in ("hostile", "out"):
        if os.path.exists(f):
            os.unlink(f)


def touched(trace):
    """Was the other file opened, or a server asked? A name is not a file: that of json: may be looked for as it is, in vain."""
    return [t for t in trace if ('"%s"' % CANARY.decode() in t) or "AF_INET" in t]


def leaked():
    return os.path.exists("out") and SECRET in bytes(h.read("out"))


def names(what, make, follows=False, refused=None):
    """`follows`: map and convert may open it. `refused`: what they say instead."""
    for verb, words in VERBS.items():
        clean()
        make("hostile")
        code, said, trace = strace(*IMG, *words)
        may = follows and verb in ("map", "convert")
        if code < 0 or "Sanitizer" in said:
            wrong(what, "%s crashed: %s" % (verb, said))
        if touched(trace) and not may:
            wrong(what, "%s opened it: %s" % (verb, touched(trace)))
        if leaked() and not may:
            wrong(what, verb + " copied it")
        if refused and verb in ("map", "convert") and (code != 1 or refused not in said):
            wrong(what, "%s is not refused with '%s' but gives %d: %s" % (verb, refused, code, said))


def named_by_images():
    names("qcow2: backing file", h.qcow2_backing(CANARY, b"raw"), follows=True)
    names("qcow2: backing file of no format", h.qcow2_backing(CANARY), follows=True)
    names("qcow2: backing file in json:", h.qcow2_backing(JSON, b"raw"), follows=True)
    names("qcow2: backing file of a server", h.qcow2_backing(b"nbd://127.0.0.1:1/x", b"raw"), follows=True, refused="Failed to connect")
    names("qcow2: backing file in nested json:", h.qcow2_backing(h.nested_json(38)[:1023], b"raw"), refused="deeper than 32 levels")
    names("qcow2: backing file is a device", h.qcow2_backing(b"/dev/zero", b"raw"), refused="is a special file")
    names("qcow2: data file", h.qcow2_data_file(CANARY), follows=True)
    names("qcow2: data file in json:", h.qcow2_data_file(JSON), refused="Could not open the data file")
    names("qcow2: data file in nested json:", h.qcow2_data_file(h.nested_json(2000)), refused="data")
    names("qcow2: data file of a server", h.qcow2_data_file(b"nbd://127.0.0.1:1/x"), follows=True, refused="Failed to connect")
    names("vmdk: extent elsewhere", h.descriptor('RW 100 FLAT "%s" 0\n' % CANARY.decode(), "monolithicFlat"), refused="lies outside of the image's folder")
    names("vmdk: extent elsewhere, by a detour", h.descriptor('RW 100 FLAT "./private/../private/canary" 0\n', "monolithicFlat"),
          refused="lies outside of the image's folder")
    names("vmdk: extent of a server", h.descriptor('RW 100 FLAT "nbd://127.0.0.1:1/x" 0\n', "monolithicFlat"), refused="No such file")
    parent = h.HEAD.replace("parentCID=ffffffff", 'parentCID=12345678\nparentFileNameHint="%s"' % CANARY.decode()) % "custom" + "RW 100 ZERO\n"
    names("vmdk: parent that is none", lambda path: h.write(path, parent.encode()), follows=True, refused="no VMDK descriptor")


def raw_guest():
    """A guest whose disk's format nobody has said writes a header with a backing file at its start."""
    h.qcow2_backing(CANARY, b"raw")("header")
    head = h.read("header")[:65536]
    with open("hostile", "wb") as f:
        f.truncate(1 << 20)
    h.write("head", head)
    code, said, _ = strace(*IO, "-c", "write -s head 0 64k", "hostile")
    if not code or "raw" not in said:
        wrong("raw guest", "wrote another format's header: %d %s" % (code, said))
    if bytes(h.read("hostile")[:512]) != bytes(512):
        wrong("raw guest", "the header is there")
    code, said, _ = strace(*IO, "-f", "raw", "-c", "write -s head 0 64k", "hostile")
    if code:
        wrong("raw guest", "a disk that is said to be raw refuses: " + said)
    clean_out = lambda: os.path.exists("out") and os.unlink("out")
    clean_out()
    code, said, trace = strace(*IMG, "convert", "-f", "raw", "-O", "raw", "hostile", "out")
    if code or touched(trace) or leaked():
        wrong("raw guest", "read as raw, its header counts: " + said)
    # The same below an overlay: the format that create records is what it is opened as.
    subprocess.run([*IMG, "create", "-q", "-f", "qcow2", "-b", "hostile", "-F", "raw", "over"], check=True)
    clean_out()
    code, said, trace = strace(*IMG, "convert", "-O", "raw", "over", "out")
    if code or touched(trace) or leaked():
        wrong("raw guest below an overlay", "its header counts: " + said)


def snapshot_file():
    """What -snapshot writes has no name that anybody could have taken before, or is made anew and for its owner alone."""
    h.disk("hostile")
    code, said, trace = strace(*IO, "-s", "-f", "raw", "-c", "write 0 64k", "hostile")
    made = [t for t in trace if "O_CREAT" in t or "O_TMPFILE" in t]
    if code or not made:
        wrong("-snapshot", "%d %s %s" % (code, said, made))
    for t in made:
        if "O_TMPFILE" not in t and not ("O_EXCL" in t and "0600" in t):
            wrong("-snapshot", t)


named_by_images()
raw_guest()
snapshot_file()
for f in failures:
    print("FAIL: " + f)
print("%d failures" % len(failures))
sys.exit(1 if failures else 0)
