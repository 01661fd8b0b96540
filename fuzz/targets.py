"""The fuzz targets of a campaign: what each runs, which files are its own, and its seeds."""
import base64
import json
import os
import struct
import subprocess
import sys
import tempfile
import types
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import device_seeds  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMG = os.path.abspath(os.environ.get("VIV_IMG", os.path.join(TOP, "build/src/cmd/viv-img")))


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def put(path, data):
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.write(data)


# --- seeds: each is called with a folder to put them into ---

def some_disk(path, size):
    """Random bytes, zeroes, text."""
    rng = __import__("random").Random(1)
    text = "".join("%d\n" % i for i in range(size // 10)).encode()
    with open(path, "wb") as f:
        f.write(rng.randbytes(size // 4) + bytes(size // 2) + text[:size // 4])


def seeds_qcow2(folder):
    """Of each image each operation, and one field of one table changed."""
    images, changes, operations = 19, 15, 24
    values = [bytes(4), b"\1\0\0\0", b"\x0a\0\0\0", b"\3\0\1\0"]
    for i in range(images):
        for k in range(operations):
            op = bytes([0x80 | k, k % 8, k % 3, k % 4, 7 * k, k % 5, 0, 0])
            put("%s/seed-%d-op-%d" % (folder, i, k), bytes([i, 8]) + op + bytes([0x80 | (k * 7 + i) % operations, 1, 1, 0, 9, 1, 0, 0]))
        for k in range(changes):
            record = bytes([k, i % 3, (i * 5 + k) % 18, (i + k) % 9]) + values[(i + k) % len(values)]
            put("%s/seed-%d-change-%d" % (folder, i, k), bytes([i, 8]) + record + bytes([0x80 | (k * 5 + i) % operations, 3, 1, 0, 0, 1, 0, 0]))


def seeds_image(folder):
    """One field of one table changed."""
    values = [bytes(4), b"\1\0\0\0", b"\xff" * 4, b"\xff" * 8, b"\0\0\0\x80", b"\0\0\x10\0"]
    for n in range(720):
        image, place, word = n % 2, n // 2 % 6, n // 12
        v = values[(n * 7 + n // 12) % len(values)]
        put("%s/seed-%d-%d-%d" % (folder, image, place, word), bytes([image, 0, place, word, 0, len(v) - 1]) + v)


def seeds_vmdk(folder):
    """Descriptors of all kinds of extents, and the images that need none."""
    head = '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="custom"\n'
    seeds = ['RW 100 FLAT "a" 0\nRW 100 FLAT "a" 100\n', 'RW 2048 SPARSE "b"\nRW 50 ZERO\n', 'RW 128 VMFSSPARSE "c"\n',
             'RW 2048 SPARSE "d"\n', 'RW 2048 SPARSE "e"\n', 'RDONLY 10 FLAT "a" 7\nRW 2000 SPARSE "b"\nRW 9 VMFS "a"\n']
    for i, s in enumerate(seeds):
        t = (head + s).encode()
        for k, tail in enumerate((b"", bytes((1, 0, 8 * 2, 3, 1, 0, 0, 0, 2, 5, 5, 5, 5)))):
            put("%s/seed-%d-%d" % (folder, i, k), struct.pack("<HB", len(t), 0) + t + tail)
    for i in range(3):
        put("%s/seed-alone-%d" % (folder, i), bytes((0, 0, i)) + bytes((i + 1, 0, 8 * 2, 3, 1, 0, 0, 0, 2, 5, 5, 5)))


def seeds_whole(form):
    def make(folder):
        with tempfile.TemporaryDirectory() as tmp:
            raw, seed = os.path.join(tmp, "raw"), os.path.join(folder, "seed")
            some_disk(raw, 32 << 10)
            if form == "dmg":
                for t in ("xml", "rsrc"):
                    run(sys.executable, TOP + "/tests/block/make_image.py", "dmg", raw, seed + "-" + t, "types=zlib,raw,bzip2,lzma",
                        "chunk=8", "table=" + t)
            elif form in ("cloop", "bochs"):
                for size in ("1024", "8192"):
                    key = "block=" if form == "cloop" else "extent="
                    run(sys.executable, TOP + "/tests/block/make_image.py", form, raw, seed + size, key + size)
            elif not os.path.exists(seed):
                run(IMG, "convert", "-f", "raw", "-O", form, raw, seed)
                run(IMG, "convert", "-c", "-f", "raw", "-O", form, raw, seed + "-packed")
                run(IMG, "create", "-q", "-u", "-f", form, "-b", "base", "-F", "raw", seed + "-backing", "1M")
    return make


def seeds_nbd(side):
    return lambda folder: run(sys.executable, TOP + "/fuzz/nbd_seeds.py", side, folder)


def seeds_vnc(folder):
    """Talks of a client, plain and in WebSocket frames, whole and in pieces."""
    def encodings(*e):
        return struct.pack(">BxH%di" % len(e), 2, len(e), *e)

    def extended(flags, data=b""):
        return struct.pack(">B3xiI", 6, -4 - len(data), flags) + data

    pseudo = (-223, -224, -239, -257, -258, -261, -307, -308, 0xc0a1e5ce - (1 << 32))
    asks = struct.pack(">BBHHHH", 3, 0, 0, 0, 150, 75) + struct.pack(">BBHHHH", 3, 1, 3, 3, 90, 9)
    clip = zlib.compress(struct.pack(">I", 6) + b"a\r\nb\xc3\xa9")
    formats = [(32, 24, 0, 1, 255, 255, 255, 16, 8, 0), (16, 16, 1, 1, 31, 63, 31, 11, 5, 0), (8, 8, 0, 0, 0, 0, 0, 0, 0, 0),
               (32, 24, 1, 1, 255, 255, 255, 24, 16, 8)]
    talk = struct.pack(">BBxxI", 4, 1, 97) + struct.pack(">BBHH", 5, 3, 9, 9) + struct.pack(">B3xI", 6, 2) + b"hi" + asks
    talk += struct.pack(">BBHII", 255, 0, 1, 97, 30) + struct.pack(">BxHHBxIHHHHI", 251, 80, 60, 1, 0, 0, 0, 80, 60, 0)
    talk += extended(1 << 24 | 31 << 24 | 1, bytes(4)) + extended(1 << 27 | 1) + extended(1 << 28 | 1, clip) + extended(1 << 25 | 1) + extended(1 << 26)
    http = (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: binary\r\n\r\n")
    n = 0
    for version, security in ((b"RFB 003.003\n", b""), (b"RFB 003.007\n", b"\1"), (b"RFB 003.008\n", b"\1")):
        for f in formats:
            for e in (0, 7, 16, -314):
                said = version + security + b"\1" + struct.pack(">B3xBBBBHHHBBB3x", 0, *f) + encodings(e, -27, -250, *pseudo) + talk
                framed = b"".join(b"\x82" + bytes([0x80 | len(p)]) + b"\1\2\3\4" + bytes(b ^ (1 + i % 4) for i, b in enumerate(p))
                                  for p in (said[i:i + 100] for i in range(0, len(said), 100)))
                put("%s/seed-%d" % (folder, n), b"\0" + said)
                put("%s/seed-ws-%d" % (folder, n), bytes([n % 2 | n % 64 << 2 & 0xfc]) + http + b"\x89\x82\0\0\0\0hi" + framed + b"\x88\x80\0\0\0\0")
                n += 1
    put(folder + "/seed-password", b"\2RFB 003.008\n\2" + bytes(16))


# --- what is kept of a corpus in the tree: a text, an input a line, so that it can be read, compared and merged ---

def kept_path(t):
    return TOP + "/fuzz/corpus/%s.b64" % t.name


KEPT_MOST = 100 << 10


def keep(t, corpus, cut=False):
    """False: it is too large; with `cut` the shortest inputs are taken, as many as there is room for."""
    if t.program == "whole":
        print("%s: whole images are not kept" % t.name, file=sys.stderr)
        return True
    inputs = []
    for f in sorted(os.listdir(corpus)):
        with open(os.path.join(corpus, f), "rb") as g:
            inputs.append(g.read())
    lines = [base64.b64encode(i).decode() + "\n" for i in sorted(inputs, key=lambda i: (len(i), i))]
    while cut and sum(map(len, lines)) >= KEPT_MOST:
        lines.pop()
    if sum(map(len, lines)) >= KEPT_MOST:
        return False
    with open(kept_path(t), "w") as f:
        f.writelines(lines)
    return True


def put_kept(t, folder):
    if os.path.exists(kept_path(t)):
        with open(kept_path(t)) as f:
            for n, line in enumerate(f):
                put("%s/kept-%d" % (folder, n), base64.b64decode(line))


STATES = TOP + "/fuzz/corpus/campaigns.json"


def kept_states():
    if not os.path.exists(STATES):
        return {}
    with open(STATES) as f:
        return json.load(f)


def kept_state(t):
    """How far the campaign was whose corpus is kept; what is through stays so, as its corpus is not needed any more."""
    s = kept_states().get(t.name, {})
    return s if os.path.exists(kept_path(t)) or s.get("status") == "through" else {}


def keep_state(t, state):
    states = kept_states()
    states[t.name] = {k: round(v, 1) if isinstance(v, float) else v for k, v in state.items() if k not in ("files", "merged")}
    if "files" in state:
        states[t.name]["files"] = {"all": [sum(x) for x in zip(*state["files"].values())]}
    with open(STATES, "w") as f:
        json.dump(states, f, indent=1, sort_keys=True)
        f.write("\n")


def no_seeds(folder):
    put(folder + "/seed", bytes(64))


# --- the targets, the most used and the least proven first ---

def seeds_kept(name):
    """What stands in fuzz/corpus already."""
    def seeds(folder):
        with open(f"{TOP}/fuzz/corpus/{name}.b64") as f:
            for i, line in enumerate(f):
                put(os.path.join(folder, "kept-%d" % i), base64.b64decode(line))
    return seeds


def target(name, program, seeds, own, words=(), form=None, dictionary=None):
    """`own`: folders whose files are the target's own (or files); `words`: what libFuzzer is told."""
    return types.SimpleNamespace(name=name, program=program, seeds=seeds, own=own, words=list(words), form=form, dictionary=dictionary)


def device(name, *own, max_len=1500):
    def make(folder):
        for n, data in enumerate(device_seeds.seeds(name)):
            put("%s/seed-%d" % (folder, n), data)
    return target(name, "device", make, [os.path.normpath("dev/" + f) for f in own], ["-max_len=%d" % max_len], name)


def image(form, *own):
    return target(form, "image", seeds_image, ["block/fmt/" + form, *own], ["-max_len=512", "-len_control=20"], form)


def whole(form, *own):
    return target(form, "whole", seeds_whole(form), ["block/fmt/" + form, *own], ["-max_len=100000"], form)


VMDK_WORDS = "RW RDONLY NOACCESS FLAT SPARSE ZERO VMFS VMFSSPARSE CID= parentCID= parentFileNameHint= createType= version=".split()
TARGETS = [
    target("qcow2", "qcow2", seeds_qcow2, ["block/fmt/qcow2"], ["-max_len=66"]),
    target("nbd-server", "nbd_server", seeds_nbd("server"), ["nbd"], ["-max_len=4096"], dictionary="nbd"),
    target("nbd-client", "nbd_client", seeds_nbd("client"), ["block/proto/nbd"], ["-max_len=4096"], dictionary="nbd"),
    target("vmdk", "vmdk", seeds_vmdk, ["block/fmt/vmdk"], ["-max_len=1500", "-len_control=0"], dictionary="vmdk"),
    image("vhdx"), image("vdi"), image("vpc"), whole("qcow"), image("qed"), image("parallels"),
    image("luks", "block/crypt/luks.c", "block/crypt/luks_header.c", "block/crypt/luks_key.c"),
    whole("dmg"), whole("cloop"), whole("bochs"),
    target("vnc", "vnc", seeds_vnc, ["ui/vnc/" + f for f in ("client.c", "clipboard.c", "handshake.c", "message.c", "pixel.c", "pseudo.c", "squeeze.c",
                                                             "tight.c", "update.c", "websocket.c", "zrle.c")], ["-max_len=2000"]),
    target("mon", "mon", seeds_kept("mon"), ["mon/form.c", "mon/hmp.c", "mon/line.c", "mon/qmp.c", "mon/schema_check.c", "opt/raw.c"], ["-max_len=1000"],
           dictionary="mon"),
    target("state", "state", no_seeds, ["state/state.c"], ["-max_len=600"]),
    target("p9", "p9", no_seeds, ["share/" + f for f in ("attr.c", "attr_file.c", "attr_xattr.c", "p9.c", "p9_attr.c", "p9_fid.c", "p9_io.c", "p9_lock.c",
                                                      "p9_names.c", "p9_qid.c", "p9_walk.c", "p9_xattr.c", "tree.c")], ["-max_len=1500"]),
    target("virtq", "virtq", no_seeds, ["bus/virtio_queue.c", "bus/virtio_ring.c", "bus/virtio_packed.c", "bus/virtio_split.c", "bus/virtio_iov.c"], ["-max_len=600"]),
    device("e1000", "net/e1000.c", "net/e1000_rx.c", "net/e1000_tx.c", "net/microwire.c", "net/nic.c"),
    device("rtl8139", "net/rtl8139.c", "net/rtl8139_rx.c", "net/rtl8139_tx.c"),
    device("ahci", "ide/ahci.c", "ide/ahci_cmd.c", "ide/ahci_port.c", "ide/hd_queue.c"),
    device("ide", "ide/piix3_ide.c", "ide/bmdma.c", "ide/channel.c", "ide/hd.c", "ide/hd_identify.c", "ide/hd_io.c", "ide/atapi.c"),
    device("nvme", "nvme"),
    device("virtio-blk", "virtio/virtio_blk.c", "virtio/virtio_blk_req.c", "storage/front.c"),
    device("virtio-scsi", "virtio/virtio_scsi.c", "virtio/virtio_scsi_ctrl.c", "virtio/virtio_scsi_req.c", "scsi"),
    device("virtio-net", "virtio/virtio_net.c", "virtio/virtio_net_ctrl.c"),
    device("virtio-net-vhost", "virtio/virtio_net_vhost.c"),
    device("virtio-gpu", *("virtio/virtio_gpu%s.c" % part for part in ("", "_cmd", "_head", "_res", "_state"))),
    device("uhci", "usb/uhci.c", "usb/uhci_run.c", "usb/hid.c", "usb/hid_pointer.c", "usb/hub.c"),
    device("ehci", "usb/ehci.c", "usb/ehci_queue.c", "usb/ehci_run.c", "usb/storage.c", "usb/storage_dev.c"),
    device("xhci", *("usb/xhci%s.c" % part for part in ("", "_command", "_port", "_ring", "_state", "_transfer")), "usb/net.c", "usb/hid_kbd.c"),
    device("vga", *("display/vga%s.c" % part for part in ("", "_core", "_dispi", "_draw", "_memory", "_mmio", "_mode", "_pci", "_text"))),
    device("cirrus", *("display/cirrus%s.c" % part for part in ("", "_blt", "_cursor", "_memory"))),
    device("floppy", "floppy", "dma"),
    device("ps2", "input/i8042.c", "input/ps2.c"),
    device("serial", "char"),
    device("virtio-input", "virtio/virtio_input.c", "virtio/virtio_input_kinds.c", "input/pointer.c"),
    device("balloon", "virtio/virtio_balloon.c"),
    device("virtio-9p", "virtio/virtio_9p.c"),
    device("pc-platform", "intc", "timer", "rtc", "acpi/piix4_pm.c", "acpi/pm.c", "acpi/pcihp.c", "acpi/smbus.c", "misc/fw_cfg.c", "misc/port92.c", "misc/fperr.c",
           "pci/piix3.c", "pci/i440fx.c"),
    device("q35-platform", "pci/mch.c", "pci/ich9_lpc.c", "pci/bridges.c", "pci/shadow.c", "acpi/ich9_smbus.c", "../bus/pcie.c", "../bus/pcie_slot.c", "../bus/pci_bridge.c"),
    device("virtio-serial", "virtio/virtio_serial.c", "virtio/virtio_serial_port.c"),
    device("virtio-rng", "virtio/virtio_rng.c"),
    device("small-cards", "display/ramfb.c", "misc/i6300esb.c"),
    device("microvm", "../bus/virtio_mmio.c", "acpi/ged.c", "storage/cfi_flash.c"),
]


def dictionary(t, folder):
    if t.dictionary != "vmdk":
        return f"{TOP}/fuzz/{t.dictionary}.dict"
    path = folder + "/words"
    with open(path, "w") as f:
        f.writelines('"%s"\n' % w for w in VMDK_WORDS)
    return path
