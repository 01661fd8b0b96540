#!/usr/bin/env python3
"""A front end of vhost-user-blk keeps a queue full of reads and writes while viv-storaged is killed again and again: the next process goes on
with what was under way. Every request is answered once, and each sector holds what was written there last: in a raw image, whose file has all that
was answered, and in a qcow2 one under a driver that knows no flush, so that tables are in the file too. VIV_STORAGED is the daemon."""
import array
import mmap
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

DAEMON = os.environ["VIV_STORAGED"]
KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
NUM = 64        # entries of the ring
SLOTS = 20      # requests at once, three entries each
BLOCK = 4096
BLOCKS = 1024
GUEST, USER = 0x40000000, 0x70000000
DESC, AVAIL, USED, DATA = 0, 0x1000, 0x2000, 0x10000
SLOT = 0x4000   # header, status, data
MEM = DATA + SLOTS * SLOT

(GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM, SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL) = (1, 2, 3, 5, 8, 9, 10, 11, 12, 13)
GET_PROTOCOL, SET_PROTOCOL, SET_ENABLE, GET_INFLIGHT, SET_INFLIGHT = 15, 16, 18, 31, 32
PROTOCOL, INFLIGHT, REPLY_ACK = 1 << 30, 1 << 12, 1 << 3
IN, OUT, FLUSH = 0, 1, 4


class Front:
    def __init__(self, rand, flush):
        self.rand, self.flush = rand, flush
        self.fd = os.memfd_create("ram")
        os.ftruncate(self.fd, MEM)
        self.mem = mmap.mmap(self.fd, MEM)
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.avail = self.used = 0
        self.busy = {}    # slot -> (kind, block, number)
        self.free = list(range(SLOTS))
        self.model = {}   # block -> number
        self.locked = set()
        self.number = self.answered = self.most = 0
        self.inflight = None

    def get16(self, at):
        return struct.unpack_from("<H", self.mem, at)[0]

    # --- messages ---

    def send(self, request, payload=b"", fds=(), answer=False):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.s.sendmsg([struct.pack("<III", request, 1 | (0 if answer else 8), len(payload)) + payload], anc)
        head, anc, _, _ = self.s.recvmsg(12, socket.CMSG_SPACE(16))
        if len(head) != 12:
            raise ConnectionResetError
        got, flags, size = struct.unpack("<III", head)
        body = b""
        while len(body) < size:
            body += self.s.recv(size - len(body))
        if got != request or flags != 5:
            sys.exit(f"request {request}: an answer to {got} with flags {flags}")
        if not answer and struct.unpack("<Q", body)[0]:
            sys.exit(f"request {request} failed")
        fds = array.array("i")
        for _, _, data in anc:
            fds.frombytes(data)
        return body, list(fds)

    def connect(self, first):
        self.s = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 20
        while True:
            try:
                self.s.connect("v")
                break
            except OSError:
                if time.monotonic() > end:
                    sys.exit("the daemon does not come up")
                time.sleep(0.01)
        self.s.settimeout(20)
        features = struct.unpack("<Q", self.send(GET_FEATURES, answer=True)[0])[0]
        protocol = struct.unpack("<Q", self.send(GET_PROTOCOL, answer=True)[0])[0]
        if not protocol & INFLIGHT:
            sys.exit("INFLIGHT_SHMFD is not offered")
        # From here on each message is acknowledged.
        self.s.sendmsg([struct.pack("<IIIQ", SET_PROTOCOL, 1, 8, INFLIGHT | REPLY_ACK)])
        self.send(SET_FEATURES, struct.pack("<Q", features & (PROTOCOL | 1 << 32 | self.flush << 9)))
        if first:
            # With the padding of QEMU's front end, which takes no answer of another length.
            body, fds = self.send(GET_INFLIGHT, struct.pack("<QQHH4x", 0, 0, 1, NUM), answer=True)
            if len(body) != 24:
                sys.exit(f"the answer to GET_INFLIGHT_FD has {len(body)} bytes, not 24")
            self.inflight = (*struct.unpack("<QQ", body[:16]), fds[0])
        size, offset, fd = self.inflight
        self.send(SET_INFLIGHT, struct.pack("<QQHH4x", size, offset, 1, NUM), [fd])
        self.send(SET_MEM, struct.pack("<IIQQQQ", 1, 0, GUEST, MEM, USER, 0), [self.fd])
        self.send(SET_NUM, struct.pack("<II", 0, NUM))
        self.send(SET_BASE, struct.pack("<II", 0, self.get16(USED + 2)))
        self.send(SET_ADDR, struct.pack("<IIQQQQ", 0, 0, USER + DESC, USER + USED, USER + AVAIL, 0))
        self.send(SET_CALL, struct.pack("<Q", 0), [self.call])
        self.send(SET_KICK, struct.pack("<Q", 0), [self.kick])
        self.send(SET_ENABLE, struct.pack("<II", 0, 1))

    # --- requests ---

    def put(self, slot, i, at, size, flags, follow):
        struct.pack_into("<QIHH", self.mem, DESC + 16 * (3 * slot + i), GUEST + at, size, flags | (1 if follow else 0), 3 * slot + i + 1)

    def start(self, slot):
        kind = self.rand.choice((IN, OUT, OUT, FLUSH))
        block = self.rand.randrange(BLOCKS)
        if kind != FLUSH and block in self.locked: # what two at once leave is for nobody to say
            kind = FLUSH
        base = DATA + slot * SLOT
        self.number += kind == OUT
        struct.pack_into("<IIQ", self.mem, base, kind, 0, block * BLOCK // 512)
        self.mem[base + 16] = 0xee
        self.put(slot, 0, base, 16, 0, True)
        if kind == FLUSH:
            self.put(slot, 1, base + 16, 1, 2, False)
        else:
            data = base + 0x1000
            self.mem[data:data + BLOCK] = struct.pack("<Q", self.number) * (BLOCK // 8) if kind == OUT else b"\xdd" * BLOCK
            self.put(slot, 1, data, BLOCK, 2 if kind == IN else 0, True)
            self.put(slot, 2, base + 16, 1, 2, False)
            self.locked.add(block)
        self.busy[slot] = (kind, block, self.number)
        struct.pack_into("<H", self.mem, AVAIL + 4 + 2 * (self.avail % NUM), 3 * slot)
        self.avail = (self.avail + 1) & 0xffff
        struct.pack_into("<H", self.mem, AVAIL + 2, self.avail)

    def fill(self):
        while self.free:
            self.start(self.free.pop())
        self.most = max(self.most, len(self.busy))
        os.eventfd_write(self.kick, 1)

    def reap(self):
        while self.used != self.get16(USED + 2):
            head, = struct.unpack_from("<I", self.mem, USED + 4 + 8 * (self.used % NUM))
            self.used = (self.used + 1) & 0xffff
            slot = head // 3
            if slot not in self.busy:
                sys.exit(f"request {head} was answered twice, or never asked for")
            kind, block, number = self.busy.pop(slot)
            base = DATA + slot * SLOT
            if self.mem[base + 16]:
                sys.exit(f"request of kind {kind} for block {block}: status {self.mem[base + 16]}")
            if kind == IN:
                want = struct.pack("<Q", self.model.get(block, 0)) * (BLOCK // 8)
                if self.mem[base + 0x1000:base + 0x1000 + BLOCK] != want:
                    sys.exit(f"block {block} does not hold what was written there")
            if kind == OUT:
                self.model[block] = number
            if kind != FLUSH:
                self.locked.discard(block)
            self.free.append(slot)
            self.answered += 1

    def work(self, seconds, refill=True):
        """Until then, or until nothing is under way."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (refill or self.busy):
            if refill:
                self.fill()
            if select.select([self.call], [], [], 0.02)[0]:
                os.eventfd_read(self.call)
            self.reap()


def daemon(image, format):
    # The limit keeps requests under way for long enough to be killed there.
    return subprocess.Popen([DAEMON, "--object", "throttle-group,id=g,limits.iops-total=3000,limits.iops-total-max=3000",
                             "--blockdev", f"driver={format},node-name=image,file.driver=file,file.filename={image}",
                             "--blockdev", "driver=throttle,node-name=slow,throttle-group=g,file=image",
                             "--blockdev", "driver=raw,node-name=disk,file=slow",
                             "--export", "vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=v,writable=on"])


def run(format, rand):
    with tempfile.TemporaryDirectory(prefix="viv-inflight-") as work:
        os.chdir(work)
        subprocess.run(["qemu-img", "create", "-q", "-f", format, "d", str(BLOCK * BLOCKS)], check=True)
        f, cut = Front(rand, format == "raw"), 0
        p = daemon("d", format)
        f.connect(True)
        for _ in range(KILLS):
            f.work(rand.uniform(0.02, 0.3))
            p.send_signal(signal.SIGKILL)
            p.wait()
            f.s.close()
            f.reap() # what it gave back before the end
            cut += len(f.busy)
            os.unlink("v")
            p = daemon("d", format)
            f.connect(False)
        f.work(30, refill=False)
        if f.busy:
            sys.exit(f"{len(f.busy)} requests were never answered: {f.busy}")
        body, _ = f.send(GET_BASE, struct.pack("<II", 0, 0), answer=True)
        if struct.unpack("<II", body)[1] != f.avail:
            sys.exit(f"the ring stands at {struct.unpack('<II', body)[1]}, not at {f.avail}")
        f.s.close()
        p.terminate()
        if p.wait() != 0:
            sys.exit("the daemon ended with an error")
        if format != "raw" and subprocess.run(["qemu-img", "check", "-q", "d"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode not in (0, 3): # clusters that a kill leaked
            sys.exit("the image is damaged")
        subprocess.run(["qemu-img", "convert", "-f", format, "-O", "raw", "d", "d.raw"], check=True)
        with open("d.raw", "rb") as raw:
            for block in range(BLOCKS):
                if raw.read(BLOCK) != struct.pack("<Q", f.model.get(block, 0)) * (BLOCK // 8):
                    sys.exit(f"block {block} of the image does not hold what was written there")
        os.chdir("/")
    if not cut:
        sys.exit("nothing was under way at any kill")
    print(f"{format}: {KILLS} kills with {cut} requests under way; {f.answered} answered, each once, nothing lost")


def main():
    for format in ("raw", "qcow2"):
        run(format, random.Random(SEED))


main()
