"""Input files of the workloads, the same bytes every time: data.py FOLDER

  text      4 MiB of words, as a log or source tree has them, for the compressors
  code.c    C, a function a line, for the compiler"""
import os
import random
import sys

r = random.Random(20)
WORDS = ["".join(r.choice("etaoinshrdlucmfwypvbgkqjxz"[:r.randint(8, 26)]) for _ in range(r.randint(2, 10)))
         for _ in range(3000)]


def text():
    out, size = [], 0
    while size < 4 << 20:
        line = "%08d %s: %s\n" % (r.randrange(10 ** 8), WORDS[int(r.paretovariate(0.9)) % 50],
                                  " ".join(WORDS[int(r.paretovariate(0.5)) % 3000] for _ in range(r.randint(3, 14))))
        out.append(line)
        size += len(line)
    return "".join(out)[:4 << 20]


def function(i):
    kind = i % 4
    a, b, c = r.randrange(3, 99), r.randrange(2, 31), r.randrange(1, 1000)
    if kind == 0:
        body = f"for (unsigned i = 0; i < n; i++) s += (v[i] ^ {a}u) * {b} + (s >> {b});"
    elif kind == 1:
        cases = " ".join(f"case {k}: s = s * {k + b} + n; break;" for k in range(12))
        body = f"for (unsigned i = 0; i < n; i++) switch (v[i] % {a}) {{ {cases} default: s ^= {c}; }}"
    elif kind == 2:
        body = (f"struct pair p = {{n, {c}}}; while (p.a > {b}) {{ p.a = p.a / 2 + p.b % 3; p.b = p.b * 5 + v[p.a % n]; "
                f"if (p.b & {a}) s += f{max(i - 1, 0)}(v, p.a % 4); }} s += p.a + p.b;")
    else:
        body = (f"for (unsigned i = 1; i < n; i++) for (unsigned j = i; j && v[j - 1] > v[j]; j--) "
                f"{{ unsigned t = v[j]; v[j] = v[j - 1]; v[j - 1] = t; s += {c}; }}")
    if i == 0:
        body = "s += v[0];"
    return f"unsigned f{i}(unsigned *v, unsigned n) {{ unsigned s = {c}; {body} return s; }}\n"


def code():
    return "struct pair { unsigned a, b; };\n" + "".join(function(i) for i in range(120))


for name, make in (("text", text), ("code.c", code)):
    with open(os.path.join(sys.argv[1], name), "w") as f:
        f.write(make())
