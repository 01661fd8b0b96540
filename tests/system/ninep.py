#!/usr/bin/env python3
"""Shared folders (virtio-9p) with Debian's kernel: ninep.py [FSX_OPERATIONS]

In each security model: the list of POSIX cases (guest/posixfs.c) and random I/O (guest/fsx.c), without and with the client's cache;
the same run on Debian's QEMU (TCG) in between, results side by side. A folder that one of the two wrote is read by
the other. A mount keeps the machine from being saved; without it, it is saved and goes on."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ["passthrough", "none", "mapped-xattr", "mapped-file"]
MODULES = ["virtio_pci", "9p", "9pnet_virtio"]
QEMU = ["qemu-system-x86_64", "-accel", "tcg"]
# What is known to differ from POSIX, by function of posixfs.c, and why.
KNOWN = {"t_nanoseconds": "Linux's client sets times in whole seconds: its superblock tells no finer grain"}

POSIX = """
for t in TAGS; do
mkdir -p /$t; mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 $t /$t || echo mount failed
echo "== $t"; posixfs /$t; fsx /$t/fsx OPS 1
umount /$t
mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072,cache=mmap $t /$t || echo mount failed
fsx /$t/fsx OPS 2 mmap; rm /$t/fsx
umount /$t
done
echo user-space-reached
"""

# Everything that has attributes; what `show` prints is compared.
WRITE = """
show() { cd /$1; stat -c '%n %f %u %g %t:%T %s %h' . f hard dev blk p d d/in l ..x .hidden; readlink l; cat f d/in; cd /; }
work() { cd /$1; echo hi > f; chmod 4751 f; chown 1000:2000 f; ln -s target/x l; chown -h 5:6 l
mknod dev c 10 300; mknod blk b 259 70000; mkfifo p; mkdir d; chmod 1777 d; ln f hard; echo in > d/new; mv d/new d/in; chown 77:78 d/in
mkdir ..x; echo > .hidden; chmod 0 .hidden; chown 9:10 .; chmod 751 .; cd /; }
for t in TAGS; do
mkdir -p /$t; mount -t 9p -o trans=virtio,version=9p2000.L $t /$t || echo mount failed
ACTION $t
echo "== $t"; show $t; echo "=="
umount /$t; done
echo user-space-reached
"""

SAVE = """
mkdir -p /x; mount -t 9p -o trans=virtio,version=9p2000.L x /x && echo mounted
read line
umount /x; echo unmounted
read line
mount -t 9p -o trans=virtio,version=9p2000.L x /x && cat /x/file
echo user-space-reached
"""


def build(work):
    """The guest's programs, with their own libraries in them."""
    out = []
    for name in ("posixfs", "fsx"):
        path = os.path.join(work, name)
        subprocess.run(["gcc", "-O1", "-static", "-D_GNU_SOURCE", "-o", path, os.path.join(HERE, "guest", name + ".c")], check=True)
        out.append(path)
    return out


def share(tag, folder, model):
    return ["-virtfs", f"local,path={folder},mount_tag={tag},security_model={model}"]


def run(script, shares, emu, programs=(), timeout=280):
    """What the guest printed."""
    args = vm.base_args("pc", "512M") + shares + [
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(script, MODULES, programs=programs, arch="generic"),
        "-append", "console=ttyS0 quiet panic=-1"]
    with vm.Guest(args, "qemu" if emu else "guest", emu) as g:
        g.expect("^user-space-reached", timeout)
        g.wait(60)
        if "mount failed" in g.text:
            g.die("a folder could not be mounted")
        return g.text.replace("\r", "")


def cases(text):
    """{tag: {case: result}}, and what fsx said."""
    out = {}
    for part in text.split("== ")[1:]:
        tag = part.split("\n", 1)[0]
        found = dict(re.findall(r"^case (\S+) (.*)$", part, re.M))
        if len(found) < 100:
            vm.fail(f"posixfs ended early on {tag}:\n{part}")
        for n, line in enumerate(re.findall(r"^fsx: .*(?:\n(?=fsx)|$)", part, re.M)):
            found[f"fsx {'none' if n == 0 else 'mmap'}"] = "ok" if "agree" in line else "DIFFERS: " + line
        out[tag] = found
    return out


def posix(work, ops):
    names = [m.replace("-", "") for m in MODELS]
    script = POSIX.replace("TAGS", " ".join(names)).replace("OPS", ops)
    programs, got = build(work), {}
    for who, emu in (("ours", None), ("qemu", QEMU if shutil.which(QEMU[0]) else None)):
        if who == "qemu" and not emu:
            print("no qemu-system-x86_64: nothing to compare with")
            continue
        shares = []
        for name, model in zip(names, MODELS):
            folder = os.path.join(work, who, name)
            os.makedirs(folder)
            shares += share(name, folder, model)
        got[who] = cases(run(script, shares, emu, programs))
    compare(names, got)


def compare(names, got):
    wrong = 0
    for name in names:
        ours, peer = got["ours"][name], got.get("qemu", got["ours"])[name]
        for c in ours:
            a, b = ours[c], peer.get(c, "not reached")
            if a == "ok" and b == "ok":
                continue
            known = KNOWN.get(c.split(":")[0])
            if c.startswith("t_nodes") and name in ("passthrough", "none"):
                known = "device files are not made in a share by a process that is confined: -sandbox off"
            print(f"{name}: {c}: ours {a}, qemu {b}{' (' + known + ')' if known else ''}")
            wrong += a != "ok" and not known
        print(f"{name}: {sum(v == 'ok' for v in ours.values())} of {len(ours)} as POSIX has it; QEMU: {sum(v == 'ok' for v in peer.values())}")
    if wrong:
        vm.fail(f"{wrong} cases differ")


def formats(work):
    """Written by the one, shown by both: the same."""
    if not shutil.which(QEMU[0]):
        return
    mapped = [("a", "mapped-xattr"), ("b", "mapped-file")]
    for writer, emu in (("ours", None), ("qemu", QEMU)):
        shares = []
        for tag, model in mapped:
            folder = os.path.join(work, f"format-{writer}-{tag}")
            os.makedirs(folder)
            shares += share(tag, folder, model)
        script = WRITE.replace("TAGS", "a b")
        shown = [re.findall(r"^== (\w)\n(.*?)^==$", run(script.replace("ACTION", action), shares, who), re.M | re.S)
                 for action, who in (("work", emu), ("true", None), ("true", QEMU))]
        if len(shown[0]) != 2 or shown[0] != shown[1] or shown[1] != shown[2] or "a1ff 5 6" not in shown[0][0][1]:
            vm.fail(f"written by {writer}:\n{shown[0]}\nours:\n{shown[1]}\nqemu:\n{shown[2]}")
        print(f"written by {writer}: shown alike by both")


def saving(work):
    folder, sock, state = (os.path.join(work, n) for n in ("save", "qmp", "state"))
    os.makedirs(folder)
    with open(os.path.join(folder, "file"), "w") as f:
        f.write("from the host\n")
    args = vm.base_args("pc", "256M") + share("x", folder, "none") + [
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(SAVE, MODULES, arch="generic"), "-append", "console=ttyS0 quiet panic=-1"]
    with vm.Guest(args + ["-qmp", f"unix:{sock},server=on,wait=off"]) as g:
        g.expect("^mounted")
        q = vm.QMP(sock)
        try:
            q.cmd("migrate", uri=f"file:{state}")
            g.die("saved with a folder mounted")
        except RuntimeError as e:
            if "mount tag 'x'" not in str(e):
                g.die(f"refused, but not for the mount: {e}")
        if q.cmd("query-status")["status"] != "running":
            g.die("it does not run after the refusal")
        g.send("\n")
        g.expect("^unmounted")
        q.save(g, state)
        q.cmd("quit")
        g.wait()
    with vm.Guest(args + ["-incoming", f"file:{state}"], "loaded") as g:
        g.send("\n")
        g.expect("^from the host")
        g.expect("^user-space-reached")
    print("saved only without a mount; mounted again after the load")


def main():
    vm.need("gcc", "cpio")
    if os.geteuid():
        vm.skip("security_model=passthrough is for root")
    work = vm.scratch()
    formats(work)
    saving(work)
    posix(work, sys.argv[1] if len(sys.argv) > 1 else "2000")
    print("ok")


main()
