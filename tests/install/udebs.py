#!/usr/bin/env python3
"""Makes the installer's components (udebs) for a mirror that has none: tests/install/udebs.py [--sources FOLDER]

Debian's mirrors serve them and nobody needs this; some caching mirrors have every .deb and no .udeb. What the text installer
fetches to put a system on an ext4 disk is then made from what there is, into BUILD/guest/udebs, and tests/install/debian.py's mirror
serves that as the distribution `viv`:
  - the installer's own scripts and small programs, built from their source packages with dpkg-buildpackage. FOLDER holds them as
    one tree each (checkouts of Debian's installer team); what it has not is asked of apt. tools/deps installer names what it takes;
  - kernel modules from linux-image of the version that the CD's kernel has;
  - file-system tools and libraries, out of their .debs.
Its Release is signed by a key of its own, which a second initramfs adds to the installer's key ring: nothing is left unchecked."""
import argparse
import glob
import gzip
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
sys.path.insert(0, os.path.dirname(__file__))
import iso  # noqa: E402
import vm  # noqa: E402

HOME = os.path.join(vm.GUEST, "udebs")
SUITE = "viv"
# Source package: its components that are wanted.
SOURCES = {
    "apt-setup": ["apt-setup-udeb", "apt-mirror-setup"],
    "base-installer": ["base-installer", "bootstrap-base"],
    "clock-setup": ["clock-setup"],
    "debian-installer-utils": ["di-utils-mapdevfs"],
    "debootstrap": ["debootstrap-udeb"],
    "finish-install": ["finish-install"],
    "grub-installer": ["grub-installer"],
    "hw-detect": ["disk-detect"],
    "os-prober": ["os-prober-udeb"],
    "partman-auto": ["partman-auto"],
    "partman-base": ["partman-base", "partman-utils"],
    "partman-basicfilesystems": ["partman-basicfilesystems"],
    "partman-basicmethods": ["partman-basicmethods"],
    "partman-efi": ["partman-efi"],
    "partman-ext3": ["partman-ext3"],
    "partman-partitioning": ["partman-partitioning"],
    "partman-target": ["partman-target"],
    "pkgsel": ["pkgsel"],
    "tzsetup": ["tzsetup-udeb"],
    "user-setup": ["user-setup-udeb"],
}
# Component: modules, what it provides. Modules that these need come along unless an earlier one or the initramfs has them.
MODULES = {
    "cdrom-core-modules": (["cdrom", "sr_mod"], ""),
    "isofs-modules": (["isofs"], ""),
    "ata-modules": (["libata", "ata_generic"], ""),
    "sata-modules": (["ahci", "ata_piix"], ""),
    "scsi-modules": (["virtio_scsi", "virtio_blk", "nvme", "megaraid_sas", "mptspi", "sym53c8xx"], ""),
    "ext4-modules": (["ext4"], "ext2-modules, ext3-modules, ext4-modules"),
    "efi-modules": (["efivarfs"], "efi-modules"),
    "loop-modules": (["loop"], ""),
}
# Component: the .debs, what is taken of them, what it depends on.
LIB = ["lib/*/lib*.so*"]
BINARIES = {
    "libdevmapper1.02.1-udeb": (["libdevmapper1.02.1"], LIB, "libselinux1-udeb, libudev1-udeb"),
    "dmidecode-udeb": (["dmidecode"], ["usr/sbin/dmidecode"], "libc6-udeb"),
    "libparted2-udeb": (["libparted2"], LIB, "libblkid1-udeb, libuuid1-udeb, libdevmapper1.02.1-udeb, dmidecode-udeb"),
    "libparted-fs-resize0-udeb": (["libparted-fs-resize0"], LIB, "libparted2-udeb"),
    "e2fsprogs-udeb": (["e2fsprogs", "libext2fs2", "libcom-err2", "libss2"], LIB + ["sbin/*2fs*", "sbin/*ext*", "etc/mke2fs.conf"],
                       "libblkid1-udeb, libuuid1-udeb"),
    "dosfstools-udeb": (["dosfstools"], ["sbin/*"], "libc6-udeb"),
}


def run(*args, **kw):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if p.returncode:
        vm.fail(f"{' '.join(args)}:\n{p.stdout[-3000:]}")
    return p.stdout


def download(folder, *packages):
    """Paths of .debs, by apt of this machine."""
    os.makedirs(folder, exist_ok=True)
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder)
    return [glob.glob(f"{folder}/{p}_*.deb")[0] for p in packages]


def stanzas(text):
    """Packages of a control file, each a list of (field, value with its continuation lines)."""
    for part in re.split(r"\n\s*\n", text.strip()):
        yield re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", part, re.M)


class Pool:
    """The components, packed into HOME/pool when all are known."""

    def __init__(self, root):
        self.root, self.trees = root, []
        os.makedirs(f"{root}/pool")

    def add(self, tree, fields):
        self.trees.append((tree, dict(fields)))

    def names(self):
        """What can be depended on: the components of the initramfs and ours, and what they provide."""
        with open(f"{self.root}/initrd/var/lib/dpkg/status") as f:
            packages = [dict(s) for s in stanzas(f.read())] + [fields for _, fields in self.trees]
        said = ",".join(f"{p['Package']},{p.get('Provides', '')}" for p in packages)
        return {n.split()[0] for n in said.split(",") if n.strip()}

    def pack(self):
        """[(file, fields)]. A dependency on what is not there (ntfs-3g, say) is dropped, and so are versions of the others."""
        names, made = self.names(), []
        for tree, fields in self.trees:
            wanted = [d.split()[0] for d in fields.pop("Depends", "").split(",") if d.strip()]
            kept = [d for d in wanted if d in names]
            if kept:
                fields["Depends"] = ", ".join(kept)
            os.makedirs(f"{tree}/DEBIAN", exist_ok=True)
            with open(f"{tree}/DEBIAN/control", "w") as f:
                f.writelines(f"{k}: {v}\n" for k, v in fields.items())
            name = f"{fields['Package']}_{fields['Version'].split(':')[-1]}_{fields['Architecture']}.udeb"
            run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "-b", tree, f"{self.root}/pool/{name}")
            made.append((name, fields))
        return made


def unpack_initrd(root):
    """What the CD's initramfs holds tells the kernel's version and what need not be made."""
    folder = f"{root}/initrd"
    os.makedirs(folder)
    with gzip.open(os.path.join(iso.netboot(), "initrd.gz")) as f:
        subprocess.run(["cpio", "-idm", "--quiet", "--no-absolute-filenames"], input=f.read(), cwd=folder, stderr=subprocess.DEVNULL)
    return os.listdir(f"{folder}/lib/modules")[0]


def source_tree(name, given, folder):
    tree = f"{folder}/{name}"
    if given and os.path.isdir(f"{given}/{name}/debian"):
        shutil.copytree(f"{given}/{name}", tree, symlinks=True)
        return tree
    state = f"{folder}/apt"
    if not os.path.exists(f"{state}/lists"):
        os.makedirs(f"{state}/lists/partial")
        os.makedirs(f"{state}/cache/archives/partial")
        out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
                             stdout=subprocess.PIPE, text=True).stdout
        with open(f"{state}/sources.list", "w") as f:
            f.writelines(f"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {line}\n"
                         for line in sorted(set(out.splitlines())) if " bookworm" in line)
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", f"Dir::Etc::sourcelist={state}/sources.list", "-o",
           "Dir::Etc::sourceparts=/dev/null", "-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
    if not glob.glob(f"{state}/lists/*Sources*"):
        run(*apt, "update")
    p = subprocess.run(apt + ["source", "--download-only", name], cwd=state, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.skip(f"no source of {name}: neither apt has it nor --sources; {p.stdout.strip().splitlines()[-1]}")
    run("dpkg-source", "-x", glob.glob(f"{state}/{name}_*.dsc")[0], tree)
    return tree


def from_sources(pool, given):
    work = f"{pool.root}/src"
    os.makedirs(work)
    for source, names in SOURCES.items():
        tree = source_tree(source, given, work)
        run("dpkg-buildpackage", "-b", "-us", "-uc", cwd=tree, env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck nodoc"})
        for n in names:
            built = glob.glob(f"{work}/{n}_*.udeb")[0]
            run("dpkg-deb", "-R", built, f"{built}.tree")
            with open(f"{built}.tree/DEBIAN/control") as f:
                pool.add(f"{built}.tree", next(stanzas(f.read())))
        print(f"  {source}: {', '.join(names)}", flush=True)


def kernel_modules(pool, kernel):
    image = f"{pool.root}/kernel"
    run("dpkg-deb", "-x", download(f"{pool.root}/debs", f"linux-image-{kernel}")[0], image)
    run("depmod", "-b", image, kernel)
    needs = {}
    with open(f"{image}/lib/modules/{kernel}/modules.dep") as f:
        for line in f:
            path, deps = line.split(":")
            needs[os.path.basename(path)[:-3].replace("-", "_")] = [path] + deps.split()
    with open(f"{pool.root}/initrd/var/lib/dpkg/status") as f:
        version = next(dict(s)["Version"] for s in stanzas(f.read()) if dict(s)["Package"] == f"kernel-image-{kernel}-di")
    done = {os.path.relpath(p, f"{pool.root}/initrd/lib/modules/{kernel}")
            for p in glob.glob(f"{pool.root}/initrd/lib/modules/{kernel}/**/*.ko", recursive=True)}
    for name, (modules, provides) in MODULES.items():
        full, tree = f"{name}-{kernel}-di", f"{pool.root}/trees/{name}"
        for path in [p for m in modules for p in needs.get(m.replace("-", "_"), [])]:
            if path not in done:
                done.add(path)
                os.makedirs(os.path.dirname(f"{tree}/lib/modules/{kernel}/{path}"), exist_ok=True)
                shutil.copy(f"{image}/lib/modules/{kernel}/{path}", f"{tree}/lib/modules/{kernel}/{path}")
        pool.add(tree, [("Package", full), ("Version", version), ("Architecture", "amd64"), ("Provides", provides or name),
                        ("Kernel-Version", kernel), ("Depends", f"kernel-image-{kernel}-di"), ("Section", "debian-installer"),
                        ("Priority", "standard"), ("Maintainer", "nobody <nobody@localhost>"), ("Description", f"{name} for the installer")])


def from_debs(pool):
    for name, (debs, patterns, depends) in BINARIES.items():
        tree = f"{pool.root}/trees/{name}"
        version = ""
        for deb in download(f"{pool.root}/debs", *debs):
            version = version or run("dpkg-deb", "-f", deb, "Version").strip()
            run("dpkg-deb", "-x", deb, f"{tree}.all")
        for path in [p for g in patterns for p in glob.glob(f"{tree}.all/{g}")]:
            to = os.path.join(tree, os.path.relpath(path, f"{tree}.all"))
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(path, to, follow_symlinks=False)
        pool.add(tree, [("Package", name), ("Version", version), ("Architecture", "amd64"), ("Depends", depends),
                        ("Section", "debian-installer"), ("Priority", "optional"), ("Maintainer", "nobody <nobody@localhost>"),
                        ("Description", f"{name} for the installer")])


def index(root, made):
    """dists/viv: Packages.xz, Release, its signature; the key as a second initramfs."""
    folder = f"{root}/dists/{SUITE}"
    packages = f"{folder}/main/debian-installer/binary-amd64"
    os.makedirs(packages)
    text = ""
    for name, fields in made:
        with open(f"{root}/pool/{name}", "rb") as f:
            data = f.read()
        text += "".join(f"{k}: {v}\n" for k, v in fields.items())
        text += f"Filename: pool/{name}\nSize: {len(data)}\nMD5sum: {hashlib.md5(data).hexdigest()}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    packed = lzma.compress(text.encode())
    with open(f"{packages}/Packages.xz", "wb") as f:
        f.write(packed)
    with open(f"{folder}/Release", "w") as f:
        f.write(f"Origin: Vivarium\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\nComponents: main\nSHA256:\n"
                f" {hashlib.sha256(packed).hexdigest()} {len(packed)} main/debian-installer/binary-amd64/Packages.xz\n")
    sign(root, folder)


def sign(root, folder):
    gpg = ["gpg", "--homedir", f"{root}/gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    os.makedirs(f"{root}/gpg", mode=0o700)
    run(*gpg, "--quick-generate-key", "installer test", "rsa2048", "sign", "never")
    run(*gpg, "--armor", "--detach-sign", "-o", f"{folder}/Release.gpg", f"{folder}/Release")
    ring = "usr/share/keyrings/debian-archive-keyring.gpg"
    os.makedirs(f"{root}/overlay/{os.path.dirname(ring)}")
    shutil.copy(f"{root}/initrd/{ring}", f"{root}/overlay/{ring}")
    with open(f"{root}/overlay/{ring}", "ab") as f:
        f.write(subprocess.run(gpg + ["--export"], stdout=subprocess.PIPE, check=True).stdout)
    out = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input=(ring + "\n").encode(), cwd=f"{root}/overlay",
                         stdout=subprocess.PIPE, check=True).stdout
    with gzip.open(f"{root}/keys.gz", "wb") as f:
        f.write(out)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--sources", help="folder with the installer's source packages, one tree each")
    a = ap.parse_args()
    vm.need("dpkg-buildpackage", "dh", "po2debconf", "depmod", "gpg", "cpio", "xz")
    root = HOME + ".part"
    shutil.rmtree(root, True)
    os.makedirs(root)
    kernel = unpack_initrd(root)
    pool = Pool(root)
    kernel_modules(pool, kernel)
    from_debs(pool)
    from_sources(pool, a.sources)
    made = pool.pack()
    index(root, made)
    for scratch in ("initrd", "kernel", "debs", "trees", "src", "overlay", "gpg"):
        shutil.rmtree(f"{root}/{scratch}")
    shutil.rmtree(HOME, True)
    os.rename(root, HOME)
    print(f"ok: {len(made)} components in {HOME}")


if __name__ == "__main__":
    main()
