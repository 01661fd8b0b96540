#!/usr/bin/env python3
"""Debian's kernel on each display adapter: screens.py [ADAPTER|input]...

Its text console is the same picture, pixel by pixel, as on the standard VGA; a pattern written to the frame buffer is what screendump
shows; saved and loaded between, both hold. virtio-gpu: the window's size reaches the guest, a second head is there. input: virtio's
keyboard and tablet, as usb.py does; 1000 keys a second. VIV_KEEP names a folder for the pictures."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import inputs  # noqa: E402
import rfb  # noqa: E402
import vm  # noqa: E402

W, H = 1024, 768
VIRTIO_GPU = ["virtio_pci", "virtio-gpu"]
OVMF = "/usr/share/ovmf/OVMF.fd"
ADAPTERS = {  # options, modules, bits of the kernel's frame buffer; a driver that counts on firmware having been there gets it
    "std": (["-vga", "std"], ["bochs"], 32),
    "bochs-display": (["-device", "bochs-display"], ["bochs"], 32),
    "cirrus": (["-vga", "cirrus", "-bios", OVMF], ["cirrus"], 16),
    "virtio-vga": (["-vga", "virtio"], VIRTIO_GPU, 32),
    "virtio-gpu-pci": (["-device", "virtio-gpu-pci,id=gpu,max_outputs=2,packed=on"], VIRTIO_GPU, 32),
}
COMPLAINTS = "dmesg | grep -iE 'drm|virtio|fb0|gpu' | grep -iE 'error|fail|timeout|timed|call trace|warn' | sed 's/^/complaint: /'\n"

SCREEN = """
echo 0 > /proc/sys/kernel/printk
stty -echo
n=0; until [ -e /dev/fb0 ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 100 ] && break; done
echo "mode $(cat /sys/class/graphics/fb0/virtual_size) $(cat /sys/class/graphics/fb0/bits_per_pixel)."
cat /text > /dev/tty1
echo ready
while read -r line; do eval "$line"; echo "did."; done
"""


def text():
    lines = ["\033[2J\033[H\033[?25l"]
    for row in range(40):
        lines.append(f"\033[{30 + row % 8};{40 + row // 5}m{row:2} " + "".join(chr(33 + (row * 7 + i) % 94) for i in range(90)) + "\033[0m\r\n")
    lines.append("\033[7m" + "Vivarium ".center(110) + "\033[0m")
    return "".join(lines).encode()


def with_16_bits(rgb):
    """What is left of colours."""
    five = bytes(v >> 3 << 3 | v >> 5 for v in range(256))
    six = bytes(v >> 2 << 2 | v >> 6 for v in range(256))
    out = bytearray(rgb)
    for i, table in enumerate((five, six, five)):
        out[i::3] = rgb[i::3].translate(table)
    return bytes(out)


def pattern(seed, bits):
    """A pixel's word, and what screendump is to show of it."""
    words, rgb = bytearray(), bytearray()
    for i in range(W * H):
        v = (i * 0x010307 + seed) & 0xffffff
        words += v.to_bytes(4, "little") if bits == 32 else (v >> 8 & 0xf800 | v >> 5 & 0x7e0 | v >> 3 & 0x1f).to_bytes(2, "little")
        rgb += v.to_bytes(3, "big")
    return bytes(words), bytes(rgb) if bits == 32 else with_16_bits(bytes(rgb))


def keep(q, name):
    if os.environ.get("VIV_KEEP"):
        q.cmd("screendump", filename=os.path.join(os.environ["VIV_KEEP"], name + ".png"), format="png")


def shows(g, q, work, want, what):
    """The kernel writes to the screen some time after it was told to."""
    end = time.monotonic() + 15 * vm.SLOW
    while q.picture(f"{work}/p") != (W, H, want):
        if time.monotonic() > end:
            w, h, got = q.picture(f"{work}/p")
            bad = [i // 3 for i in range(0, min(len(got), len(want)), 3) if got[i:i + 3] != want[i:i + 3]]
            g.die(f"{what}: a picture of {w}x{h}, {len(bad)} pixels differ, the first at {bad and (bad[0] % W, bad[0] // W)}")
        time.sleep(0.2)


def settled(q, work):
    """The console has been drawn: the picture is not black, and has not changed for a second."""
    last, since = None, 0
    while not last or not any(last[2]) or time.monotonic() < since + 1.5 * vm.SLOW:
        now = q.picture(f"{work}/p")
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.3)
    return last


def do(g, line):
    g.send(line + "\n")
    g.expect(r"^did\.", 60)


def load_again(work, args, g, q):
    state = os.path.join(work, "state")
    q.save(g, state)
    q.cmd("quit")
    g.wait(30)
    return args + ["-incoming", f"file:{state}"]


def resizes(g, port):
    """A client's wish is the monitor's size, which the kernel hears of. (Its console's frame buffer does not grow.)"""
    c = rfb.RFB(rfb.Plain(("127.0.0.1", port)))
    c.set_encodings(rfb.RAW, rfb.DESKTOP_SIZE, rfb.EXT_SIZE)
    c.request()
    c.drain(1)
    for w, h in ((1000, 700), (901, 555)):
        c.set_size(w, h)
        end = time.monotonic() + 20 * vm.SLOW
        while True:
            c.drain(0.3)
            g.send("echo modes $(head -n 1 /sys/class/drm/card0-Virtual-1/modes).\n")
            if g.expect(r"^modes (\S*)\.", 30).group(1).decode() == f"{w}x{h}":
                break
            if time.monotonic() > end:
                g.die(f"the kernel does not hear of {w}x{h}")
    c.link.close()


def second_head(g, q, work, port):
    g.send("echo second $(cat /sys/class/drm/card0-Virtual-2/status).\n")
    g.expect(r"^second disconnected\.", 30)
    c = rfb.RFB(rfb.Plain(("127.0.0.1", port)))
    c.request()
    c.drain(1)
    end = time.monotonic() + 20 * vm.SLOW
    while True:
        g.send("echo second $(cat /sys/class/drm/card0-Virtual-2/status).\n")
        if g.expect(r"^second (\S*)\.", 30).group(1) == b"connected":
            break
        if time.monotonic() > end:
            g.die("a viewer of the second head connects no monitor")
        time.sleep(0.3)
    while True:  # the console is on both
        try:
            w, h, rgb = q.picture(f"{work}/p2", device="gpu", head=1)
            if any(rgb):
                break
        except RuntimeError:
            pass
        if time.monotonic() > end + 20 * vm.SLOW:
            g.die("nothing on the second head")
        time.sleep(0.3)
    c.link.close()
    print(f"ok: second head, {w}x{h}")


def screen(work, name, reference):
    options, modules, bits = ADAPTERS[name]
    patterns = pattern(0, bits), pattern(0x5a5a5a, bits)
    for i, p in enumerate(patterns):
        with open(f"{work}/pattern{i}", "wb") as f:
            f.write(p[0])
    with open(f"{work}/text", "wb") as f:
        f.write(text())
    ports = [vm.free_port(), vm.free_port()]
    while min(ports) < 5901:
        ports = [vm.free_port(), vm.free_port()]
    args = [a for a in vm.base_args("pc", "256M", 1) if a not in ("-display", "none")] + options + [
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(SCREEN, modules, files=[f"{work}/{n}:{n}" for n in ("text", "pattern0", "pattern1")],
                                                                 arch="generic"),
        "-append", f"console=ttyS0 panic=-1 quiet video={W}x{H}", "-qmp", f"unix:{work}/q,server=on,wait=off"]
    viewers = ["-vnc", f"127.0.0.1:{ports[0] - 5900}"]
    if name == "virtio-gpu-pci":
        viewers += ["-vnc", f"127.0.0.1:{ports[1] - 5900},id=two,display=gpu,head=1"]
    args += viewers
    with vm.Guest(args, name) as g:
        q = vm.QMP(f"{work}/q")
        g.expect(rf"mode {W},{H} {bits}\.", 200)
        g.expect(r"^ready")
        w, h, console = settled(q, work)
        keep(q, f"{name}-console")
        if (w, h) != (W, H) or (reference and console != reference):
            shows(g, q, work, reference if bits == 32 else with_16_bits(reference), "the text console, compared with the standard VGA's")
        do(g, "cat /pattern0 > /dev/fb0")
        shows(g, q, work, patterns[0][1], "a pattern")
        keep(q, f"{name}-pattern")
        args = load_again(work, args, g, q)
    with vm.Guest(args, f"{name}, loaded") as g:
        q = vm.QMP(f"{work}/q")
        shows(g, q, work, patterns[0][1], "the pattern, loaded")
        do(g, f"dd if=/pattern1 of=/dev/fb0 bs=12288 seek={bits * 4} skip={bits * 4} conv=notrunc 2>/dev/null")  # the lower half
        half = W * H // 2 * 3
        shows(g, q, work, patterns[0][1][:half] + patterns[1][1][half:], "half a pattern after that")
        if name.startswith("virtio"):
            resizes(g, ports[0])
        if name == "virtio-gpu-pci":
            second_head(g, q, work, ports[1])
        g.send(COMPLAINTS)
        g.expect(r"^did\.")
        q.cmd("quit")
        g.wait(60)
        if "complaint: " in g.text:
            g.die("the kernel complains")
    print(f"ok: {name}: console, pattern, saved and loaded", flush=True)
    return console


# ---- input ----

INPUT = inputs.wait_for("Vivarium Virtio", 2) + inputs.record("Vivarium Virtio", ("Keyboard", "Tablet")) + """
dmesg | grep -iE 'virtio|input' | grep -iE 'error|fail|timeout|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""


def many(q, seconds):
    """A thousand presses and releases a second."""
    want, begin, n = [], time.monotonic(), 0
    while n < 1000 * seconds:
        batch = []
        for _ in range(5):
            name, code = inputs.KEYS[n // 2 % len(inputs.KEYS)]
            batch += [("key", {"down": d, "key": {"type": "qcode", "data": name}}) for d in (True, False)]
            want += [(inputs.EV_KEY, code, 1), (inputs.EV_KEY, code, 0)]
            n += 2
        inputs.send(q, *batch)
        time.sleep(max(0, begin + n / 1000 - time.monotonic()))
    return want, n / (time.monotonic() - begin)


def virtio_input(work):
    args = vm.base_args("pc", "256M", 1) + [
        "-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci,packed=on", "-kernel", vm.kernel("generic"), "-initrd",
        vm.initramfs(INPUT, ["virtio_pci", "virtio_input", "evdev"], arch="generic"), "-append", "console=ttyS0 panic=-1 quiet",
        "-qmp", f"unix:{work}/q,server=on,wait=off"]
    with vm.Guest(args, "input") as g:
        q = vm.QMP(f"{work}/q")
        g.expect(r"^reading", 200)
        time.sleep(1 * vm.SLOW)
        mice = q.cmd("query-mice")
        if not mice[0]["current"] or not mice[0]["absolute"] or mice[0]["name"] != "Virtio Tablet":
            g.die(f"the tablet is not preferred: {mice}")
        kbd, tablet = inputs.play(q, 0)
        new = load_again(work, args, g, q)
    with vm.Guest(new, "input, loaded") as g:
        q = vm.QMP(f"{work}/q")
        kbd2, tablet2 = inputs.play(q, 1)
        time.sleep(1 * vm.SLOW)
        fast, rate = many(q, 5)
        time.sleep(0.5 * vm.SLOW)
        g.send("\n")
        inputs.compare("keyboard", inputs.events(g, "Keyboard"), kbd + kbd2 + fast)
        inputs.compare("tablet", inputs.events(g, "Tablet"), inputs.changes(tablet + tablet2))
        g.expect(r"^user-space-reached")
        if g.wait(60) or "complaint: " in g.text:
            g.die("the kernel complains, or status not 0")
    print(f"ok: virtio keyboard and tablet, saved and loaded between; {len(fast)} key events at {rate:.0f} a second, all in order")


def main():
    work = vm.scratch()
    names = sys.argv[1:] or list(ADAPTERS) + ["input"]
    reference = None
    if "cirrus" in names and not os.path.exists(OVMF):
        vm.skip("needs Debian's ovmf")
    if any(n in ADAPTERS for n in names):
        reference = screen(work, "std", None)
    for name in names:
        if name == "input":
            virtio_input(work)
        elif name != "std":
            screen(work, name, reference)


main()
