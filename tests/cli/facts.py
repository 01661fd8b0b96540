#!/usr/bin/env python3
"""What a machine says of its memory back ends, its cards' filters, its display, its disks and its memory map, beside what QEMU says of the same
machine."""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

NET = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,id=v,mac=52:54:00:12:34:99", "-netdev", "user,id=n1", "-device", "e1000,netdev=n1,id=e"]
# (arguments, [(command, arguments)])
MACHINES = [
    (["-machine", "pc,dump-guest-core=off"] + NET,
     [("query-memdev", {}), ("query-rx-filter", {}), ("query-rx-filter", {"name": "v"}), ("query-rx-filter", {"name": "e"}), ("query-rx-filter", {"name": "x"}),
      ("query-display-options", {})]),
    (["-object", "memory-backend-ram,id=m0,size=16M,prealloc=on,merge=off,dump=on", "-machine", "pc,memory-backend=m0"],
     [("query-memdev", {}), ("human-monitor-command", {"command-line": "info memdev"})]),
    (["-object", "memory-backend-memfd,id=m0,size=16M,reserve=on,merge=off,dump=off", "-machine", "q35,memory-backend=m0", "-vnc", "unix:WORK/vnc"],
     [("query-memdev", {}), ("query-display-options", {})]),
]


def ask(emulator, args, commands):
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"] +
                         [a.replace("WORK", work) for a in args])
    try:
        q, said = vm.QMP(f"{work}/q"), []
        for name, given in commands:
            try:
                said.append(q.cmd(name, **given))
            except RuntimeError as e:
                said.append(str(e))
        return said
    finally:
        p.kill()
        p.wait()


def set_clock(emulator):
    """The year in the clock's registers goes up by one: how far that is, as the event says."""
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off", "-rtc", "base=2021-03-04T12:00:00"])
    try:
        q = vm.QMP(f"{work}/q")

        def hmp(line):
            return q.cmd("human-monitor-command", **{"command-line": line})

        for register, value in (11, 0x82), (9, 0x22), (11, 2):
            hmp(f"o /b 0x70 {register}")
            hmp(f"o /b 0x71 {value}")
        for _ in range(200):
            told = [e["data"] for e in q.events if e["event"] == "RTC_CHANGE"]
            if told:
                return told[-1]["offset"]
            q.cmd("query-status")
            time.sleep(0.02)
        vm.fail("RTC_CHANGE did not come")
    finally:
        p.kill()
        p.wait()


DISKS = ["-drive", "if=none,id=d0,file=WORK/top,werror=stop", "-device", "ide-hd,drive=d0,id=hd", "-drive", "if=none,id=c0,media=cdrom", "-device", "ide-cd,drive=c0,id=cc",
         "-drive", "if=none,id=raw,file=WORK/raw,format=raw,detect-zeroes=on", "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=raw,id=s7,werror=report",
         "-blockdev", "raw,node-name=nn,file.driver=file,file.filename=WORK/node", "-device", "virtio-blk-pci,drive=nn,id=v0"]
DISK_LINES = ["info block", "info block -v", "info block d0", "info block -v raw", "info block nothing"]
# What of query-block and query-blockstats is compared: how disks are named, and how they are.
FACTS = ["device", "qdev", "io-status", "removable", "tray_open", "locked"]


NODE = 'json:{"driver": "raw", "file": {"driver": "file", "filename": "WORK/node"}}'  # QEMU's, of one that was described, not named


def show_disks(emulator):
    """`info block` in its forms, without what differs by nature: names of nodes that nobody named."""
    work = vm.scratch()
    img = vm.tool("viv-img")
    subprocess.run([img, "create", "-q", "-f", "qcow2", f"{work}/base", "4M"], check=True)
    subprocess.run([img, "create", "-q", "-f", "qcow2", "-b", f"{work}/base", "-F", "qcow2", f"{work}/top"], check=True)
    subprocess.run([img, "create", "-q", "-f", "raw", f"{work}/raw", "1M"], check=True)
    shutil.copy(f"{work}/raw", f"{work}/node")
    hmp = [("human-monitor-command", {"command-line": line}) for line in DISK_LINES + ["info block -n"]]
    facts = [{k: row.get(k) for k in FACTS} for answer in ask(emulator, [d.replace("WORK", work) for d in DISKS], [("query-block", {}), ("query-blockstats", {})])
             for row in answer]
    said = [re.sub(r"#block\d+", "#block", a).replace(work, "WORK").replace(NODE, "WORK/node").replace("\r", "") for a in ask(emulator, [d.replace("WORK", work) for d in DISKS], hmp)]
    nodes = said.pop()
    if "#block: WORK/raw (raw)\n    Cache mode:       writeback\n    Detect zeroes:    on\n" not in nodes:
        vm.fail(f"info block -n: {nodes}")
    return said, facts


def check_disks(peer):
    ours, facts = show_disks(vm.emulator())
    theirs, their_facts = show_disks([peer]) if peer else (ours, facts)
    if facts != their_facts or facts[-1]["qdev"] != "/machine/peripheral/v0/virtio-backend" or facts[0]["io-status"] != "ok":
        vm.fail("\n".join(str(pair) for pair in zip(facts, their_facts)))
    for line, mine, other in zip(DISK_LINES, ours, theirs):
        if mine != other.lstrip("\n"):  # QEMU's begins with an empty line, if others are left out before
            vm.fail(f"{line}:\n{mine}\nQEMU:\n{other}")


def check_map(peer):
    """info mtree: QEMU's headings and form of a line; what stands at the same place is of the same kind."""
    def views(emulator, line):
        text = ask(emulator, ["-M", "pc"], [("human-monitor-command", {"command-line": line})])[0].replace("\r", "")
        return dict((name, view) for view in text.split("\n\n") for name in re.findall(r' AS "(.*)", root|^address-space: (.*)', view, re.M) for name in name if name), text
    for line in "info mtree -f", "info mtree":
        ours, text = views(vm.emulator(), line)
        theirs = views([peer], line)[0] if peer else ours
        form = re.compile(r" +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (ram|rom|i/o)\): \S.*")
        for name, where in ("memory", "00000000fec00000"), ("memory", "0000000000100000"), ("cpu-memory-0", "00000000fffc0000"), ("I/O", "0000000000000040"):
            pair = [[m.groups() for m in map(form.fullmatch, v[name].splitlines()) if m and m[1] == where] for v in (ours, theirs)]
            if not pair[0] or (line.endswith("-f") and pair[0] != pair[1]):
                vm.fail(f"{line}: {where} of {name}: {pair}\n{text}")
        bad = [r for v in ours.values() for r in v.splitlines() if not form.fullmatch(r) and not re.match(r'FlatView #\d+$| AS "| Root memory region: |address-space: ', r)]
        if bad:
            vm.fail(f"{line}: {bad}")
    for letter in "dDo":
        if "is not supported" not in (said := ask(vm.emulator(), [], [("human-monitor-command", {"command-line": f"info mtree -{letter}"})])[0]):
            vm.fail(f"info mtree -{letter}: {said}")


TREE = ["-M", "pc", "-netdev", "user,id=n", "-device", "e1000,netdev=n,id=e,addr=9", "-device", "usb-ehci,id=eh", "-device", "usb-tablet,bus=eh.0,id=t",
        "-device", "virtio-scsi-pci,id=s", "-drive", "if=none,id=d0,file=WORK,format=raw", "-device", "scsi-hd,drive=d0,id=hd",
        "-drive", "if=none,id=c0,media=cdrom", "-device", "ide-cd,drive=c0,id=cd,bus=ide.0", "-device", "virtio-serial-pci,id=vs", "-chardev", "null,id=c",
        "-device", "virtserialport,chardev=c,name=aa,id=p", "-device", "pci-bridge,id=br,chassis_nr=3", "-device", "ich9-ahci,id=ah",
        "-device", "rtl8139,bus=br,addr=3,id=r", "-drive", "if=none,id=c1,media=cdrom", "-device", "ide-cd,drive=c1,id=cd2,bus=ah.2"]
# Who must be below whom, and lines that both have of it.
PLACES = {"e": ([], ['netdev = "n"', "class Ethernet controller, addr 00:09.0, pci id 8086:100e"]), "t": (["eh"], []), "hd": (["s"], ['drive = "d0"']),
          "cd": ([], ['drive = "c0"']), "p": (["vs"], ['chardev = "c"', 'name = "aa"']), "r": (["br"], []), "br": ([], ["chassis_nr = 3 (0x3)"]),
          "cd2": (["ah"], ['drive = "c1"'])}


def tree(text):
    """{id: (type of its bus, ids above it, its lines)} of `info qtree`."""
    above, out = [], {}
    for line in text.splitlines():
        depth, words = len(line) - len(line.lstrip()), line.split()
        above = [a for a in above if a[0] < depth]
        if words[0] == "bus:":
            above.append([depth, "bus", None])
        elif words[0] == "type":
            above[-1][2] = words[1]
        elif words[0] == "dev:":
            name = words[-1].strip('"')
            out[name] = ([a[2] for a in above if a[1] == "bus"][-1], [a[2] for a in above if a[1] == "dev"], [])
            above.append([depth, "dev", name])
        else:
            out[above[-1][2]][2].append(line.strip())
    return out


def check_tree(peer):
    disk = os.path.join(vm.scratch(), "disk")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    hmp = [("human-monitor-command", {"command-line": line}) for line in ("info qtree", "info qom-tree")]
    text, objects = (a.replace("\r", "") for a in ask(vm.emulator(), [a.replace("WORK", disk) for a in TREE], hmp))
    ours = tree(text)
    theirs = tree(ask([peer], [a.replace("WORK", disk) for a in TREE], hmp[:1])[0].replace("\r", "")) if peer else ours
    for name, (parents, lines) in PLACES.items():
        for who in ours, theirs:
            kind, above, said = who[name]
            lacking = [line for line in lines if not any(s.startswith(line) for s in said)]
            if kind != ours[name][0] or any(p not in above for p in parents) or (lacking and who is ours):
                vm.fail(f"info qtree: {name}: on {kind} below {above}, without {lacking}:\n{text}")
        if f"\n    /{name} (" not in objects:
            vm.fail(f"info qom-tree: no {name}: {objects}")
    if not objects.startswith("/machine (") or "\n  /peripheral (container)\n" not in objects:
        vm.fail(f"info qom-tree: {objects}")


def difference(mine, other):
    if not isinstance(mine, list) or not isinstance(other, list) or len(mine) != len(other):
        return [f"{mine}", "QEMU:", f"{other}"]
    return [f"{k}: {str(a.get(k))[:90]}, QEMU: {str(b.get(k))[:90]}" for a, b in zip(mine, other) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]


def main():
    peer, answers = shutil.which("qemu-system-x86_64"), 0
    for args, commands in MACHINES:
        ours = ask(vm.emulator(), args, commands)
        if any(c == "query-memdev" and (len(a) != 1 or a[0]["size"] != 16 << 20) for (c, _), a in zip(commands, ours)):
            vm.fail(f"{args}: {ours}")
        theirs = ask([peer], args, commands) if peer else ours
        for command, mine, other in zip(commands, ours, theirs):
            if command[0] == "query-memdev" and "pc,dump-guest-core=off" in args:
                other[0]["merge"] = False  # ours is never merged unless a back end says so
            if command[0] == "query-rx-filter" and isinstance(other, list):
                for row in other:
                    row["broadcast-allowed"] = not row["broadcast-allowed"]  # QEMU 7.2 says the contrary of what its card does
            if mine != other:
                vm.fail(f"{args}: {command}:\n" + "\n".join(difference(mine, other)))
            answers += 1
    check_disks(peer)
    check_map(peer)
    check_tree(peer)
    offset = set_clock(vm.emulator())
    if abs(offset - 365 * 86400) > 2 or (peer and abs(set_clock([peer]) - offset) > 2):
        vm.fail(f"RTC_CHANGE: {offset}")
    print(f"ok: {answers} answers" + (", as QEMU's" if peer else " (no QEMU to compare with)"))


main()
