"""Random walks over what a qcow2 image holds beside its disk: snapshots, dirty bitmaps, other options. Each step is done by
viv-img or by qemu-img, as the dice say; after each, both find the image sound, both read all snapshots back, and now and then
a bitmap's bits are read through qemu-nbd. Arguments: seed, steps."""
import json, os, random, subprocess, sys, time

seed, steps = int(sys.argv[1]), int(sys.argv[2])
random.seed(seed)
ours, theirs = os.environ["VIV_IMG"], "qemu-img"
viv_io = os.environ["VIV_IO"]
image, raw, base = "w.qcow2", "w.raw", "base.raw"
options = random.choice(["cluster_size=64k", "cluster_size=4k", "cluster_size=512", "compat=0.10", "cluster_size=4k,refcount_bits=64",
                         "cluster_size=16k,lazy_refcounts=on", "cluster_size=16k,extended_l2=on"])
backed = random.random() < 0.4
size = 4 << 20
log = []


def die(what):
    print("seed %d, %s, backing %s: %s" % (seed, options, backed, what), *log[-8:], sep="\n  ", file=sys.stderr)
    sys.exit(1)


def run(*args):
    log.append(" ".join(args))
    p = subprocess.run(args, capture_output=True, text=True)
    if p.returncode:
        die(p.stdout + p.stderr)
    return p.stdout


def img(*args):
    return run(random.choice([ours, theirs]), *args)


def contents(*args):
    run(ours, "convert", "-O", "raw", *args, image, raw)
    with open(raw, "rb") as f:
        return f.read()


def granules(g):
    return (size + g - 1) // g


def mark(offset, length):
    for b in bitmaps.values():
        if b["on"]:
            b["bits"] |= set(range(offset // b["g"], (offset + length - 1) // b["g"] + 1))


def write():
    cmds = []
    for _ in range(random.randrange(1, 6)):
        offset = random.randrange(size // 512) * 512
        length = min(random.randrange(1, 400) * 512, size - offset)
        cmds += ["-c", random.choice(["write -P %d" % random.randrange(256)] * 3 + ["write -z", "write -z -u"]) +
                 " %d %d" % (offset, length)]
        mark(offset, length)
    run(random.choice([viv_io, "qemu-io"]), "-f", "qcow2", *cmds, image)


def snapshot():
    global size
    what = random.random()
    if what < 0.5 or not snapshots:
        name = "s%d" % random.randrange(10000)
        if name not in snapshots:
            snapshots[name] = contents()
            img("snapshot", "-c", name, image)
    elif what < 0.75:
        name = random.choice(list(snapshots))
        mine = bitmaps or random.random() < 0.5
        if bitmaps and len(snapshots[name]) != size:
            return
        run(ours if mine else theirs, "snapshot", "-a", name, image)
        size = len(snapshots[name])
        mark(0, size)
        if contents() != snapshots[name]:
            die("applied %s, and the disk is another" % name)
    else:
        name = random.choice(list(snapshots))
        img("snapshot", "-d", name, image)
        del snapshots[name]


def bitmap():
    if "compat=0.10" == version:
        return
    what = random.choice(["add"] * 3 + ["remove", "clear", "enable", "disable", "merge"])
    if what == "add" or not bitmaps:
        name = "b%d" % random.randrange(10000)
        g = 1 << random.randrange(9, 18)
        if name not in bitmaps and len(bitmaps) < 5:
            img("bitmap", "--add", "-g", str(g), image, name)
            bitmaps[name] = {"g": g, "on": True, "bits": set()}
        return
    name = random.choice(list(bitmaps))
    b = bitmaps[name]
    if what == "merge":
        other = random.choice(list(bitmaps))
        img("bitmap", "--merge", other, image, name)
        for i in list(bitmaps[other]["bits"]):
            start = i * bitmaps[other]["g"]
            end = min(start + bitmaps[other]["g"], size)
            b["bits"] |= set(range(start // b["g"], (end - 1) // b["g"] + 1))
        return
    if what in ("enable", "disable") and b["on"] == (what == "enable"):
        return
    img("bitmap", "--" + what, image, name)
    if what == "remove":
        del bitmaps[name]
    elif what == "clear":
        b["bits"] = set()
    else:
        b["on"] = what == "enable"


def resize():
    global size
    if backed or version == "compat=0.10" and snapshots:
        return
    program, old = random.choice([ours, theirs]), size
    size = max(1 << 20, size + random.randrange(-1000, 2000) * 512)
    run(program, "resize", "-q", "-f", "qcow2", "--shrink", image, str(size))
    for b in bitmaps.values():
        if program == ours and size < old and size % b["g"] and b["on"]:
            b["bits"].add(size // b["g"])  # we write zeroes behind the end before it is one
        b["bits"] = {i for i in b["bits"] if i < granules(b["g"])}


def amend():
    global version
    option = random.choice(["compat=1.1", "compat=1.1,lazy_refcounts=on", "compat=1.1,lazy_refcounts=off", "compat=1.1,refcount_bits=32",
                            "compat=1.1,refcount_bits=16", "compat=1.1,refcount_bits=8", "compat=0.10"])
    if option == "compat=0.10":
        if bitmaps or snapshots or "extended" in options:
            return
        option += ",refcount_bits=16,lazy_refcounts=off"
    version = option.split(",")[0]
    img("amend", "-f", "qcow2", "-o", option, image)


def check_bitmap(name, b):
    sock = os.path.abspath("nbd.sock")
    server = subprocess.Popen(["qemu-nbd", "-r", "-t", "-f", "qcow2", "-B", name, "-k", sock, image])
    while not os.path.exists(sock) and server.poll() is None:
        time.sleep(0.02)
    out = run(theirs, "map", "--output=json", "--image-opts",
              "driver=nbd,server.type=unix,server.path=%s,x-dirty-bitmap=qemu:dirty-bitmap:%s" % (sock, name))
    server.terminate()
    server.wait()
    if os.path.exists(sock):
        os.unlink(sock)
    dirty = set()
    for e in json.loads(out):
        if not e["data"]:
            dirty |= set(range(e["start"] // b["g"], (e["start"] + e["length"] - 1) // b["g"] + 1))
    if dirty != b["bits"]:
        die("bitmap %s: %d granules too many, %d missing" % (name, len(dirty - b["bits"]), len(b["bits"] - dirty)))


def check_all():
    for program in (ours, theirs):
        run(program, "check", "-f", "qcow2", image)
    info = [json.loads(run(p, "info", "--output=json", image))["format-specific"]["data"].get("bitmaps", []) for p in (ours, theirs)]
    want = [{"name": n, "granularity": b["g"], "flags": ["auto"] if b["on"] else []} for n, b in bitmaps.items()]
    if info[0] != info[1] or info[0] != want:
        die("bitmaps are %s, qemu-img says %s, we say %s" % (want, info[1], info[0]))
    for name, disk in snapshots.items():
        if contents("-l", "snapshot.name=" + name) != disk:
            die("snapshot %s reads as something else" % name)
    if snapshots:
        name = random.choice(list(snapshots))
        run(theirs, "convert", "-O", "raw", "-l", "snapshot.name=" + name, image, raw)
        with open(raw, "rb") as f:  # at the disk's present size
            there = min(size, len(snapshots[name]))
            if f.read()[:there] != snapshots[name][:there]:
                die("qemu-img reads snapshot %s as something else" % name)
    if bitmaps and random.random() < 0.3:
        name = random.choice(list(bitmaps))
        check_bitmap(name, bitmaps[name])


snapshots, bitmaps, version = {}, {}, options if options == "compat=0.10" else "compat=1.1"
if backed:
    with open(base, "wb") as f:
        f.write(random.randbytes(3 << 20))
img("create", "-q", "-f", "qcow2", "-o", options, *(["-b", base, "-F", "raw"] if backed else []), image, str(size))
for _ in range(steps):
    random.choice([write, write, snapshot, snapshot, bitmap, bitmap, resize, amend])()
    check_all()
for name in list(bitmaps):
    check_bitmap(name, bitmaps[name])
