"""A small machine that is there for its monitor, ours or QEMU's, and what both say to the same commands."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import vm  # noqa: E402


class Machine:
    """pc with 16 MiB, no devices but those of `words`, no screen; stands still unless `paused` is false. q: its QMP, work: a folder of
    its own, or the one given."""
    count = 0

    def __init__(self, emulator, *words, paused=True, work=None, **popen):
        Machine.count += 1
        self.work = work or vm.scratch()
        path = f"{self.work}/q{Machine.count}"
        self.p = subprocess.Popen([*emulator, "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{path},server=on,wait=off",
                                   *["-S"][:paused], *words], **{"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **popen})
        self.q = vm.QMP(path)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()

    def end(self):
        self.p.kill()
        self.p.wait()

    def hmp(self, line):
        return self.q.cmd("human-monitor-command", **{"command-line": line}).replace("\r", "")

    def refused(self, name, **args):
        """The error's text."""
        try:
            self.q.cmd(name, **args)
        except RuntimeError as e:
            return str(e)
        vm.fail(f"{name} {args}: not refused")


def hmp(line):
    """As a step."""
    return "human-monitor-command", {"command-line": line}


def error_class(e):
    return re.search(r"'class': '(\w+)'", str(e)).group(1)


def same_answers(kind, steps):
    """Each step (command, arguments) by kind(emulator).do(), then beside QEMU's."""
    with kind(vm.emulator()) as m:
        mine = [m.do(*s) for s in steps]
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    with kind(["qemu-system-x86_64"]) as m:
        theirs = [m.do(*s) for s in steps]
    for step, a, b in zip(steps, mine, theirs):
        if a != b:
            vm.fail(f"{step}: {a}; QEMU: {b}")
    print(f"ok: {len(steps)} commands answered as QEMU does")
