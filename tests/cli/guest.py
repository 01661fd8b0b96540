#!/usr/bin/env python3
"""What options say about the machine, as a guest sees it: -name, -uuid, -rtc, -smp, -m, -object rng-random."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

UUID = "550e8400-e29b-41d4-a716-446655440000"
SCRIPT = """
echo dmi uuid=$(cat /sys/class/dmi/id/product_uuid) vendor=$(cat /sys/class/dmi/id/sys_vendor) name=$(cat /sys/class/dmi/id/product_name)
date -u +'date %Y-%m-%d'
echo cpus $(nproc) threads $(cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list) package $(cat /sys/devices/system/cpu/cpu3/topology/physical_package_id)
echo ram $(awk '/MemTotal/{print int($2/1024)}' /proc/meminfo)
echo rng $(head -c 16 /dev/hwrng | od -An -tx1 | tr -d ' ')
"""
PATTERN = bytes(range(0xA0, 0xB0))


def feed(path, stop):
    """Bytes that no generator would give, through a FIFO: proof that the device reads that and nothing else."""
    try:
        with open(path, "wb", buffering=0) as f:
            while not stop.is_set():
                f.write(PATTERN)
    except BrokenPipeError:
        pass


def main():
    work = vm.scratch()
    fifo = os.path.join(work, "fifo")
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # the feeder's open must not wait for the VM's
    stop = threading.Event()
    threading.Thread(target=feed, args=(fifo, stop), daemon=True).start()
    args = ["-M", "pc", "-m", "384", "-smp", "4,sockets=2,cores=1,threads=2", "-nodefaults", "-display", "none", "-accel",
            "interp", "-serial", "stdio", "-cpu", "qemu64,+topoext", "-no-reboot", "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT),
            "-append", "console=ttyS0 panic=-1 quiet", "-name", "probe", "-uuid", UUID,
            "-rtc", "base=2020-01-01T00:00:00", "-object", f"rng-random,id=r,filename={fifo}",
            "-device", "virtio-rng-pci,rng=r"]
    with vm.Guest(args) as g:
        g.expect(rf"^dmi uuid={UUID} vendor=\S", 300)
        g.expect(r"^date 2020-01-01\s")
        g.expect(r"^cpus 4 threads 0-1 package 1\s")
        ram = int(g.expect(r"^ram (\d+)\s").group(1))
        if not 300 <= ram <= 384:
            g.die(f"{ram} MiB of memory with -m 384")
        got = bytes.fromhex(g.expect(r"^rng (\w+)\s").group(1).decode())
        if got not in (PATTERN + PATTERN)[: len(PATTERN) * 2] or len(got) != 16:
            g.die(f"/dev/hwrng gave {got.hex()}, not what the FIFO has")
        if g.wait(60):
            g.die("status not 0")
    stop.set()
    os.close(keep)
    print("ok: DMI, date, topology, memory, random numbers from a FIFO")


main()
