#!/usr/bin/env python3
"""QMP as programs speak it: greeting, negotiation, ids, error classes, events, hostile input; HMP inside it."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import qmp_schema  # noqa: E402
import vm  # noqa: E402

# A kernel of four bytes as multiboot: it halts with interrupts off and the machine stays up.
MULTIBOOT = (0x1BADB002).to_bytes(4, "little") + (0x00010000).to_bytes(4, "little") + \
    ((-(0x1BADB002 + 0x00010000)) & 0xFFFFFFFF).to_bytes(4, "little") + \
    b"".join(v.to_bytes(4, "little") for v in (0x100000, 0x100000, 0x100024, 0x100024, 0x100020)) + b"\xfa\xf4\xeb\xfd"


def check(what, ok):
    if not ok:
        vm.fail(what)


class Raw:
    def __init__(self, path):
        self.s = vm.connect(path, "QMP", 30)
        self.s.settimeout(20)
        self.f = self.s.makefile("rb")

    def send(self, text):
        self.asked = None
        self.s.sendall(text if isinstance(text, bytes) else text.encode())

    schema = asked = None

    def get(self):
        msg = json.loads(self.f.readline())
        if self.schema and self.asked:
            self.schema.check(self.asked, msg)
        return msg

    def ask(self, msg):
        self.send(json.dumps(msg))
        self.asked = msg.get("execute")
        return self.get()


def error(reply, cls, part):
    check(f"wanted {cls} '{part}', got {reply}", reply.get("error", {}).get("class") == cls and part in reply["error"]["desc"])


def main():
    work = vm.scratch()
    path = os.path.join(work, "q")
    kernel = os.path.join(work, "k")
    state = os.path.join(work, "state")
    with open(kernel, "wb") as f:
        f.write(MULTIBOOT + bytes(4096))
    base = ["-M", "pc", "-m", "16", "-accel", "interp", "-nodefaults", "-display", "none", "-kernel", kernel,
            "-name", "probe", "-uuid", "550e8400-e29b-41d4-a716-446655440000", "-chardev", "ringbuf,id=rb,size=64",
            "-no-shutdown"]
    with vm.Guest(base + ["-S", "-qmp", f"unix:{path},server=on,wait=off",
                          "-chardev", f"socket,id=odd,path={work}/l\udce9,server=on,wait=off", "-vnc", f"unix:{work}/v\udce9"], "qmp") as g:
        q = Raw(path)
        hello = q.get()
        check(f"greeting {hello}", hello["QMP"]["version"]["qemu"]["major"] >= 7 and hello["QMP"]["capabilities"] == [])
        error(q.ask({"execute": "query-status", "id": 1}), "CommandNotFound", "qmp_capabilities")
        check("capabilities", q.ask({"execute": "qmp_capabilities", "id": "x"}) == {"return": {}, "id": "x"})
        q.schema = qmp_schema.Schema(q.ask({"execute": "query-qmp-schema"})["return"])
        error(q.ask({"execute": "qmp_capabilities"}), "CommandNotFound", "already complete")
        s = q.ask({"execute": "query-status", "id": {"a": [1, None]}})
        check(f"status {s}", s["id"] == {"a": [1, None]} and s["return"]["status"] == "prelaunch" and not s["return"]["running"])
        check("version", "qemu" in q.ask({"execute": "query-version"})["return"])
        check("name", q.ask({"execute": "query-name"})["return"] == {"name": "probe"})
        check("uuid", q.ask({"execute": "query-uuid"})["return"]["UUID"] == "550e8400-e29b-41d4-a716-446655440000")
        check("kvm", q.ask({"execute": "query-kvm"})["return"]["enabled"] is False)
        check("cpus", len(q.ask({"execute": "query-cpus-fast"})["return"]) == 1)
        names = {c["name"] for c in q.ask({"execute": "query-commands"})["return"]}
        check(f"commands {names}", {"quit", "stop", "migrate", "query-status"} <= names)
        labels = {c["label"]: c["filename"] for c in q.ask({"execute": "query-chardev"})["return"]}
        check(f"chardevs {labels}", {"rb", "compat_monitor0"} <= set(labels))
        check(f"a name that is no UTF-8: {labels}", "/l\ufffd," in labels.get("odd", ""))
        vnc = q.ask({"execute": "query-vnc"})["return"]
        check(f"a screen's name that is no UTF-8: {vnc}", vnc.get("service", "").endswith("/v\ufffd"))

        # Errors.
        error(q.ask({"execute": "nonsense"}), "CommandNotFound", "nonsense")
        error(q.ask({"execute": "stop", "arguments": {"x": 1}}), "GenericError", "unknown option 'x'")
        error(q.ask({"execute": "ringbuf-read", "arguments": {"device": "rb"}}), "GenericError", "size")
        error(q.ask({"execute": "ringbuf-read", "arguments": {"device": "zz", "size": 3}}), "GenericError", "'zz' not found")
        error(q.ask({"execute": "migrate", "arguments": {"uri": "tcp:1"}}), "GenericError", "only file:PATH")
        error(q.ask({"exec": "stop"}), "GenericError", "execute")
        error(q.ask({"execute": 5}), "GenericError", "execute")
        q.send("garbage here\n")
        error(q.get(), "GenericError", "JSON parse error")
        for half in '{bad\n', '{"a": "x\n':
            q.send(half)
            error(q.get(), "GenericError", "JSON parse error")
        q.send('{"execute": }')
        error(q.get(), "GenericError", "JSON parse error")
        q.send('{"a": ' + "[" * 5000 + "\n")
        q.send("]" * 5000 + "}")
        error(q.get(), "GenericError", "")
        q.send('{"execute":"query-name","arguments":{"' + "a" * (1 << 20) + '":1}}\n')
        error(q.get(), "GenericError", "limit")
        # Two commands in one packet, and one in two.
        q.send('{"execute":"query-name"}{"execute":"query-name","id":2}')
        check("two at once", "return" in q.get() and q.get()["id"] == 2)
        q.send('{"execute":"query')
        time.sleep(0.05)
        q.send('-name","id":"\\"}"}')
        check("split", q.get()["id"] == '"}')

        # Ring buffer and HMP.
        check("write", q.ask({"execute": "ringbuf-write", "arguments": {"device": "rb", "data": "hello"}}) == {"return": {}})
        check("read", q.ask({"execute": "ringbuf-read", "arguments": {"device": "rb", "size": 3}}) == {"return": "hel"})

        def hmp(line):
            return q.ask({"execute": "human-monitor-command", "arguments": {"command-line": line}})["return"]
        check("hmp status", hmp("info status") == "VM status: paused (prelaunch)\r\n")
        check("hmp unknown", hmp("frob x") == "unknown command: 'frob'\r\n")
        check("hmp unknown info", hmp("info frob") == "unknown command: 'info frob'\r\n")
        check("hmp ringbuf", hmp("ringbuf_read rb 64") == "lo\r\n")
        check("hmp missing", "is missing" in hmp("ringbuf_read rb"))
        check("hmp extra", "extra argument" in hmp("stop now"))
        for line in ("help", "info", "info mtree", "info qtree", "info registers", "info version", "info chardev", "info cpus", "info kvm"):
            check(f"hmp {line}", hmp(line) and "unknown" not in hmp(line))

        for line in ("info pci", "info pic", "info lapic", "info mem", "info tlb", "info roms", "info numa", "info hotpluggable-cpus",
                     "info iothreads", "info device i8259.0", "qom-list /machine", "qom-get /machine/cpu[0] type"):
            check(f"hmp {line}", hmp(line) and "unknown" not in hmp(line) and "Error" not in hmp(line))
        check("info lapic of another", "no CPU with APIC id 77" in hmp("info lapic 77") and hmp("info lapic 0") == hmp("info lapic"))
        check("usbhost", hmp("info usbhost").startswith("Error: no USB device of the host"))
        abouts(q)

        # Run state and events.
        check("cont", q.ask({"execute": "cont"})["event"] == "RESUME" and q.get() == {"return": {}})
        check("running", q.ask({"execute": "query-status"})["return"]["running"])
        check("registers while running", re.search("[ER]IP=", hmp("info registers")))
        check("stop", q.ask({"execute": "stop"})["event"] == "STOP" and q.get() == {"return": {}})
        check("paused", q.ask({"execute": "query-status"})["return"]["status"] == "paused")
        check("stop again", q.ask({"execute": "stop"}) == {"return": {}})
        r = q.ask({"execute": "system_reset"})
        check(f"reset {r}", r["event"] == "RESET" and r["data"] == {"guest": False, "reason": "host-qmp-system-reset"})
        q.get()
        q.ask({"execute": "cont"})
        q.get()
        time.sleep(0.1)

        # Save; load in a second process; what is loaded saves to the same bytes.
        r = q.ask({"execute": "migrate", "arguments": {"uri": f"file:{state}"}})
        check(f"migrate {r}", r["event"] == "STOP" and q.get() == {"return": {}})
        check("completed", q.ask({"execute": "query-migrate"})["return"]["status"] == "completed")
        check("postmigrate", q.ask({"execute": "query-status"})["return"]["status"] == "postmigrate")
        check(f"sparse: {os.path.getsize(state)}", os.path.getsize(state) < 4 << 20)
        error(q.ask({"execute": "migrate", "arguments": {"uri": "file:/no/such/folder/x"}}), "GenericError", "No such file")
        r = q.ask({"execute": "quit"})
        replies = [r, q.get()]
        check(f"quit {replies}", {"return": {}} in replies and any(
            m.get("event") == "SHUTDOWN" and m["data"]["reason"] == "host-qmp-quit" for m in replies))
        check("exit status", g.wait() == 0)
    incoming(base, work, state)
    print("ok")


def abouts(q):
    """What programs ask at their start; the schema checks the shapes."""
    def ask(name, **args):
        r = q.ask({"execute": name, "arguments": args})
        check(f"{name}: {r}", "return" in r)
        return r["return"]
    check("target", ask("query-target") == {"arch": "x86_64"})
    machines = ask("query-machines")
    check("default machine", [m["name"] for m in machines if m.get("is-default")] == ["pc-i440fx-7.2"] and
          {m.get("alias") for m in machines} == {"pc", "q35", None} and "microvm" in [m["name"] for m in machines])
    models = {m["name"]: m for m in ask("query-cpu-definitions")}
    check(f"models {list(models)}", {"base", "host", "max", "qemu64", "EPYC"} <= set(models) and models["base"]["static"])
    full = ask("query-cpu-model-expansion", type="full", model={"name": "qemu64", "props": {"avx2": True}})["model"]
    static = ask("query-cpu-model-expansion", type="static", model={"name": "qemu64"})["model"]
    check(f"expansion {full}", full["name"] == "qemu64" and full["props"]["lm"] and full["props"]["vendor"] == "AuthenticAMD")
    check("static expansion", static["name"] == "base" and not static["props"]["avx2"])
    error(q.ask({"execute": "query-cpu-model-expansion", "arguments": {"type": "full", "model": {"name": "nonsense"}}}), "GenericError", "nonsense")
    error(q.ask({"execute": "query-cpu-model-expansion", "arguments": {"type": "full", "model": {"name": "max", "props": {"x,y": 1}}}}),
          "GenericError", "no property")
    options = {x["option"]: [p["name"] for p in x["parameters"]] for x in ask("query-command-line-options")}
    check(f"options {options}", "cpus" in options["smp-opts"] and "order" in options["boot-opts"] and "file" in options["drive"])
    check("one option", [x["option"] for x in ask("query-command-line-options", option="rtc")] == ["rtc"])
    error(q.ask({"execute": "query-command-line-options", "arguments": {"option": "zz"}}), "GenericError", "invalid option name")
    pci = ask("query-pci")[0]["devices"]
    check(f"pci {pci}", pci[0]["id"] == {"vendor": 0x8086, "device": 0x1237, "subsystem-vendor": 0x1af4, "subsystem": 0x1100})
    check("cpus", ask("query-hotpluggable-cpus")[0]["qom-path"] == ask("query-cpus-fast")[0]["qom-path"] == "/machine/cpu[0]")
    check("nothing", ask("query-memory-devices") == ask("query-iothreads") == [])
    check("backends", {"name": "socket"} in ask("query-chardev-backends"))
    types = {t["name"] for t in ask("qom-list-types", implements="device")}
    check("types", {"virtio-net-pci", "qemu64-x86_64-cpu"} <= types and "pc-machine" not in types)
    check("properties", "netdev" in [p["name"] for p in ask("device-list-properties", typename="virtio-net-pci")])
    error(q.ask({"execute": "device-list-properties", "arguments": {"typename": "zz"}}), "DeviceNotFound", "'zz' not found")
    check("object", ask("object-add", **{"qom-type": "secret", "id": "s1", "data": "x"}) == {})
    error(q.ask({"execute": "object-add", "arguments": {"qom-type": "secret", "id": "s1", "data": "x"}}), "GenericError", "s1")
    check("object gone", ask("object-del", id="s1") == {} and "s1" in q.ask({"execute": "object-del", "arguments": {"id": "s1"}})["error"]["desc"])
    error(q.ask({"execute": "object-add", "arguments": {"qom-type": "nonsense", "id": "s1"}}), "GenericError", "invalid object type")
    error(q.ask({"execute": "system_wakeup"}), "GenericError", "not in suspended state")
    check("machine", ask("qom-get", path="/machine", property="type") == "pc-machine")
    error(q.ask({"execute": "qom-get", "arguments": {"path": "/machine/cpu[0]", "property": "zz"}}), "GenericError", "'zz' not found")
    error(q.ask({"execute": "qom-list", "arguments": {"path": "/machine/cpu[7]"}}), "DeviceNotFound", "not found")
    error(q.ask({"execute": "qom-list", "arguments": {"path": 7}}), "GenericError", "Invalid parameter type for 'path', expected: string")


def incoming(base, work, state):
    path = os.path.join(work, "q2")
    again = os.path.join(work, "again")
    with vm.Guest(base + ["-S", "-incoming", f"file:{state}", "-qmp", f"unix:{path},server=on,wait=off"], "incoming") as g:
        q = vm.QMP(path)
        check("loaded", q.cmd("query-status")["status"] == "paused")
        q.cmd("migrate", uri=f"file:{again}")
        check("saved again, it differs", open(state, "rb").read() == open(again, "rb").read())
        q.cmd("cont")
        check("it runs", q.cmd("query-status")["running"])
        g.p.terminate()
        check("SIGTERM ends it well", g.wait() == 0)
    check("socket file is left", not os.path.exists(path))
    data = open(state, "rb").read()
    for name, bad, why in (("cut", data[:len(data) // 2], "ends early"), ("flip", data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], ""),
                           ("junk", b"x" * 100000, "not a saved machine"), ("empty", b"", "ends early")):
        p = os.path.join(work, name)
        with open(p, "wb") as f:
            f.write(bad)
        with vm.Guest(base + ["-incoming", f"file:{p}"], name) as g:
            check(f"{name}: exit status", g.wait() == 1)
            lines = g.text.strip().splitlines()
            check(f"{name}: {lines}", len(lines) == 1 and why in lines[0] and p in lines[0])
    with vm.Guest(["-m", "17"] + [a for a in base if a not in ("-m", "16")] + ["-incoming", f"file:{state}"], "other size") as g:
        check("other size is refused", g.wait() == 1 and "-m 16384K" in g.text)


main()
