"""Installer CDs made of Debian's packages."""
import glob
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

PACKAGE = "debian-installer-12-netboot-amd64"

GRUB = """set timeout=-1
insmod all_video
set gfxpayload=keep
menuentry 'Install' { linux /linux KERNEL_OPTIONS; initrd INITRDS }
menuentry 'Power off' { halt }
"""


def netboot(flavour="text"):
    """Folder with Debian's installer: linux and initrd.gz. Fetched once, not installed."""
    out = os.path.join(vm.GUEST, "installer")
    image = f"{out}/usr/lib/debian-installer/images/12/amd64/{flavour}/debian-installer/amd64"
    if not os.path.exists(image):
        tmp = out + ".part"
        shutil.rmtree(tmp, True)
        os.makedirs(tmp)
        p = subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", PACKAGE], cwd=tmp, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        if p.returncode:
            vm.skip(f"apt-get download {PACKAGE}: {p.stdout.strip().splitlines()[-1]}")
        subprocess.run(["dpkg-deb", "-x", glob.glob(tmp + "/*.deb")[0], tmp], check=True)
        os.rename(tmp, out)
    return image


def installer(path, options, more=()):
    """A CD that GRUB starts from BIOS and, where its packages are there, from UEFI: the text installer with these kernel options, with
    more initramfs files over its own."""
    vm.need("grub-mkrescue", "xorriso", "mformat")
    tree = path + ".tree"
    os.makedirs(tree + "/boot/grub")
    for name in ("linux", "initrd.gz"):
        shutil.copy(os.path.join(netboot(), name), f"{tree}/{name}")
    for i, name in enumerate(more):
        shutil.copy(name, f"{tree}/more{i}.gz")
    initrds = " ".join(["/initrd.gz"] + [f"/more{i}.gz" for i in range(len(more))])
    with open(tree + "/boot/grub/grub.cfg", "w") as f:
        f.write(GRUB.replace("KERNEL_OPTIONS", options).replace("INITRDS", initrds))
    p = subprocess.run(["grub-mkrescue", "-o", path, tree], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shutil.rmtree(tree)
    if p.returncode:
        vm.fail(f"grub-mkrescue: {p.stdout[-2000:]}")
    return path
