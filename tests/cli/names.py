#!/usr/bin/env python3
"""Under QEMU's names the programs say what scripts look for: the version's first line, the monitor's prompt and nothing behind it, the name before an error."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

NAMES = {"qemu-system-x86_64": "viv-vm", "kvm": "viv-vm", "qemu-img": "viv-img", "qemu-nbd": "viv-nbd", "qemu-io": "viv-io",
         "qemu-storage-daemon": "viv-storaged"}


def link(folder, name):
    os.symlink(vm.tool(NAMES[name]), f"{folder}/{name}")
    return f"{folder}/{name}"


def first_line(program, *words):
    p = subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * vm.SLOW)
    return p.stdout.splitlines()[0]


def form(line):
    """Without what is each build's own."""
    return re.sub(r" 7\.2\.\d+ \(.*\)$", " 7.2.N (...)", line)


def prompt(program, work):
    """The bytes of a monitor on a socket before anything is typed, and after an empty line."""
    path = f"{work}/m{os.path.basename(program)}"
    p = subprocess.Popen([program, "-S", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-monitor", f"unix:{path},server=on,wait=off"],
                         stderr=subprocess.DEVNULL)
    with vm.connect(path, f"monitor of {program}", 30 * vm.SLOW) as s:
        s.settimeout(10 * vm.SLOW)
        said = b""
        try:
            while not said.endswith(b") "):
                said += s.recv(1000)
            s.sendall(b"\n")
            more = b""
            while not more.endswith(b") "):
                more += s.recv(1000)
        except TimeoutError:
            vm.fail(f"{program}: {said!r}")
    p.kill()
    p.wait()
    return said.splitlines()[-1], more.splitlines()[-1]


def main():
    work = vm.scratch()
    for name, own in NAMES.items():
        program = link(work, name)
        said = first_line(program, "--version")
        if own == "viv-vm":
            want = "QEMU emulator version 7.2.N (...)"
        else:
            want = f"{name} {'' if name == 'qemu-nbd' else 'version '}7.2.N (...)"
        if form(said) != want:
            vm.fail(f"{name} --version: {said}")
        peer = f"/usr/bin/{name}"
        if name != "kvm" and os.path.exists(peer) and form(first_line(peer, "--version")).replace(peer, name) != want:
            vm.fail(f"QEMU's {name} says {first_line(peer, '--version')}")
        if own not in (said := first_line(vm.tool(own), "--version")):
            vm.fail(f"{own} --version: {said}")
    for program, want in (f"{work}/qemu-system-x86_64", b"(qemu) "), (vm.tool("viv-vm"), b"(viv) "):
        if (said := prompt(program, work)) != (want, want):
            vm.fail(f"{program}: the prompt is {said}")
    said = first_line(f"{work}/qemu-img", "info", f"{work}/none")
    if not said.startswith("qemu-img: "):
        vm.fail(f"qemu-img: {said}")
    print("ok: versions, prompts and names")


if __name__ == "__main__":
    main()
