"""Images for tests of disks and CDs, and what is in them afterwards."""
import hashlib
import os
import subprocess

import vm

MIB = 1 << 20


def make_iso(work, name, size):
    tree = os.path.join(work, f"tree-{name}")
    os.makedirs(tree)
    data = os.urandom(size)
    with open(os.path.join(tree, "data.bin"), "wb") as f:
        f.write(data)
    with open(os.path.join(tree, "name"), "w") as f:
        f.write(name)
    iso = os.path.join(work, f"{name}.iso")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-V", name.upper(), "-r", tree], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return iso, hashlib.sha256(data).hexdigest()


def image(work, name, size):
    path = os.path.join(work, name)
    vm.run_tool([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", path, str(size)])
    return path


def sum_of(path, offset, length):
    raw = path + ".raw"
    vm.run_tool([vm.tool("viv-img"), "convert", "-O", "raw", path, raw])
    with open(raw, "rb") as f:
        f.seek(offset)
        s = hashlib.sha256(f.read(length)).hexdigest()
    os.remove(raw)
    return s


def no_complaints(g):
    bad = [x for x in g.text.splitlines() if x.startswith(("complaint: ", "different"))]
    if bad:
        g.die("\n".join(bad))
