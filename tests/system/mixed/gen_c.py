"""Prints a C program made from a seed: integer, string, switch, struct and float code whose output is defined."""
import random
import sys

r = random.Random(int(sys.argv[1]))
out = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "#include <stdint.h>",
       "struct rec { uint32_t k; int16_t s; double d; char t[12]; };"]
OPS = ["+", "-", "*", "^", "&", "|"]


def expr(depth):
    if depth == 0:
        return r.choice(["a", "b", "c", f"{r.getrandbits(32)}u", "x[i & 63]", "r->k", "(uint32_t)r->s"])
    kind = r.randrange(8)
    l, m = expr(depth - 1), expr(depth - 1)
    if kind == 0:
        return f"({l} << ({m} & 31) | {l} >> (-({m}) & 31))"
    if kind == 1:
        return f"({l} / (({m}) | 1))"
    if kind == 2:
        return f"({l} % (({m}) | 1))"
    if kind == 3:
        return f"({l} < {m} ? {m} : {l})"
    if kind == 4:
        return f"(uint32_t)((uint64_t)({l}) * ({m}) >> 32)"
    return f"({l} {r.choice(OPS)} {m})"


for f in range(24):
    cases = "\n".join(f"    case {k}: c {r.choice(['+=', '^=', '-='])} {expr(2)}; break;" for k in range(r.randrange(4, 14)))
    out.append(f"""
static uint32_t f{f}(uint32_t a, uint32_t b, struct rec *r, uint32_t *x)
{{
    uint32_t c = {expr(1).replace('c', 'a').replace('x[i & 63]', 'a')};
    for (uint32_t i = 0; i < {r.randrange(20, 90)}; i++) {{
        switch ((a ^ c ^ i) % 16) {{
{cases}
        default: c = {expr(3)};
        }}
        a = {expr(2)};
        x[(i * {r.randrange(1, 63)}) & 63] += c;
        r->d = r->d * {r.randrange(1, 99)}.0 / {r.randrange(100, 199)}.0 + (double)(c & 0xffff);
        if ((c & 7) == {r.randrange(8)})
            snprintf(r->t, sizeof(r->t), "%x", c);
    }}
    r->k ^= c + (uint32_t)strlen(r->t);
    r->s += (int16_t)(c >> 5);
    return c ^ b;
}}""")
calls = "\n".join(f"        v ^= f{f}(v, n * {f + 1}u, &r[n & 7], x);" for f in range(24))
out.append(f"""
static int cmp(const void *p, const void *q)
{{
    uint32_t a = *(const uint32_t *)p, b = *(const uint32_t *)q;
    return a < b ? -1 : a > b;
}}
int main(int argc, char **argv)
{{
    static struct rec r[8];
    static uint32_t x[64], big[20000];
    uint32_t v = (uint32_t)atoi(argv[1]) * 2654435761u + 1;
    for (uint32_t n = 0; n < 300; n++) {{
{calls}
    }}
    for (int i = 0; i < 20000; i++)
        big[i] = v = v * 1664525u + 1013904223u + x[i & 63];
    qsort(big, 20000, sizeof(big[0]), cmp);
    for (int i = 0; i < 20000; i += 997)
        printf("%u\\n", big[i]);
    for (int i = 0; i < 8; i++)
        printf("%u %d %.17g %s\\n", r[i].k, r[i].s, r[i].d, r[i].t);
    return 0;
}}""")
print("\n".join(out))
