"""json, regular expressions, big integers, dictionaries, sorting, compression, threads, exceptions; all from one seed."""
import decimal
import hashlib
import json
import queue
import random
import re
import struct
import sys
import threading
import zlib
from fractions import Fraction

seed = int(sys.argv[1])
r = random.Random(seed)

tree = [{"id": i, "name": "n%x" % r.getrandbits(40), "v": [r.randrange(-9 ** 9, 9 ** 9) for _ in range(6)],
         "f": r.random() * 1e6, "s": {"ok": bool(i & 1), "t": None, "u": "\u00e4\u4e2d" * (i % 5)}} for i in range(3000)]
text = json.dumps(tree, sort_keys=True)
assert json.loads(text) == tree
print(hashlib.sha256(text.encode()).hexdigest())
print(len(re.findall(r'"n([0-9a-f]{2,})[02468ace]"', text)), re.sub(r"(\d)(\d)", r"\2\1", text[:4000])[-60:])
print(hashlib.md5("".join(re.split(r"[,:]\s*|\}", text)).encode()).hexdigest())

p = (1 << 521) - 1
x = seed + 3
for i in range(60):
    x = pow(x, 65537 + i, p) * (x + i) // 3 + (x >> 7)
print(x % p, str(3 ** (8000 + seed))[-50:])
print(sum((Fraction(1, i * i + seed) for i in range(1, 120)), Fraction(0)).denominator % 10 ** 20)
decimal.getcontext().prec = 120
print(decimal.Decimal(seed + 2).sqrt(), (decimal.Decimal(seed + 2) / 7).exp())

words = ["%06x" % r.getrandbits(24) for _ in range(60000)]
count = {}
for w in words:
    count[w[:3]] = count.get(w[:3], 0) + 1
print(sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:5], hashlib.sha1("".join(sorted(words)).encode()).hexdigest())
data = b"".join(struct.pack("<IhdQ", i, i % 30000 - 15000, i / 7, i * i) for i in range(20000))
packed = zlib.compress(data, 6)
assert zlib.decompress(packed) == data
print(zlib.crc32(packed), zlib.adler32(data))

q, results = queue.Queue(), []
lock = threading.Lock()


def worker():
    while (n := q.get()) is not None:
        try:
            if n % 7 == 0:
                raise ValueError(n)
            v = sum(i * i for i in range(n % 500))
        except ValueError as e:
            v = -e.args[0]
        with lock:
            results.append((n, v))


threads = [threading.Thread(target=worker) for _ in range(4)]
for t in threads:
    t.start()
for n in range(3000):
    q.put(n)
for t in threads:
    q.put(None)
for t in threads:
    t.join()
print(hashlib.sha256(repr(sorted(results)).encode()).hexdigest())
