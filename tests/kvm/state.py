#!/usr/bin/env python3
"""What the kernel holds of a guest's state under KVM, when the guest is stopped at any moment: state.py [rmw|tsc|msrs|x2apic|init|nmi]... (all)

rmw: an instruction that reads a device's register and then writes it comes out of the kernel twice; a stop between the two must not
lose the second. tsc: the time stamp counter goes on, in this process and in one that loads the state, and never back.
msrs: those of asynchronous page faults and of polling, which only KVM has. x2apic: a CPU that was in x2APIC mode starts again after a reset.
init, nmi: what one CPU sends another while they stop or start arrives."""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

# mov $0xfed000f0,%ebx; xor %eax,%eax; 1: incl (%ebx); inc %eax; cmp %eax,(%ebx); je 1b; incl 0x200000; mov (%ebx),%eax; jmp 1b
# (the counter of an HPET that stands still can be written)
RMW = bytes.fromhex("bbf000d0fe31c0ff0340390374f9ff05000020008b03ebef")
# mov $0x200000,%ebx; 1: rdtsc; if it is below the last (0 and 4): incl 8; keep it; incl 12; jmp 1b
TSC = bytes.fromhex("bb000020000f313b5304720677073b037303ff43088903895304ff430cebe6")
# mov $0x4b564d06,%ecx; mov $0xf3,%eax; xor %edx,%edx; wrmsr; dec %ecx; xor %eax,%eax; wrmsr
# 1: mov $0x4b564d06,%ecx; rdmsr; mov %eax,0x200000; dec %ecx; rdmsr; mov %eax,0x200004; incl 0x200008; jmp 1b
MSRS = bytes.fromhex("b9064d564bb8f300000031d20f304931c00f30b9064d564b0f32a300002000490f32a304002000ff0508002000ebe4")
# The first CPU starts the second (INIT, SIPI for 8000h), which goes into x2APIC mode and counts at 9000h:
# copy 2f to 0x8000; mov $0xfee00000,%ebx; movl $0x01000000,0x310(%ebx); movl $0x4500,0x300(%ebx); wait; movl $0x01000000,0x310(%ebx);
# movl $0x4608,0x300(%ebx); 1: jmp 1b; 2: mov $0x1b,%ecx; rdmsr; or $0xc00,%ax; wrmsr; xor %ax,%ax; mov %ax,%ds; incw 0x9000; 1: hlt; jmp 1b
X2APIC = bytes.fromhex("be67001000bf00800000b940000000f3a4bb0000e0fec7831003000000000001c7830003000000450000b940420f00e2fec7831003000000000001c7830003000008460000ebfe66b91b0000000f320d000c0f3031c08ed8ff060090f4ebfd")

# The first CPU sends the second one INIT and a start-up IPI, and again when that has counted at 9000h; rounds are counted at 9008h:
# copy 2f to 0x8000; mov $0xfee00000,%ebx; movl $0x01000000,0x310(%ebx); 4: incl 0x9008; wait; mov 0x9000,%eax; movl $0x4500,0x300(%ebx); wait;
# movl $0x4608,0x300(%ebx); 1: cmp %eax,0x9000; je 1b; jmp 4b; 2: xor %ax,%ax; mov %ax,%ds; incl 0x9000; 1: jmp 1b
INIT = bytes.fromhex("be77001000bf00800000b93c000000f3a4bb0000e0fec7831003000000000001ff0508900000b920000000e2fea100900000c7830003000000450000b920000000e2fec783000300000846000039050090000074f8ebc931c08ed866ff060090ebfe")
# The same with NMIs, for which the second CPU has a handler that counts at 9004h:
# copy 2f to 0x8000; movl $0x8000+3f-2f,8; start the second CPU; 1: cmpw $0,0x9000; je 1b; 4: incl 0x9008; wait; mov 0x9004,%eax; movl $0x4400,0x300(%ebx)
# 1: cmp %eax,0x9004; je 1b; jmp 4b; 2: xor %ax,%ax; mov %ax,%ds; mov %ax,%ss; mov $0x7000,%sp; incw 0x9000; 1: jmp 1b; 3: incl 0x9004; iretw
NMI = bytes.fromhex("be9f001000bf00800000b93c000000f3a4c705080000000f800000bb0000e0fec7831003000000000001c7830003000000450000b940420f00e2fec7831003000000000001c783000300000846000066833d009000000074f6ff0508900000b920000000e2fea104900000c783000300000044000039050490000074f8ebda31c08ed88ed0bc0070ff060090ebfe66ff060490cf")


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def words(q, at, count):
    return [int(w, 16) for line in hmp(q, f"xp /{count}wx {at:#x}").splitlines() for w in line.split(":")[1].split()]


def guest(work, code, *args):
    return ["-M", "pc", "-m", "16M", "-accel", "kvm", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel",
            multiboot.kernel(work, code), "-qmp", f"unix:{work}/q,server=on,wait=off", *args]


def test_rmw(work, rounds=150):
    rng = random.Random(5)
    with vm.Guest(guest(work, RMW), "rmw") as g:
        q = vm.QMP(f"{work}/q")
        last = 0
        for n in range(rounds):
            time.sleep(0.002 + rng.random() * 0.01)
            q.cmd("stop")
            done = int(re.search(r"[ER]AX=([0-9a-f]+)", hmp(q, "info registers")).group(1), 16)
            lost = words(q, 0x200000, 1)[0]
            if lost:
                g.die(f"by stop {n} {lost} increments of {done} are lost")
            last = done
            q.cmd("cont")
        if last < rounds:
            g.die(f"only {last} increments")
    print(f"ok: {last} increments of a register, none lost by {rounds} stops")


def test_tsc(work):
    args, before = guest(work, TSC), 0
    for part in range(3):
        with vm.Guest(args, f"tsc, process {part}") as g:
            q = vm.QMP(f"{work}/q")
            for _ in range(3):
                time.sleep(0.5 * vm.SLOW)
                q.cmd("stop")
                low, high, back, count = words(q, 0x200000, 4)
                if back:
                    g.die(f"it went back {back} times, the last time to {high:x}{low:08x}, {before:x} at the last save")
                if not count:
                    g.die("the guest does not run")
                q.cmd("cont")
            q.save(g, f"{work}/state")
            low, high, back, count = words(q, 0x200000, 4)
            now = high << 32 | low
            # It counts guest time, of which so much has gone by since the last save.
            if part and now - before > (4 + 3 * vm.SLOW) * 6e9:
                g.die(f"it leapt from {before:x} to {now:x}")
            before = now
        args = guest(work, TSC, "-incoming", f"file:{work}/state")
    print("ok: the time stamp counter goes on in other processes")


def test_msrs(work):
    count, args = 0, guest(work, MSRS)
    for part in range(2):
        with vm.Guest(args, f"msrs, process {part}") as g:
            q = vm.QMP(f"{work}/q")
            end = time.monotonic() + 20 * vm.SLOW
            while (got := words(q, 0x200000, 3))[2] < count + 10:
                if time.monotonic() > end:
                    g.die(f"the guest does not run: {got}")
                time.sleep(0.1)
            if got[:2] != [0xf3, 0]:
                g.die(f"the vector is {got[0]:#x}, polling {got[1]}")
            q.save(g, f"{work}/state")
            count = words(q, 0x200000, 3)[2]
        args = guest(work, MSRS, "-incoming", f"file:{work}/state")
    print("ok: KVM's own registers")


def test_x2apic(work, resets=3):
    with vm.Guest(guest(work, X2APIC, "-smp", "2", "-cpu", "max"), "x2apic") as g:
        q = vm.QMP(f"{work}/q")
        for n in range(resets + 1):
            end = time.monotonic() + 10 * vm.SLOW
            while words(q, 0x9000, 1)[0] & 0xffff != n + 1:
                if time.monotonic() > end:
                    g.die(f"the second CPU does not start after {n} resets: {words(q, 0x9000, 1)}")
                time.sleep(0.05)
            time.sleep(0.05)  # it has not yet halted
            q.cmd("system_reset")
    print(f"ok: {resets} resets of a CPU in x2APIC mode")


def more_rounds(q, last):
    """How many there are when there are more; the same number when none comes."""
    end = time.monotonic() + 10 * vm.SLOW
    while (now := words(q, 0x9008, 1)[0]) <= last and time.monotonic() < end:
        time.sleep(0.002)
    return now


def ipis(work, name, code, stops=100):
    rng = random.Random(5)
    with vm.Guest(guest(work, code, "-smp", "2"), name) as g:
        q = vm.QMP(f"{work}/q")
        last = 0
        for n in range(stops):
            now = more_rounds(q, last)
            if now == last:
                g.die(f"an IPI is lost by stop {n}, after {last}")
            time.sleep(rng.random() * 0.005)
            q.cmd("stop")
            last = words(q, 0x9008, 1)[0]
            q.cmd("cont")
    print(f"ok: {last} of {name}, none lost by {stops} stops")


def test_init(work):
    ipis(work, "init", INIT)


def test_nmi(work):
    with vm.Guest(guest(work, NMI, "-smp", "2"), "nmi") as g:
        q = vm.QMP(f"{work}/q")
        last = 0
        for _ in range(20):
            now = more_rounds(q, last)
            if now == last:
                print(f"not tested: this host's KVM loses NMIs by itself, after {last}")
                return
            last = now
    ipis(work, "nmi", NMI)


def main():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        vm.skip("no /dev/kvm")
    tests = {n[5:]: f for n, f in globals().items() if n.startswith("test_")}
    for name in sys.argv[1:] or tests:
        tests[name](vm.scratch())


main()
