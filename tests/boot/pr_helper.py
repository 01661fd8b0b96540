#!/usr/bin/env python3
"""viv-pr-helper with a SCSI device that has persistent reservations: Linux's target (target_core_mod, a RAM disk) in a guest, one LUN on two
tcm_loop ports, so that /dev/sda and /dev/sdb are one disk for two initiators. After each command that a client sends through the helper, its answer,
what the target says in configfs, what the helper's clients read, and who may write are compared with what SPC-4 wants."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

WE, EA, WE_RO = 1, 3, 5  # write exclusive, exclusive access, write exclusive for registrants
TYPES = {"Write Exclusive Access": WE, "Exclusive Access": EA, "Write Exclusive Access, Registrants Only": WE_RO}
GOOD, CONFLICT = "status 00", "status 18"


def sense(key, asc, ascq):
    return f"sense {key:x}/{asc:02x}/{ascq:02x} status 02"


# Disk, command, the answer (None: not looked at), and from then on: registered keys, the holder and its type, who may write.
STEPS = [
    ("sda", "features", "length 8 types ea01", {}, None, "sda sdb"),  # all six types
    ("sda", "keys", "generation 0", {}, None, "sda sdb"),
    ("sda", "register 0 aa1", GOOD, {"a": 0xaa1}, None, "sda sdb"),
    ("sda", "register 7 aa2", CONFLICT, {"a": 0xaa1}, None, "sda sdb"),  # not its key
    ("sdb", "reserve bb2 1", sense(2, 8, 0), {"a": 0xaa1}, None, "sda sdb"),  # not registered, in Linux's words
    ("sdb", "register 0 bb2", GOOD, {"a": 0xaa1, "b": 0xbb2}, None, "sda sdb"),
    ("sda", "reserve aa1 1", GOOD, {"a": 0xaa1, "b": 0xbb2}, ("a", WE), "sda"),
    ("sdb", "reserve bb2 1", CONFLICT, {"a": 0xaa1, "b": 0xbb2}, ("a", WE), "sda"),
    ("sda", "reserve aa1 5", CONFLICT, {"a": 0xaa1, "b": 0xbb2}, ("a", WE), "sda"),  # another type than it holds
    ("sdb", "release bb2 1", GOOD, {"a": 0xaa1, "b": 0xbb2}, ("a", WE), "sda"),  # it holds none: nothing to do
    ("sda", "release aa1 3", CONFLICT, {"a": 0xaa1, "b": 0xbb2}, ("a", WE), "sda"),  # not the type it holds
    ("sda", "release aa1 1", GOOD, {"a": 0xaa1, "b": 0xbb2}, None, "sda sdb"),
    ("sda", "reserve aa1 3", GOOD, {"a": 0xaa1, "b": 0xbb2}, ("a", EA), "sda"),
    ("sdb", "preempt bb2 aa1 5", GOOD, {"b": 0xbb2}, ("b", WE_RO), "sdb"),
    ("sda", "ignore aa9", GOOD, {"a": 0xaa9, "b": 0xbb2}, ("b", WE_RO), "sda sdb"),
    ("sdb", "status", "generation 4 bb2:holder5 aa9:0", {"a": 0xaa9, "b": 0xbb2}, ("b", WE_RO), "sda sdb"),
    ("sdb", "release bb2 5", GOOD, {"a": 0xaa9, "b": 0xbb2}, None, "sda sdb"),
    ("sda", "ro register aa9 ab1", sense(7, 0x27, 0), {"a": 0xaa9, "b": 0xbb2}, None, "sda sdb"),  # the helper's word
    ("sda", "ro keys", None, {"a": 0xaa9, "b": 0xbb2}, None, "sda sdb"),
    ("sda", "register aa9 0", GOOD, {"b": 0xbb2}, None, "sda sdb"),  # goes
    ("sdb", "reserve bb2 5", GOOD, {"b": 0xbb2}, ("b", WE_RO), "sdb"),
    ("sdb", "clear bb2", GOOD, {}, None, "sda sdb"),
]
# Unit attentions that the other initiator gets then: registrations preempted, reservations released.
ATTENTION = {("sdb", "preempt bb2 aa1 5"): (0x2a, 5), ("sdb", "release bb2 5"): (0x2a, 4)}

GUEST = r"""
dmesg -n 1
chmod 755 / # of the initramfs
echo 'nobody:x:65534:65534::/:' >/etc/passwd
echo 'nogroup:x:65534:' >/etc/group
mkdir -p /var/target/pr # the target keeps registrations there
mount -t configfs cfg /sys/kernel/config
T=/sys/kernel/config/target
D=$T/core/rd_mcp_0/disk
mkdir -p $D
echo rd_pages=1024 >$D/control
echo 1 >$D/enable
mkdir $T/loopback
for p in a b; do
  P=$T/loopback/naa.500140500000000$p/tpgt_1
  mkdir -p $P
  echo naa.600140500000000$p >$P/nexus
  mkdir $P/lun/lun_0
  ln -s $D $P/lun/lun_0/disk
  for i in $(seq 50); do [ $(ls -d /dev/sd? 2>/dev/null | wc -l) -ge $([ $p = a ] && echo 1 || echo 2) ] && break; sleep 0.1; done
done
echo disks $(cat /sys/block/sda/device/model) $(cat /sys/block/sda/size) $(cat /sys/block/sdb/size)
viv-pr-helper -d -f /tmp/pid -k /tmp/s -u nobody -g nogroup 2>&1
echo helper $(grep -E '^(Uid|Gid|Cap...):' /proc/$(cat /tmp/pid)/status)
pr() { pr-client /tmp/s "$@" 2>&1; }
writers() { for d in sda sdb; do dd if=/dev/zero of=/dev/$d bs=4k count=1 conv=notrunc oflag=direct 2>/dev/null && echo $d; done; }
flat() { tr -s '\n ' ' ' <$1; }
target() { echo "target $(flat $D/pr/res_pr_type)|$(flat $D/pr/res_holder)|$(flat $D/pr/res_pr_registered_i_pts)|$(flat $D/pr/res_pr_generation)"; }
step() { # DISK COMMAND...; $other: the other disk has a unit attention then
  d=$1; shift; echo "step $d $*"; echo "answer $(pr /dev/$d "$@")"
  [ -z "$other" ] || echo "attention $(pr /dev/$other keys)"
  target; echo "keys $(pr /dev/$d keys)"; echo "holder $(pr /dev/$d holder)"; echo "writers" $(writers); }
@STEPS@
echo none $(pr /dev/null keys)
kill $(cat /tmp/pid)
for i in $(seq 50); do [ -e /proc/$(cat /tmp/pid) ] || break; sleep 0.1; done
[ -e /proc/$(cat /tmp/pid) ] && echo complaint: the helper stays
[ -e /tmp/s ] && echo complaint: the socket stays
echo all-done
"""


def script():
    lines = []
    for disk, command, *_ in STEPS:
        other = {"sda": "sdb", "sdb": "sda"}[disk] if (disk, command) in ATTENTION else ""
        lines.append(f"other={other} step {disk} {command}")
    return GUEST.replace("@STEPS@", "\n".join(lines))


def target_state(line):
    """(registered keys, holder and type or None, generation) of configfs."""
    kind, holder, keys, generation = line.split("|")
    registered = {m[1]: int(m[2], 16) for m in re.finditer(r"Node: naa\.600140500000000(.) Key: (0x\w+)", keys)}
    who = re.search(r"Initiator: naa\.600140500000000(.)", holder)
    name = kind.replace("SPC-3 Reservation Type:", "").strip()
    return registered, (who[1], TYPES[name]) if who else None, int(generation, 16)


def check_step(g, disk, command, answer, keys, holder, writers):
    where = f"{disk} {command}"

    def line(tag):
        return g.expect(rf"^{tag}\b ?(.*?)\r?\n", 60)[1].decode().strip()

    def want(what, got, wanted):
        if got != wanted:
            g.die(f"{where}: {what} is {got}, not {wanted}")

    want("the step", line("step"), where)
    got = line("answer")
    if answer:
        want("the answer", got, answer)
    if (disk, command) in ATTENTION:
        want("the other's unit attention", line("attention"), f"{sense(6, *ATTENTION[disk, command])}, 0 bytes")
    registered, held, generation = target_state(line("target"))
    want("the target's registrations", registered, keys)
    want("the target's reservation", held, holder)
    got = line("keys").split()
    want("generation", int(got[1]), generation)
    want("the keys read", sorted(int(k, 16) for k in got[2:]), sorted(keys.values()))
    wanted = f"generation {generation}" + (f" {keys[holder[0]]:x} type {holder[1]:x}" if holder else "")
    want("the reservation read", line("holder"), wanted)
    want("who may write", line("writers"), writers)


def main():
    programs = [vm.tool("viv-pr-helper"), os.path.join(vm.BUILD, "tests/pr-client")]
    initrd = vm.initramfs(script(), modules=["configfs", "target_core_mod", "tcm_loop", "sd_mod"], programs=programs)
    args = vm.base_args("pc", "512M", 2) + ["-accel", "xlate", "-kernel", vm.kernel(), "-initrd", initrd, "-append", "console=ttyS0 panic=-1"]
    with vm.Guest(args) as g:
        g.expect(r"^disks RAMDISK-MCP 8192 8192", 300)
        status = g.expect(r"^helper (.*?)\r?\n")[1].decode()
        wanted = "Uid: 65534 65534 65534 65534 Gid: 65534 65534 65534 65534 CapInh: 0000000000000000 CapPrm: 0000000000020000 " \
                 "CapEff: 0000000000020000 CapBnd: 0000000000000000 CapAmb: 0000000000000000"
        if status != wanted:
            g.die(f"the helper runs with '{status}', not as nobody with CAP_SYS_RAWIO alone")
        for step in STEPS:
            check_step(g, *step)
        g.expect(r"^none sense 5/20/00 status 02, 0 bytes")
        g.expect(r"^all-done")
        g.wait(60)
        complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
        if complaints:
            g.die("\n".join(complaints))
    print(f"ok: {len(STEPS)} commands")


main()
