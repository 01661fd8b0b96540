#!/usr/bin/env python3
"""What -smbios says reaches the guest's DMI tables: entered directly and through a firmware, beside what Debian's QEMU makes of the same."""
import base64
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

GIVEN = ["type=0,vendor=Makers,version=7,date=01/02/2003,release=3.14", "type=1,manufacturer=We,product=Box,version=v1,serial=ds=nocloud;s=http://10.0.2.2/",
         "type=1,uuid=00112233-4455-6677-8899-aabbccddeeff,sku=S1,family=F1", "type=2,manufacturer=They,product=Board,version=v2,serial=B2,asset=A2,location=L2",
         "type=3,manufacturer=Case,version=v3,serial=C3,asset=A3,sku=S3", "type=4,sock_pfx=P,manufacturer=Chips,version=v4,serial=C4,asset=A4,part=N4,max-speed=3000,current-speed=2900",
         "type=11,value=io.systemd.credential:one=1,value=two", "type=17,loc_pfx=Slot,bank=K,manufacturer=Rams,serial=R5,asset=A5,part=N5,speed=2666"]
SCRIPT = """
echo
for f in bios_vendor bios_version bios_date bios_release sys_vendor product_name product_version product_serial product_uuid product_sku product_family \
    board_vendor board_name board_version board_serial board_asset_tag chassis_vendor chassis_version chassis_serial chassis_asset_tag; do
    echo "dmi $f=$(cat /sys/class/dmi/id/$f)"
done
echo "table $(base64 -w0 /sys/firmware/dmi/tables/DMI 2>/dev/null || base64 /sys/firmware/dmi/tables/DMI | tr -d '\\n')"
echo user-space-reached
"""


def texts(table, kind):
    """The texts of the first structure of that type, and the fields that numbers were given for."""
    at = 0
    while table[at] != kind:
        at = table.index(b"\0\0", at + table[at + 1]) + 2
    size, end = table[at + 1], table.index(b"\0\0", at + table[at + 1])
    numbers = {4: table[at + 0x14:at + 0x18], 17: table[at + 21:at + 23]}.get(kind, b"")
    return sorted(table[at + size:end].split(b"\0")), numbers


def facts(emulator, extra):
    args = ["-M", "pc", "-m", "256M", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", *extra, "-kernel", vm.kernel("generic"),
            "-initrd", vm.initramfs(SCRIPT, [], arch="generic"), "-append", "console=ttyS0 panic=-1 quiet"]
    for g in GIVEN:
        args += ["-smbios", g]
    with vm.Guest(args, emu=emulator) as g:
        g.expect(r"^user-space-reached", 200)
        ids = dict(re.findall(r"^dmi (\w+)=(.*?)\r?$", g.text, re.M))
        table = base64.b64decode(re.search(r"^table (\S+)", g.text, re.M).group(1))
    return ids, {kind: texts(table, kind) for kind in (1, 2, 3, 4, 11, 17)}


def main():
    ours = facts(None, [])
    if ours[0]["product_serial"] != "ds=nocloud;s=http://10.0.2.2/" or ours[0]["bios_release"] != "3.14" or ours[1][11][0] != [b"io.systemd.credential:one=1", b"two"]:
        vm.fail(f"{ours}")
    others = {"through OVMF": facts(None, ["-bios", "/usr/share/ovmf/OVMF.fd"])} if os.path.exists("/usr/share/ovmf/OVMF.fd") else {}
    if shutil.which("qemu-system-x86_64"):
        others["QEMU"] = facts(["qemu-system-x86_64"], [])
    for name, other in others.items():
        for mine, its in zip(ours, other):
            for k in mine:
                if mine[k] != its[k]:
                    vm.fail(f"{k}: {mine[k]}, {name}: {its[k]}")
    print(f"ok: {len(ours[0])} facts and {len(ours[1])} structures, the same {', '.join(others)}")


main()
