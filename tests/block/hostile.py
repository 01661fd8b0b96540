"""Makers of hostile disk images, from sound ones: each gives a function that writes the image to a path. By the formats'
specifications. hostile_images.py has the images."""
import os
import struct
import subprocess
import sys

IMG = os.environ["VIV_IMG"].split()
MAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make_image.py")
U32, U64 = 0xffffffff, 0xffffffffffffffff


def be32(v):
    return struct.pack(">I", v & U32)


def be64(v):
    return struct.pack(">Q", v & U64)


def le32(v):
    return struct.pack("<I", v & U32)


def le64(v):
    return struct.pack("<Q", v & U64)


def tool(*words):
    subprocess.run([*IMG, *words], check=True, stdout=subprocess.DEVNULL)


def read(path):
    with open(path, "rb") as f:
        return bytearray(f.read())


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def disk(path, size=1 << 20):
    """A raw disk: text, then zeroes."""
    with open(path, "wb") as f:
        f.write(b"".join(b"%d\n" % i for i in range(20000))[:100000])
        f.truncate(size)


# --- sound images; each is made once ---

_sound = {}


def sound(fmt, opts="", packed=False):
    key = (fmt, opts, packed)
    if key not in _sound:
        path, raw = "sound.img", "sound.raw"
        disk(raw)
        if os.path.exists(path):
            os.unlink(path)
        if fmt in ("bochs", "cloop", "dmg"):
            subprocess.run([sys.executable, MAKE, fmt, raw, path, *opts.split()], check=True)
        elif fmt == "luks":
            tool("convert", "-f", "raw", "-O", "luks", "--object", "secret,id=s,data=word", "-o", "key-secret=s,iter-time=10", raw, path)
        else:
            tool("convert", *(["-c"] if packed else []), "-f", "raw", "-O", fmt, *(["-o", opts] if opts else []), raw, path)
        _sound[key] = read(path)
        os.unlink(path)
        os.unlink(raw)
    return bytearray(_sound[key])


def patched(fmt, *patches, opts="", packed=False, seal=None):
    """A sound image with bytes put into it: (offset from the start, or below 0 from the end; bytes)."""
    def make(path):
        data = sound(fmt, opts, packed)
        for at, new in patches:
            at += len(data) if at < 0 else 0
            data[at:at + len(new)] = new
        if seal:
            seal(data)
        write(path, data)
    return make


def entry(fmt, table_field, index, new, opts="", deeper=False):
    """Entry `index` of the table of big-endian 64-bit numbers whose offset the header has at `table_field`; or of the table that its
    first entry names."""
    def make(path):
        data = sound(fmt, opts)
        at = struct.unpack_from(">Q", data, table_field)[0]
        if deeper:
            at = struct.unpack_from(">Q", data, at)[0] & 0xfffffffffffe00
        data[at + 8 * index:at + 8 * index + 8] = be64(new)
        write(path, data)
    return make


# --- qcow2 ---

def qcow2_extension(kind, payload, length=None):
    """Another first header extension; the rest of the header's cluster follows it."""
    def make(path):
        data = sound("qcow2")
        body = be32(kind) + be32(len(payload) if length is None else length) + payload + bytes(-len(payload) % 8)
        data[112:65536] = (body + data[112:65536])[:65536 - 112]
        write(path, data)
    return make


def qcow2_backing(name, fmt=None, at=None, length=None):
    def make(path):
        data = sound("qcow2")
        where = 4096 if at is None else at
        data[8:16], data[16:20] = be64(where), be32(len(name) if length is None else length)
        data[4096:4096 + len(name)] = name
        if fmt:
            data[112:128 + 8] = be32(0xe2792aca) + be32(len(fmt)) + fmt.ljust(8, b"\0") + bytes(8)
        write(path, data)
    return make


def qcow2_data_file(name):
    def make(path):
        qcow2_extension(0x44415441, name)(path)
        data = read(path)
        data[72:80] = be64(4)
        write(path, data)
    return make


def qcow2_snapshot(at, new):
    """A snapshot whose table entry is changed."""
    def make(path):
        write(path, sound("qcow2"))
        tool("snapshot", "-c", "one", path)
        data = read(path)
        where = struct.unpack_from(">Q", data, 64)[0] + at
        data[where:where + len(new)] = new
        write(path, data)
    return make


def qcow2_bitmap(at, new, deeper=False):
    """A stored bitmap: bytes of the header's extension for it, or of its entry in the directory."""
    def make(path):
        write(path, sound("qcow2"))
        tool("bitmap", "--add", path, "b")
        data = read(path)
        ext = data.index(be32(0x23852875), 100, 4096)
        where = (struct.unpack_from(">Q", data, ext + 8 + 16)[0] if deeper else ext + 8) + at
        data[where:where + len(new)] = new
        write(path, data)
    return make


def nested_json(depth):
    text = b'{"driver":"raw","file":' * depth + b'{"driver":"null-co"}' + b"}" * depth
    return b"json:" + text


# --- sums ---

def crc32c(data):
    crc = U32
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ U32


def vhdx_seal(data, table=True):
    """Both headers, and the region table with its copy."""
    for at in (65536, 131072):
        data[at + 4:at + 8] = bytes(4)
        data[at + 4:at + 8] = le32(crc32c(data[at:at + 4096]))
    data[196608 + 4:196608 + 8] = bytes(4)
    data[196608 + 4:196608 + 8] = le32(crc32c(data[196608:262144]))
    data[262144:327680] = data[196608:262144]


def vhdx_meta(data):
    """Where the metadata region lies, and its items by the first byte of their GUIDs."""
    at, count = None, struct.unpack_from("<I", data, 196608 + 8)[0]
    for i in range(count):
        if data[196608 + 16 + 32 * i] == 0x06:
            at = struct.unpack_from("<Q", data, 196608 + 16 + 32 * i + 16)[0]
    items = {data[at + 32 + 32 * i]: at + struct.unpack_from("<I", data, at + 32 + 32 * i + 16)[0] for i in range(struct.unpack_from("<H", data, at + 10)[0])}
    return at, items


VHDX_FILE, VHDX_SIZE, VHDX_LOGICAL, VHDX_PHYSICAL = 0x37, 0x24, 0x1d, 0xc7


def vhdx_item(item, new, at=0):
    def make(path):
        data = sound("vhdx")
        where = vhdx_meta(data)[1][item] + at
        data[where:where + len(new)] = new
        write(path, data)
    return make


def vhdx_table(at, new):
    """Bytes of the metadata table."""
    def make(path):
        data = sound("vhdx")
        where = vhdx_meta(data)[0] + at
        data[where:where + len(new)] = new
        write(path, data)
    return make


def vhdx_log(length, tail, sequence=1, count=1):
    """A log of one entry, sound by its sum, that says what it says."""
    def make(path):
        data = sound("vhdx")
        log = struct.unpack_from("<Q", data, 65536 + 72)[0]
        e = bytearray(8192)
        e[0:32] = b"loge" + bytes(4) + le32(length) + le32(tail) + le64(sequence) + le32(count) + bytes(4)
        e[32:48] = b"0123456789abcdef"
        e[48:64] = le64(len(data)) * 2
        e[64:96] = b"zero" + bytes(4) + le64(U64 & ~4095) + le64(0) + le64(sequence)
        e[4:8] = le32(crc32c(e[:min(length, 8192) or 64]))
        data[log:log + 8192] = e
        for h in (65536, 131072):
            data[h + 48:h + 64] = b"0123456789abcdef"
        vhdx_seal(data)
        write(path, data)
    return make


def vpc_seal(data):
    def total(at, length, field):
        data[at + field:at + field + 4] = bytes(4)
        data[at + field:at + field + 4] = be32(~sum(data[at:at + length]))
    if len(data) > 4096:
        total(0, 512, 64)
        total(512, 1024, 36)
    total(len(data) - 512, 512, 64)


def vpc(*patches):
    """The footer and its copy are changed alike."""
    return patched("vpc", *[p for at, new in patches for p in ([(at, new), (at - 512, new)] if at < 512 else [(at, new)])], seal=vpc_seal)


# --- dmg ---

def dmg(table=None, **fields):
    """By the koly block's fields (offset from its start: bytes), or a chunk table (a function of the sound one)."""
    def make(path):
        data = sound("dmg", "parts=1 types=zlib table=rsrc seed=1")
        koly = len(data) - 512
        if table:
            fork_at = struct.unpack_from(">Q", data, koly + 40)[0]
            mish = data.index(b"mish", fork_at)
            table(data, mish)
        for at, new in fields.items():
            at = koly + int(at[2:])
            data[at:at + len(new)] = new
        write(path, data)
    return make


def chunk(at, new, which=0):
    def change(data, mish):
        where = mish + 204 + 40 * which + at
        data[where:where + len(new)] = new
    return change


# --- vmdk ---

HEAD = '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="%s"\n'


def descriptor(lines, kind="custom"):
    return lambda path: write(path, (HEAD % kind + lines).encode())


def many_extents(path):
    write(path, (HEAD % "custom" + "RW 1 ZERO\n" * 300000).encode())
