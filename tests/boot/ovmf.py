#!/usr/bin/env python3
"""UEFI firmware (Debian's OVMF) in flash chips and as a ROM: the shell on the screen, GRUB from a disk, -kernel, and variables.

Variables: one that was set is there in the next run; a process that is killed while the guest writes variables leaves a store that the
firmware goes on with. The build with SMM: variables that only a handler in SMM can write, and Secure Boot.
usage: ovmf.py [shell|screens|rom|disk|kernel|secboot|runtime|enrolled|insmm|kill]... (all)"""
import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

CODE, VARS, WHOLE = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/ovmf/OVMF.fd"
SECBOOT, ENROLLED = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
GUID = "c7d2a5b4-3f0e-4a62-9d54-7e6d3a1b9f10"
ACCEL = os.environ.get("VIV_ACCEL", "xlate")
MACHINE = os.environ.get("VIV_MACHINE", "pc")


def machine(work, *args, screen=("-vga", "std"), board=MACHINE):
    return ["-M", board, "-accel", ACCEL, "-m", "256M", "-nodefaults", "-display", "none", *screen, "-serial", "stdio",
            "-qmp", f"unix:{work}/q,server=on,wait=off", *args]


def flash(work, code=CODE, template=VARS):
    store = f"{work}/vars.fd"
    if not os.path.exists(store):
        shutil.copy(template, store)
    return ["-drive", f"if=pflash,format=raw,readonly=on,file={code}", "-drive", f"if=pflash,format=raw,file={store}"]


def secure(work, *args, template=VARS, cpus=2, **more):
    """The command line that everybody uses for Secure Boot."""
    return machine(work, "-smp", str(cpus), "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1",
                   *flash(work, SECBOOT, template), *args, board="q35,smm=on", **more)


def shell(g):
    """To the prompt: "any other key" ends the countdown."""
    g.expect("any other key to continue", 90)
    g.send("x")
    g.expect("Shell> ", 30)
    g.expect("\x1b", 5)


def say(g, line):
    for c in line + "\r":  # the firmware's serial port has no flow control
        g.send(c)
        time.sleep(0.005)


def picture(q, g, path, width=1280, height=800):
    """The shell's text is on the screen: some of it yellow, most black."""
    *size, px = q.picture(path)
    if size != [width, height]:
        g.die(f"a picture of another size: {size}")
    colours = {}
    for i in range(0, len(px), 3):
        colours[px[i:i + 3]] = colours.get(px[i:i + 3], 0) + 1
    if colours.get(b"\0\0\0", 0) < width * height * 0.9 or colours.get(b"\xff\xff\0", 0) < 100:
        g.die(f"colours on the screen: {colours}")


def test_shell(work):
    with vm.Guest(machine(work, *flash(work)), "shell") as g:
        q = vm.QMP(f"{work}/q")
        shell(g)
        picture(q, g, f"{work}/p")
        if os.environ.get("VIV_KEEP"):
            q.cmd("human-monitor-command", **{"command-line": f"screendump {os.environ['VIV_KEEP']}/ovmf.png -f png"})
        say(g, f"setvar VivKept -nv -bs -guid {GUID} =S\"persist\"")
        g.expect("Shell> ", 30)
        say(g, "reset")
        g.expect("any other key to continue", 90)
        g.send("x")
        g.expect("Shell> ", 30)
        say(g, "reset -s")
        if g.wait(60):
            g.die("power-off ends with an error")
    with vm.Guest(machine(work, *flash(work)), "shell, second run") as g:
        shell(g)
        say(g, f"setvar VivKept -guid {GUID}")
        g.expect("70 00 65 00 72 00 73 00|70 65 72 73", 30)
    print("ok: the shell on the screen, reset, power-off; a variable is there in the next run")


SCREENS = {
    "ramfb": (("-vga", "none", "-device", "ramfb"), 800, 600),
    "virtio-vga": (("-vga", "virtio"), 1280, 800),
    "virtio-gpu": (("-vga", "none", "-device", "virtio-gpu-pci"), 1280, 800),
}


def test_screens(work):
    for name, (screen, width, height) in SCREENS.items():
        with vm.Guest(machine(work, *flash(work), screen=screen), name) as g:
            q = vm.QMP(f"{work}/q")
            shell(g)
            if os.environ.get("VIV_KEEP"):
                q.cmd("screendump", filename=f"{os.environ['VIV_KEEP']}/ovmf-{name}.png", format="png")
            picture(q, g, f"{work}/p", width, height)
        print(f"ok: the shell on {name}")


def test_rom(work):
    with vm.Guest(machine(work, "-bios", WHOLE), "rom") as g:
        q = vm.QMP(f"{work}/q")
        shell(g)
        picture(q, g, f"{work}/p")
    print("ok: the shell with -bios")


INIT = "test -d /sys/firmware/efi && echo UEFI-$((20 + 2)); grep -o viv=[a-z]* /proc/cmdline"


def test_disk(work):
    kernel, initrd = vm.kernel(), vm.initramfs(INIT)
    for path, name in ((kernel, "vmlinuz"), (initrd, "initrd")):
        shutil.copy(path, f"{work}/{name}")
    with open(f"{work}/cfg", "w") as f:
        f.write("serial --unit=0\nterminal_output serial\necho GRUB-HERE\nset root=(hd0,msdos1)\n"
                "linux /vmlinuz console=ttyS0 panic=-1 viv=disk\ninitrd /initrd\nboot\n")
    vm.run_tool(["tests/boot/efi_disk.sh", f"{work}/disk", f"{work}/cfg", f"{work}/vmlinuz", f"{work}/initrd"])
    with vm.Guest(machine(work, *flash(work), "-drive", f"file={work}/disk,format=raw,if=virtio", "-no-reboot"), "disk") as g:
        g.expect("GRUB-HERE", 90)
        g.expect("UEFI-22", 120)
        g.expect("viv=disk", 10)
        g.wait(60)
    print("ok: GRUB and Linux from a virtio disk's EFI partition")


def test_kernel(work):
    init = INIT + "; cat /sys/firmware/qemu_fw_cfg/by_name/opt/viv/raw; echo"
    with vm.Guest(machine(work, *flash(work), "-no-reboot", "-kernel", vm.kernel(), "-initrd",
                          vm.initramfs(init, modules=vm.VIRTIO + ["qemu_fw_cfg"]), "-append", "console=ttyS0 panic=-1 viv=fwcfg",
                          "-fw_cfg", "opt/viv,string=item-of-mine"), "kernel") as g:
        g.expect("UEFI-22", 150)
        g.expect("viv=fwcfg", 10)
        g.expect("item-of-mine", 10)
        if g.wait(60) or b"reboot: Power down" not in g.log:
            g.die("no power-off")
    print("ok: -kernel through the firmware")


def test_secboot(work):
    """Each run is a machine of its own on the same variables; the first ones with one CPU, the last with two."""
    for n, cpus in enumerate((1, 2)):
        with vm.Guest(secure(work, cpus=cpus), f"secboot, {cpus} CPUs") as g:
            shell(g)
            if n:
                say(g, f"setvar VivKept -guid {GUID}")
                g.expect("70 00 65 00 72 00 73 00|70 65 72 73", 30)
            say(g, f"setvar VivKept -nv -bs -guid {GUID} =S\"persist\"")
            g.expect("Shell> ", 30)
            for command in ("mm f800000 -w 4 -n", "mm f800000 12345678 -w 4 -n", "mm f800000 -w 4 -n"):  # in the last 16 MiB of RAM: TSEG
                say(g, command)
                g.expect("Shell> " if "1234" in command else "0x0*F800000 : 0xFFFFFFFF", 30)
            say(g, "reset -s")
            if g.wait(60):
                g.die("power-off ends with an error")
    print("ok: the build with SMM; variables by its handler, 1 and 2 CPUs")


def test_runtime(work):
    """Linux with two CPUs has the handler write a variable; the firmware's shell finds it."""
    init = ("mkdir -p /tmp/v; mount -t efivarfs efivarfs /tmp/v || echo no-efivarfs; cd /tmp/v; n=10; "  # one file each: they cannot be written twice
            f"while [ $n -lt 30 ]; do printf '\\007\\000\\000\\000kept%d' $n > VivRun$n-{GUID} || echo write-failed; n=$((n + 1)); done; "
            f"echo linux-reads $(dd if=VivRun29-{GUID} bs=4 skip=1 2>/dev/null)")
    with vm.Guest(secure(work, "-no-reboot", "-kernel", vm.kernel(), "-initrd", vm.initramfs(init, modules=["efivarfs"]), "-append",
                         "console=ttyS0 panic=-1"), "runtime") as g:
        g.expect("linux-reads kept29", 200)
        g.wait(60)
    with vm.Guest(secure(work), "after Linux") as g:
        shell(g)
        say(g, f"setvar VivRun29 -guid {GUID}")
        g.expect("6B 65 70 74 32 39", 30)
    print("ok: variables written by Linux through SMM")


def test_enrolled(work):
    """With Microsoft's keys: a loader that nobody has signed does not run."""
    with open(f"{work}/cfg", "w") as f:
        f.write("serial --unit=0\nterminal_output serial\necho GRUB-HERE\n")
    vm.run_tool(["tests/boot/efi_disk.sh", f"{work}/disk", f"{work}/cfg"])
    disk = ["-drive", f"file={work}/disk,format=raw,if=virtio"]
    with vm.Guest(secure(work, *disk, template=ENROLLED), "enrolled") as g:
        if b"GRUB" in g.expect("Access Denied|Security Violation|GRUB-HERE", 120).group():
            g.die("an unsigned loader ran under Secure Boot")
    os.remove(f"{work}/vars.fd")
    with vm.Guest(secure(work, *disk), "not enrolled") as g:
        g.expect("GRUB-HERE", 120)
    print("ok: Secure Boot refuses an unsigned loader")


def writer(work):
    """A disk with a script that begins as the shell does and writes variables without an end, so that the store is cleaned up again and again."""
    with open(f"{work}/startup.nsh", "w") as f:
        f.write("@echo -off\nsetvar VivCount -guid %s\necho ROUND-BEGINS\nfor %%i run (1 100000)\n" % GUID)
        for k in range(3):
            f.write(f"setvar VivFill{k} -nv -bs -guid {GUID} =S\"%i{'x' * 700}\"\nsetvar VivFill{k} -nv -bs -guid {GUID} =\n")
        f.write("echo AGAIN %i\nendfor\n")
    vm.run_tool(["tests/boot/efi_disk.sh", f"{work}/disk", "-", f"{work}/startup.nsh"])
    return ["-drive", f"file={work}/disk,format=raw,if=virtio,readonly=on"]


def in_smm(q, cpus):
    return [n for n in range(cpus) if "SMM=1" in q.cmd("human-monitor-command", **{"cpu-index": n, "command-line": "info registers"})]


def test_insmm(work, cpus=2, most=400):
    """Saved while a handler runs, SMRAM closed and locked; loaded, saved again, and run on."""
    disk = writer(work)
    with vm.Guest(secure(work, *disk, cpus=cpus), "source") as g:
        q = vm.QMP(f"{work}/q")
        g.expect("any other key to continue", 90)
        g.send("x")
        g.expect("AGAIN", 60)
        for n in range(most):
            q.cmd("stop")
            if inside := in_smm(q, cpus):
                break
            q.cmd("cont")
            time.sleep(0.001 + 0.0007 * (n % 13))
        else:
            g.die("no CPU was in SMM at any of the moments")
        q.save(g, f"{work}/state")
    with vm.Guest(secure(work, *disk, "-incoming", f"file:{work}/state", "-S", cpus=cpus), "copy") as g:
        q = vm.QMP(f"{work}/q")
        if in_smm(q, cpus) != inside:
            g.die(f"{inside} were in SMM, {in_smm(q, cpus)} are")
        q.save(g, f"{work}/again")
        if open(f"{work}/state", "rb").read() != open(f"{work}/again", "rb").read():
            g.die("saved again, the state differs")
        q.cmd("cont")
        g.expect("AGAIN", 60)
        g.expect("AGAIN", 60)
    print(f"ok: CPU {inside} of {cpus} saved in SMM, loaded, and the handler returned (look {n + 1})")


def test_kill(work, rounds=int(os.environ.get("VIV_KILLS", "3"))):
    disk = writer(work)
    with vm.Guest(machine(work, *flash(work)), "before kills") as g:
        shell(g)
        say(g, f"setvar VivCount -nv -bs -guid {GUID} =S\"persist\"")
        g.expect("Shell> ", 30)
    seed = int(os.environ.get("VIV_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    for n in range(rounds):
        with vm.Guest(machine(work, *flash(work), *disk), f"kill {n}, seed {seed}") as g:
            g.expect("any other key to continue", 90)
            g.send("x")
            g.expect("70 00 65 00 72 00 73 00|70 65 72 73", 30)
            g.expect("ROUND-BEGINS", 30)
            before = open(f"{work}/vars.fd", "rb").read()
            time.sleep((0.5 + 3 * rng.random()) * vm.SLOW)
            g.p.send_signal(signal.SIGKILL)
            g.p.wait()
        if open(f"{work}/vars.fd", "rb").read() == before:
            vm.fail("the guest wrote no variables before it was killed")
    with vm.Guest(machine(work, *flash(work)), f"after kills, seed {seed}") as g:
        shell(g)
        say(g, f"setvar VivCount -guid {GUID}")
        g.expect("70 00 65 00 72 00 73 00|70 65 72 73", 30)
    print(f"ok: {rounds} kills while variables were written (seed {seed})")


def main():
    tests = {n[5:]: f for n, f in globals().items() if n.startswith("test_")}
    for path in (CODE, VARS, WHOLE):
        if not os.path.exists(path):
            vm.skip("needs Debian's ovmf")
    for name in sys.argv[1:] or list(tests):
        start = time.monotonic()
        tests[name](vm.scratch())
        print(f"   {time.monotonic() - start:.1f} s")


main()
