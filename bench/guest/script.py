"""CPython at work: script.py COUNT. Objects, calls, dictionaries, lists, strings, generators, big integers."""
import sys


class Shape:
    def __init__(self, w, h):
        self.w, self.h = w, h

    def area(self):
        return self.w * self.h


class Square(Shape):
    def __init__(self, w):
        super().__init__(w, w)

    def area(self):
        return super().area() + 1


def objects():
    shapes = [Square(i % 7) if i % 3 else Shape(i, 2) for i in range(400)]
    return sum(s.area() for s in shapes)


def words():
    count = {}
    for i in range(1500):
        w = "w%d" % (i * i % 97)
        count[w] = count.get(w, 0) + len(w)
    return sum(v * (i + 1) for i, (k, v) in enumerate(sorted(count.items())))


def primes():
    found = []
    n = 2
    while len(found) < 150:
        if all(n % p for p in found if p * p <= n):
            found.append(n)
        n += 1
    return sum(found)


def queens(n, row=0, cols=0, left=0, right=0):
    if row == n:
        return 1
    total = 0
    free = ~(cols | left | right) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        total += queens(n, row + 1, cols | bit, (left | bit) << 1, (right | bit) >> 1)
    return total


def text():
    s = ",".join(str(i * 37 % 1001) for i in range(600))
    return sum(int(x) for x in s.split(",")) + len(s.replace("1", "one").upper())


def big():
    a, b = 0, 1
    for _ in range(600):
        a, b = b, a + b
    return a % 1000000007


def main():
    total = 0
    for i in range(int(sys.argv[1])):
        for f in (objects, words, primes, lambda: queens(6), text, big):
            total = (total * 31 + f()) % (1 << 61)
    print(total)


main()
