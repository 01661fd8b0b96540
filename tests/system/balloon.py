#!/usr/bin/env python3
"""The balloon with Debian's kernel: the guest gives memory back and takes it again, statistics, free page reporting (what the guest has
freed is gone from this host's memory)."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
SCRIPT = """
free_mb() { sed -n 's/MemTotal: *\\([0-9]*\\).*/total \\1 KiB/p' /proc/meminfo; }
echo ready
while read line; do case $line in
total) free_mb ;;
fill) dd if=/dev/urandom of=/tmp/f bs=1M count=200 2>/dev/null; echo filled ;;
empty) rm /tmp/f; echo emptied ;;
end) break ;;
esac; done
dmesg | grep -iE 'balloon|page' | grep -iE 'error|fail|BUG|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""


def rss(g):
    """MiB of the process in memory."""
    with open(f"/proc/{g.p.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) // 1024


def until(g, what, good, seconds=90):
    end = time.monotonic() + seconds * vm.SLOW
    while not good():
        if time.monotonic() > end:
            g.die(what)
        time.sleep(0.3)


def total(g):
    g.send("total\n")
    return int(g.expect(r"^total (\d+) KiB").group(1)) // 1024


def sizes(g, q):
    """Down, with an event, and up again."""
    before = total(g)
    q.cmd("balloon", value=256 * MIB)
    until(g, "it did not give 256 MiB back", lambda: q.cmd("query-balloon")["actual"] == 256 * MIB)
    if not before - 262 < total(g) < before - 250:
        g.die(f"MemTotal is {total(g)} MiB, it was {before}")
    if q.cmd("human-monitor-command", **{"command-line": "info balloon"}) != "balloon: actual=256\r\n":
        g.die("info balloon")
    q.cmd("human-monitor-command", **{"command-line": "balloon 512"})
    until(g, "it did not take its memory again", lambda: q.cmd("query-balloon")["actual"] == 512 * MIB)
    until(g, "no BALLOON_CHANGE with the last size",
          lambda: [e["data"]["actual"] for e in q.events if e["event"] == "BALLOON_CHANGE"][-1:] == [512 * MIB] or not q.cmd("query-status"))
    if total(g) != before:
        g.die("MemTotal is not what it was")


def statistics(g, q):
    path = "/machine/peripheral/b"
    q.cmd("qom-set", path=path, property="guest-stats-polling-interval", value=1)
    seen = q.cmd("qom-get", path=path, property="guest-stats")["last-update"]
    until(g, "no report", lambda: q.cmd("qom-get", path=path, property="guest-stats")["last-update"] > seen)
    stats = q.cmd("qom-get", path=path, property="guest-stats")["stats"]
    if not 300 * MIB < stats["stat-total-memory"] <= 512 * MIB or not 0 < stats["stat-free-memory"] < stats["stat-total-memory"]:
        g.die(f"statistics: {stats}")


def reporting(g):
    g.send("fill\n")
    g.expect("^filled")
    full = rss(g)
    g.send("empty\n")
    g.expect("^emptied")
    until(g, f"of {full} MiB none came back: {rss(g)} MiB", lambda: rss(g) < full - 150)
    print(f"memory of the process: {full} MiB with a file of 200 MiB in the guest, {rss(g)} MiB without")


def main():
    work = vm.scratch()
    sock = os.path.join(work, "qmp")
    args = vm.base_args("pc", "512M") + [
        "-device", "virtio-balloon-pci,id=b,free-page-reporting=on", "-qmp", f"unix:{sock},server=on,wait=off",
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(SCRIPT, ["virtio_pci", "virtio_balloon"], arch="generic"),
        "-append", "console=ttyS0 quiet panic=-1"]
    with vm.Guest(args) as g:
        g.expect("^ready")
        q = vm.QMP(sock)
        until(g, "no driver", lambda: q.cmd("query-balloon")["actual"] == 512 * MIB)
        sizes(g, q)
        statistics(g, q)
        reporting(g)
        g.send("end\n")
        g.expect("^user-space-reached")
        if "complaint:" in g.text:
            g.die("the kernel complains")
    print("ok")


main()
