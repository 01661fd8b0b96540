#!/usr/bin/env python3
"""-device i6300esb: its registers and stages of time, by the qtest protocol and beside QEMU's; what happens when it runs out, by every
way of saying so; a saved machine's goes on."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

failures = []
BAR = 0xfe000000
PRELOAD1, PRELOAD2, STATUS, RELOAD = BAR, BAR + 4, BAR + 8, BAR + 12
STAGE_NS = 512 * 32768 * 30  # what Linux's driver asks for with a heartbeat of one second


def check(what, ok, got=""):
    if not ok:
        failures.append(what)
        print(f"{what}: {str(got)[:500]}")


class Machine:
    def __init__(self, program, *args, accel="qtest"):
        self.work = vm.scratch()
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.work + "/t")
            s.listen(1)
            s.settimeout(20 * vm.SLOW)
            self.p = subprocess.Popen([*program, "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-accel", accel, "-device", "i6300esb,addr=5",
                                       "-qtest", f"unix:{self.work}/t", "-qtest-log", "/dev/null", "-qmp", f"unix:{self.work}/q,server=on,wait=off", *args],
                                      stderr=subprocess.PIPE, text=True)
            self.conn = s.accept()[0]
        self.conn.settimeout(20 * vm.SLOW)
        self.file = self.conn.makefile("rw")
        self.q = vm.QMP(self.work + "/q")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.p.kill()
        self.p.wait()

    def ask(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        got = self.file.readline().split()
        if got[:1] != ["OK"]:
            vm.fail(f"{line}: {got}")
        return int(got[1], 0) if len(got) > 1 else None

    def config(self, reg, value=None, size="l"):
        """Reads it, or writes it first."""
        self.ask(f"outl 0xcf8 {0x80002800 | reg & ~3:#x}")
        if value is not None:
            self.ask(f"out{size} {0xcfc + (reg & 3):#x} {value:#x}")
        return self.ask(f"in{size} {0xcfc + (reg & 3):#x}")

    def place(self):
        self.config(0x10, BAR)
        self.config(4, 2, "w")

    def read(self, reg, size="l"):
        return self.ask(f"read{size} {reg:#x}")

    def write(self, reg, value, size="l"):
        self.ask(f"write{size} {reg:#x} {value:#x}")

    def unlocked(self, reg, value, size="l"):
        self.write(RELOAD, 0x80, "w")
        self.write(RELOAD, 0x86, "w")
        self.write(reg, value, size)

    def start(self, ticks=512, config=3, lock=2):
        """As Linux's driver does it: no interrupt, both stages the same."""
        self.place()
        self.config(0x60, config, "w")
        self.unlocked(PRELOAD1, ticks)
        self.unlocked(PRELOAD2, ticks)
        self.unlocked(RELOAD, 0x100, "w")
        self.config(0x68, lock, "b")

    def step(self, ns):
        self.ask(f"clock_step {ns}")

    def events(self, until=None):
        """Names, since the last call; waits for that one."""
        end = time.time() + 10 * vm.SLOW
        while True:
            self.q.cmd("query-name")
            if until is None or any(e["event"] == until for e in self.q.events) or time.time() > end:
                break
            time.sleep(0.02)
        got, self.q.events = self.q.events, []
        return [(e["event"], e.get("data", {}).get("action")) for e in got]


def registers(program, accel, *args):
    """What the guest sees of it."""
    with Machine(program, *args, accel=accel) as m:
        m.place()
        seen = [m.config(0), m.config(8), m.config(0x60, size="w"), m.config(0x68, size="b")]
        seen.append([m.config(0x60, v, "w") for v in (0x24, 0x20, 0x00)])
        m.write(PRELOAD1, 5)  # locked
        m.unlocked(PRELOAD1, 0xabc12345)
        m.write(PRELOAD1, 6)  # locked again
        m.write(RELOAD, 0x86, "w")
        m.write(PRELOAD2, 7)  # half of it is not enough
        seen += [m.read(STATUS), m.read(RELOAD, "w")]
        m.config(0x68, 3, "b")
        seen.append(m.config(0x68, size="b") & 3)
        return seen


def same():
    mine = registers(vm.emulator(), "qtest")
    check("ids", mine[:4] == [0x25ab8086, 0x08800000, 0, 0], mine)
    check("registers", mine[4:] == [[0x24, 0x20, 0], 0, 0, 3], mine)
    qemu = shutil.which("qemu-system-x86_64")
    if qemu:
        check("as QEMU's", registers([qemu], "tcg", "-S") == mine, mine)
    for program in [vm.emulator()] + ([[qemu]] if qemu else []):  # in time that goes by itself: 2 x 0.2 s
        with Machine(program, "-action", "watchdog=pause", accel="tcg") as m:
            time.sleep(1)  # the firmware has placed what there is
            m.start(ticks=204)
            check(f"{program}: stops", m.events("STOP") == [("WATCHDOG", "pause"), ("STOP", None)])
            check(f"{program}: state", m.q.cmd("query-status")["status"] == "watchdog")
            m.q.cmd("system_reset")
            m.place()
            check(f"{program}: after the reset", m.config(0x68, size="b") == 0 and m.read(RELOAD, "w") & 0x200)


def preloads():
    """Ours reads them back, QEMU's does not; 20 bits of each count."""
    with Machine(vm.emulator()) as m:
        m.place()
        check("as made", m.read(PRELOAD1) == m.read(PRELOAD2) == 0xfffff)
        m.write(PRELOAD1, 5)
        m.unlocked(PRELOAD2, 0xabc12345)
        m.write(PRELOAD2, 6)
        check("written", m.read(PRELOAD1) == 0xfffff and m.read(PRELOAD2) == 0x12345 and m.read(PRELOAD2 + 1, "b") == 0x23)


def stages():
    with Machine(vm.emulator(), "-action", "watchdog=none") as m:
        m.start()
        m.step(STAGE_NS - 1)
        check("first stage", m.read(STATUS) == 0)
        m.step(1)
        check("second stage", m.read(STATUS) == 1 and m.read(RELOAD, "w") == 0)
        m.write(STATUS, 1, "w")
        check("status taken away", m.read(STATUS) == 0)
        m.step(STAGE_NS - 1)
        m.write(RELOAD, 0x100, "w")
        check("not served by a locked register", m.events() == [])
        m.unlocked(RELOAD, 0x100, "w")
        m.step(2 * STAGE_NS - 1)
        check("served", m.events() == [] and m.read(RELOAD, "w") == 0)
        m.step(1)
        check("ran out", m.events("WATCHDOG") == [("WATCHDOG", "none")] and m.read(RELOAD, "w") == 0x200)
        m.unlocked(RELOAD, 0x200, "w")
        check("seen", m.read(RELOAD, "w") == 0)
        m.step(10 * STAGE_NS)
        check("once", m.events() == [])
        m.unlocked(RELOAD, 0x100, "w")
        m.config(0x68, 0, "b")
        m.step(10 * STAGE_NS)
        check("switched off", m.events() == [] and m.read(RELOAD, "w") == 0)
        m.start(config=0x23)
        m.step(2 * STAGE_NS)
        check("without its pin", m.events() == [] and m.read(RELOAD, "w") == 0x200)
        m.config(0x68, 0, "b")
        m.write(STATUS, 1, "w")
        m.start(config=7, lock=6)  # free running, 2^5 clocks
        m.unlocked(RELOAD, 0x200, "w")
        m.step((STAGE_NS >> 10) - 1)
        check("fast", m.read(RELOAD, "w") == 0)
        m.step(1)
        check("one stage", m.read(RELOAD, "w") == 0x200 and m.read(STATUS) == 0)
        m.unlocked(RELOAD, 0x200, "w")
        m.step(STAGE_NS >> 10)
        check("again", m.read(RELOAD, "w") == 0x200)
        m.config(0x68, 3, "b")
        check("locked", m.config(0x68, 0, "b") == 3)
        m.q.cmd("system_reset")
        check("until a reset", m.config(0x68, 4, "b") == 4)


def run_out(*args, before=(), what=None, ends=False):
    """The events of one that runs out, the state after it (None: the process is gone) and stderr."""
    with Machine(vm.emulator(), *args) as m:
        for name, words in before:
            m.q.cmd(name, **words)
        m.start()
        m.step(2 * STAGE_NS)
        if ends:
            m.q.events += [e for e in map(json.loads, m.q.f) if "event" in e]
            got, state = [(e["event"], e["data"].get("action")) for e in m.q.events], None
        else:
            got = m.events(what or "WATCHDOG")
            state = m.q.cmd("query-status")["status"]
            m.p.terminate()
        return got, state, m.p.communicate()[1]


def actions():
    for how, action, event, state in [((), "reset", "RESET", "running"),
                                      (("-action", "watchdog=reset"), "reset", "RESET", "running"),
                                      (("-action", "watchdog=shutdown"), "shutdown", "POWERDOWN", "running"),
                                      (("-action", "watchdog=poweroff"), "poweroff", "SHUTDOWN", None),
                                      (("-watchdog-action", "pause"), "pause", "STOP", "watchdog"),
                                      (("-action", "watchdog=inject-nmi"), "inject-nmi", None, "running"),
                                      (("-action", "watchdog=debug"), "debug", None, "running"),
                                      (("-no-reboot",), "reset", "SHUTDOWN", None),
                                      (("-no-reboot", "-no-shutdown"), "reset", "STOP", "shutdown")]:
        got, then, err = run_out(*how, what=event, ends=state is None)
        check(f"{how}", got[:1] == [("WATCHDOG", action)] and (not event or event in [e for e, _ in got]) and then == state, (got, then, err))
        check(f"{how}: stderr", ("does not serve its watchdog" in err) == (action == "debug"), err)
    for before in [("watchdog-set-action", {"action": "pause"}), ("set-action", {"watchdog": "pause"}),
                   ("human-monitor-command", {"command-line": "watchdog_action pause"})]:
        got, then, _ = run_out(before=[before], what="STOP")
        check(f"{before}", got[:1] == [("WATCHDOG", "pause")] and then == "watchdog", (got, then))


def saved():
    with Machine(vm.emulator(), "-action", "watchdog=pause") as m:
        m.start(lock=3)
        m.step(STAGE_NS + STAGE_NS // 2)
        m.q.save(m, m.work + "/s")
        with Machine(vm.emulator(), "-action", "watchdog=pause", "-incoming", f"file:{m.work}/s") as n:
            end = time.time() + 10 * vm.SLOW
            while n.q.cmd("query-status")["status"] != "running" and time.time() < end:
                time.sleep(0.02)
            check("saved: locked", n.config(0x68, 0, "b") == 3 and n.read(STATUS) == 1)
            n.events()
            n.step(STAGE_NS - STAGE_NS // 2 - 1)
            check("saved: too early", n.events() == [])
            n.step(1)
            check("saved: runs out", n.events("STOP") == [("WATCHDOG", "pause"), ("STOP", None)])


same()
preloads()
stages()
actions()
saved()
if failures:
    sys.exit(1)
print("ok: registers, stages, actions, saved" + ("" if shutil.which("qemu-system-x86_64") else " (no QEMU to compare with)"))
