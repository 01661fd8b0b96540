#!/usr/bin/env python3
"""The translator where the kernel allows less: under Docker's default system call filter, under a service manager's rules
about memory, and where no code can be made at all, which the interpreter then has to say and do."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

CONFINE = os.path.join(vm.TOP, "tests/lib/confine.py")
NOTES = []


class Refused(Exception):
    """This kernel does not have the rule to be tested."""


def run(kernel, profile, args):
    """Boots the payload; returns what was said on stderr."""
    cmd = [CONFINE, profile] if profile else []
    cmd += vm.emulator() + args + ["-m", "32", "-nodefaults", "-display", "none", "-serial", "stdio", "-device",
                                   "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, "-append", "a b"]
    p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=60 * vm.SLOW)
    if p.returncode == 77:
        raise Refused(p.stderr.strip())
    if p.returncode != 1 or p.stdout.strip() != f"hello, {kernel} a b":
        vm.fail(f"{profile}, {args}: status {p.returncode}, output '{p.stdout}'\n{p.stderr}")
    return p.stderr


def want(what, text, parts, absent=()):
    if len(text.splitlines()) > len(parts) or any(p not in text for p in parts) or any(a in text for a in absent):
        vm.fail(f"{what} said '{text}', wanted lines with {list(parts)}, not {list(absent)}")


def on_xlate(kernel, profile):
    want(profile, run(kernel, profile, ["-accel", "xlate"]), [])
    want(profile, run(kernel, profile, ["-accel", "xlate,tb-size=1"]), [])


def on_interp(kernel, profile):
    why = "-accel xlate: the host refuses"
    want(profile, run(kernel, profile, ["-accel", "xlate"]), [why], ["options"])
    want(profile, run(kernel, profile, ["-accel", "xlate"]), ["running on interp instead, which is slower"])
    want(profile, run(kernel, profile, ["-accel", "xlate,tb-size=8"]), ["and without the options given"])
    want(profile, run(kernel, profile, ["-accel", "tcg"]), ["-accel tcg: that is", why])
    want(profile, run(kernel, profile, ["-accel", "interp"]), [])
    doctor = subprocess.run([CONFINE, profile, vm.tool("viv"), "doctor", "--json"], stdout=subprocess.PIPE, check=True)
    chosen = json.loads(doctor.stdout)["accelerator"]
    said = run(kernel, profile, [])
    if chosen != "kvm":
        want(f"{profile}: viv doctor", chosen, ["interp"])
        want(profile, said, ["not using xlate: the host refuses"])
        want(profile, said, ["running on the software CPU (interp)"])


def main():
    vm.need("gcc")
    kernel = os.path.join(vm.scratch(), "hello.elf")
    subprocess.run([os.path.join(vm.TOP, "tests/boot/build-payload"), os.path.join(vm.TOP, "tests/boot/hello.S"), kernel],
                   check=True)
    for profile, check in [(None, on_xlate), ("docker", on_xlate), ("mdwe", on_xlate), ("noexec", on_interp)]:
        try:
            check(kernel, profile)
        except Refused as e:
            NOTES.append(f"{profile}: {e}")
    for n in NOTES:
        print(n)
    print("PASS")


main()
