#!/usr/bin/env python3
"""driver=host_cdrom with drives: viv-img and viv-io in a guest of ours with two of them (ATAPI, USB): a disc is read byte for byte, is not written, and
a drive without one, with its tray open, and a disk that is no drive are refused with what is wrong."""
import hashlib
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
SCRIPT = r"""
dmesg -n 1
for i in $(seq 100); do [ -b /dev/sr0 ] && [ -b /dev/sr1 ] && [ -b /dev/vda ] && break; sleep 0.1; done
for d in sr0 sr1; do
  o=driver=host_cdrom,filename=/dev/$d,read-only=on
  echo disc $d size $(cat /sys/block/$d/size) # of 512
  viv-img convert --image-opts -O raw $o /tmp/$d || echo complaint: convert $d
  echo sum $d $(sha256sum </tmp/$d | cut -d ' ' -f 1)
  viv-img info --image-opts $o | sed "s/^/info $d: /"
  viv-io -r --image-opts $o -c 'read 2048 4096' -c 'write 0 512' 2>&1 | sed "s/^/io $d: /"
  viv-io --image-opts driver=host_cdrom,filename=/dev/$d,read-only=off -c length 2>&1 | sed "s/^/rw $d: /"
  echo $d out; read x
  viv-img info --image-opts $o 2>&1 | sed "s/^/open $d: /"
done
viv-img info --image-opts driver=host_cdrom,filename=/dev/vda,read-only=on 2>&1 | sed 's/^/disk: /'
dmesg | grep -iE 'bug:|oops|call trace|i/o error' | sed 's/^/complaint: /'
echo all-done
"""


def main():
    work = vm.scratch()
    rng = random.Random(11)
    sums = {}
    args = vm.base_args("pc", "512M") + ["-device", "qemu-xhci,id=x", "-drive", f"file={work}/disk,format=raw,if=virtio"]
    with open(f"{work}/disk", "wb") as f:
        f.truncate(MIB)
    for name, size, device in ("sr0", 6 * MIB + 2048, "ide-cd,bus=ide.1"), ("sr1", 3 * MIB, "usb-storage,bus=x.0"):
        data = rng.randbytes(size)
        sums[name] = hashlib.sha256(data).hexdigest()
        with open(f"{work}/{name}.iso", "wb") as f:
            f.write(data)
        args += ["-drive", f"file={work}/{name}.iso,format=raw,if=none,media=cdrom,id={name}", "-device", f"{device},id={name}-drive,drive={name}"]
    args += ["-kernel", vm.kernel("generic"),
             "-initrd", vm.initramfs(SCRIPT, vm.VIRTIO + ["ata_piix", "sr_mod", "cdrom", "xhci_pci", "usb_storage"], arch="generic",
                                     programs=[vm.tool("viv-img"), vm.tool("viv-io")]),
             "-append", "console=ttyS0 quiet panic=-1", "-qmp", f"unix:{work}/qmp,server=on,wait=off"]
    with vm.Guest(args, "guest") as g:
        q = vm.QMP(f"{work}/qmp")
        for name in sums:
            g.expect(f"^{name} out", 120)
            q.cmd("eject", id=f"{name}-drive", force=True)
            g.send("\n")
        g.expect("^all-done", 120)
        text = g.text.replace("\r", "")
        if os.environ.get("VIV_KEEP"):
            print(text)
        for name, want in sums.items():
            if f"sum {name} {want}\n" not in text:
                g.die(f"{name} is read with other bytes")
            for words in (f"io {name}: read 4096/4096 bytes at offset 2048", f"open {name}: .*(tray is open|no disc)",
                          f"rw {name}: .*discs are only read", f"io {name}: .*(read-only|Read-only|not permitted)"):
                if not re.search(words, text):
                    g.die(f"'{words}' was not said")
        if "disk: " not in text or "no CD-ROM drive" not in text or "complaint" in text:
            g.die("a disk was taken for a drive, or something complains")
    print("ok: discs in two drives by host_cdrom")


main()
