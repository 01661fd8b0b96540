"""patterns.py SEED SIZE [COUNT]: so many random writes for viv-io or qemu-io, in a disk of this size."""
import random
import sys

random.seed(int(sys.argv[1]))
size = int(sys.argv[2])
for _ in range(int((sys.argv[3:] or ["60"])[0])):
    off = random.randrange(size // 512) * 512
    n = min(random.randrange(1, 300) * 512, size - off)
    kind = random.choice(["-P %d" % random.randrange(256)] * 3 + ["-z", "-z -u"])
    print("write %s %d %d" % (kind, off, n))
