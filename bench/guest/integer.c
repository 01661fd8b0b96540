/* Integer and memory kernels, built with -O2 and without vectorising: what ordinary compiled code does. */
#include "work.h"

static uint64_t sieve(unsigned long count)
{
    enum { N = 1000000 };
    uint8_t *composite = work_alloc(N);
    uint64_t sum = 0;

    while (count--) {
        memset(composite, 0, N);
        for (unsigned i = 2; i * i < N; i++)
            if (!composite[i])
                for (unsigned j = i * i; j < N; j += i)
                    composite[j] = 1;
        for (unsigned i = 2; i < N; i++)
            sum += composite[i] ? 0 : i ^ count;
    }
    free(composite);
    return sum;
}

/* A call and a return for a handful of instructions. noclone, noipa: GCC would unroll the recursion. */
static __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) uint64_t
fib_of(unsigned n)
{
    __asm__ volatile("" : "+r"(n));
    return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}

static uint64_t fib(unsigned long count)
{
    uint64_t sum = 0;

    while (count--)
        sum = sum * 3 + fib_of(27);
    return sum;
}

typedef uint64_t (*op_fn)(uint64_t, uint64_t);
#define OP(name, expr)                                                                             \
    static __attribute__((noinline)) uint64_t name(uint64_t a, uint64_t b)                         \
    {                                                                                              \
        return expr;                                                                               \
    }
OP(op_add, a + b)
OP(op_sub, a - b)
OP(op_xor, a ^ b)
OP(op_rol, (a << 7 | a >> 57) + b)
OP(op_mul, a *(b | 1))
OP(op_and, (a & b) + 1)
OP(op_or, (a | b) - 1)
OP(op_neg, b - a * 5)

/* What virtual methods and interpreters' dispatch do: a target that the last 64 do not tell. */
static uint64_t icall(unsigned long count)
{
    static const op_fn ops[] = {op_add, op_sub, op_xor, op_rol, op_mul, op_and, op_or, op_neg};
    uint64_t acc = 1, s = 88172645463325252ull;
    uint8_t program[4096];

    for (size_t i = 0; i < sizeof(program); i++)
        program[i] = work_random(&s) >> 61;
    while (count--)
        for (size_t i = 0; i < sizeof(program); i++)
            acc = ops[program[i]](acc, i + count);
    return acc;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t sort(unsigned long count)
{
    enum { N = 100000 };
    uint64_t *v = work_alloc(N * sizeof(*v)), s = 1234567, sum = 0;

    while (count--) {
        for (unsigned i = 0; i < N; i++)
            v[i] = work_random(&s);
        qsort(v, N, sizeof(*v), compare);
        for (unsigned i = 0; i < N; i += 997)
            sum = sum * 31 + v[i];
    }
    free(v);
    return sum;
}

/* Each load's address is the last one's result: one cycle through all of 4 MiB (Sattolo's shuffle). */
static uint64_t chase(unsigned long count)
{
    enum { N = 4 << 20 >> 3 };
    uint64_t *next = work_alloc(N * sizeof(*next)), s = 42, at = 0, sum = 0;

    for (unsigned i = 0; i < N; i++)
        next[i] = i;
    for (unsigned i = N - 1; i; i--) {
        unsigned j = work_random(&s) % i;
        uint64_t t = next[i];

        next[i] = next[j];
        next[j] = t;
    }
    while (count--)
        for (unsigned i = 0; i < 100000; i++)
            sum += at = next[at];
    free(next);
    return sum;
}

/* Independent loads all over 16 MiB, 4096 pages: misses a small TLB. */
static uint64_t loads(unsigned long count)
{
    enum { N = 16 << 20 >> 3 };
    uint64_t *v = work_alloc(N * sizeof(*v)), sum = 0, x = 1;

    for (unsigned i = 0; i < N; i++)
        v[i] = i * 0x9e3779b97f4a7c15ull;
    while (count--)
        for (unsigned i = 0; i < 100000; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            sum += v[x >> 43];
        }
    free(v);
    return sum;
}

/* Read, change, write in a cache-sized table: histograms, hash tables. */
static uint64_t stores(unsigned long count)
{
    enum { N = 65536 };
    uint32_t *v = work_alloc(N * sizeof(*v));
    uint64_t x = 1, sum = 0;

    while (count--)
        for (unsigned i = 0; i < 100000; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            v[x >> 48] += i;
        }
    for (unsigned i = 0; i < N; i++)
        sum = sum * 31 + v[i];
    free(v);
    return sum;
}

/* glibc's memcpy and memset, large (rep movsb or vectors) and small ones. */
static uint64_t copy(unsigned long count)
{
    enum { N = 1 << 20 };
    uint8_t *a = work_alloc(N), *b = work_alloc(N);
    uint64_t s = 99, sum = 0;

    for (unsigned i = 0; i < N; i++)
        a[i] = work_random(&s);
    while (count--) {
        memcpy(b, a, N);
        memset(a + (count * 4096) % N, (int)count, 4096);
        for (unsigned i = 0; i < 4000; i++) {
            size_t n = 8 + (i * 7) % 120, from = i * 61 % (N - 256), to = i * 131 % (N - 256);

            memcpy(b + to, a + from, n);
        }
        sum = sum * 31 + b[count * 8191 % N];
    }
    for (unsigned i = 0; i < N; i++)
        sum = sum * 31 + b[i];
    free(a);
    free(b);
    return sum;
}

/* The parts of the C library that go byte by byte, and its number conversions. */
static uint64_t text(unsigned long count)
{
    uint64_t sum = 0;
    char line[128], word[16];

    while (count--)
        for (unsigned i = 0; i < 2000; i++) {
            snprintf(line, sizeof(line), "%u,%s,%08lx,%d", i * 2654435761u, "name", count ^ i,
                     -(int)i);
            for (char *p = line, *save, *t; (t = strtok_r(p, ",", &save)); p = NULL) {
                sum = sum * 31 + strtoul(t, NULL, 16);
                sum += strlen(t) + (strcmp(t, "name") == 0);
            }
            snprintf(word, sizeof(word), "%u", i);
            sum += strtol(word, NULL, 10);
        }
    return sum;
}

/* Arithmetic that stays in registers: no memory, no calls. */
static uint64_t alu(unsigned long count)
{
    uint64_t a = 1, b = 2, c = 3;

    while (count--)
        for (unsigned i = 0; i < 100000; i++) {
            a += b ^ i;
            b = (b << 13 | b >> 51) - a;
            c += a > b ? i : c >> 3;
            __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c));
        }
    return a ^ b ^ c;
}

static const struct work table[] = {
    {"sieve", sieve}, {"fib", fib},     {"icall", icall},   {"qsort", sort},
    {"chase", chase}, {"loads", loads}, {"stores", stores}, {"memcpy", copy},
    {"text", text},   {"alu", alu},     {NULL, NULL},
};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
