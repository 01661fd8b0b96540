#!/usr/bin/env python3
"""A guest that resets itself all the time, by port CF9h or by a triple fault, saved at odd moments.

A reset that was asked for just before the stop belongs to the saved state: each loaded copy must reset and go on. Which events a guest's
end makes, and a reset by the monitor. What -d int,cpu_reset says on the way to a triple fault."""
import json
import os
import random
import re
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

PRINT = b"\x66\xba\xf8\x03\xb0R\xee"  # mov $0x3f8,%dx; mov $'R',%al; out %al,%dx
STOP = b"\xf4\xeb\xfd"                # hlt for ever
WAYS = {
    "port CF9h": PRINT + b"\x66\xba\xf9\x0c\xb0\x02\xee\xb0\x06\xee" + STOP,
    "triple fault": PRINT + b"\x0f\x01\x1d" + struct.pack("<I", multiboot.CODE + 64) + b"\xcc" + STOP,  # lidt of zeros; int3
}
POINTS = 12


def run(work, name, code):
    rng = random.Random(5)
    image = multiboot.kernel(work, code.ljust(96, b"\0"), name.replace(" ", "-"))

    def args(qmp):
        return ["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", image,
                "-qmp", f"unix:{qmp},server=on,wait=off"]

    with vm.Guest(args(f"{work}/q1"), name) as g:
        q = vm.QMP(f"{work}/q1")
        g.expect("RRRR", 20)
        for i in range(POINTS):
            time.sleep(rng.uniform(0, 0.02))
            q.cmd("migrate", uri=f"file:{work}/state")
            if q.cmd("query-migrate")["status"] != "completed":
                g.die("migrate failed")
            with vm.Guest(args(f"{work}/q2") + ["-incoming", f"file:{work}/state"], f"{name}, copy {i}") as copy:
                copy.expect("RRRR", 20)
            q.cmd("cont")
            g.seen = len(g.log)
            g.expect("RRRR", 20)
    print(f"ok: {POINTS} copies of a guest that resets by {name}")


POWER_OFF = b"\x66\xba\x04\x06\x66\xb8\x00\x20\x66\xef" + STOP  # mov $0x604,%dx; mov $0x2000,%ax; out %ax,%dx


def ends(work, what, code, words, commands, want):
    """`want`: the events, and the status in the end (None: it is gone)."""
    image = multiboot.kernel(work, code.ljust(96, b"\0"), what.replace(" ", "-"))
    with vm.Guest(["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", image, "-S", "-qmp",
                   f"unix:{work}/q3,server=on,wait=off", *words], what) as g:
        q = vm.QMP(f"{work}/q3")
        try:
            for c in commands:
                q.cmd(c[0], **c[1]) if isinstance(c, tuple) else q.cmd(c)
            end = time.monotonic() + 10 * vm.SLOW
            while q.cmd("query-status")["status"] != want[-1] and time.monotonic() < end:
                time.sleep(0.01)
            status = q.cmd("query-status")["status"]
        except (EOFError, OSError):
            status = None
            q.events += [e for e in map(json.loads, q.f) if "event" in e]
            if g.wait(20):
                g.die("status is not 0")
    seen = [(e["event"], e.get("data", {}).get("reason")) for e in q.events]
    if seen != want[0] or status != want[1]:
        vm.fail(f"{what}: {seen}, {status}, not {want}")


def all_ends(work):
    off, by_guest = ("SHUTDOWN", "guest-shutdown"), ("SHUTDOWN", "guest-reset")
    told, stop, go = ("SHUTDOWN", "host-qmp-system-reset"), ("STOP", None), ("RESUME", None)
    reset = WAYS["port CF9h"]
    for what, code, words, commands, want in [
            ("power off", POWER_OFF, [], ["cont"], ([go, off], None)),
            ("power off kept", POWER_OFF, ["-no-shutdown"], ["cont"], ([go, off, stop], "shutdown")),
            ("reset kept", reset, ["-no-shutdown", "-no-reboot"], ["cont"], ([go, by_guest, stop], "shutdown")),
            ("told to reset", STOP, [], ["cont", "system_reset"], ([go, ("RESET", "host-qmp-system-reset")], "running")),
            ("told, no reboot", STOP, ["-no-reboot"], ["cont", "system_reset"], ([go, told], None)),
            ("told, no reboot, kept", STOP, ["-action", "reboot=shutdown,shutdown=pause"], ["cont", "system_reset"],
             ([go, told, stop], "shutdown")),
            ("kept from now on", POWER_OFF, [], [("set-action", {"shutdown": "pause"}), "cont"], ([go, off, stop], "shutdown")),
            ("no more kept", POWER_OFF, ["-no-shutdown"], [("set-action", {"shutdown": "poweroff", "reboot": "reset"}), "cont"], ([go, off], None)),
            ("no reboot from now on", STOP, [], [("set-action", {"reboot": "shutdown"}), "cont", "system_reset"], ([go, told], None))]:
        ends(work, what, code, words, commands, want)
    print("ok: the events of all ends")


def logged(work):
    """Each event comes with the registers, as people who write kernels read them; the engines agree."""
    code = b"\xb8\x78\x56\x34\x12" + WAYS["triple fault"][7:]
    image = multiboot.kernel(work, code.ljust(96, b"\0"), "logged")
    texts = []
    for accel in ("xlate", "interp"):
        log = f"{work}/log-{accel}"
        with vm.Guest(["-accel", accel, "-m", "16M", "-nodefaults", "-display", "none", "-kernel", image, "-no-reboot", "-d", "int,cpu_reset", "-D",
                       log], accel) as g:
            g.wait(30)
        with open(log) as f:
            texts.append(f.read())
    at = multiboot.CODE + 12  # int3
    parts = re.split(r"^(?=int: |cpu_reset: )", texts[0], flags=re.M)[1:]
    heads = [rf"int: cpu0: v=03 e=0000 i=1 cpl=0 IP=0008:{at:016x} ", r"int: cpu0: v=0d e=001a i=0 ", r"int: cpu0: v=08 e=0000 i=0 ",
             rf"cpu_reset: cpu0: Triple fault at 0008:{at:x}"]
    wants = ["EAX=12345678 EBX=00009500 ECX=00000000 EDX=", f"EIP={at:08x} EFL=00000002 [-------] CPL=0 ",
             "CS =0008 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]", "DS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]",
             "GDT=     00000600 0000001f", "IDT=     00000000 00000000", "CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000",
             "EFER=0000000000000000"]
    for part, head in zip(parts, heads, strict=True):
        lacking = [w for w in wants if "\n" + w not in part]
        if not re.match(head, part) or lacking:
            vm.fail(f"not '{head}', or without {lacking}:\n{part}")
    if texts[0] != texts[1]:
        vm.fail(f"another log by the interpreter:\n{texts[1]}")
    print("ok: -d int,cpu_reset has the registers")


def main():
    work = vm.scratch()
    all_ends(work)
    logged(work)
    for name, code in WAYS.items():
        run(work, name, code)


main()
