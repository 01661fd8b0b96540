/* Vector code that is chosen by the CPU it runs on, as libraries do: AVX2 and FMA where CPUID has them, else SSE2. Which
 * one ran is printed as "#variant NAME", outside the result. Inputs are small integers, so a sum is exact however it is
 * grouped or fused, and both variants give the same bits. Built with -O3. */
#include "work.h"
#include <immintrin.h>

enum { N = 128 };

static inline __attribute__((always_inline)) void
multiply(float (*restrict c)[N], float (*restrict a)[N], float (*restrict b)[N])
{
    memset(c, 0, sizeof(float[N][N]));
    for (unsigned i = 0; i < N; i++)
        for (unsigned k = 0; k < N; k++)
            for (unsigned j = 0; j < N; j++)
                c[i][j] += a[i][k] * b[k][j];
}

static __attribute__((target("avx2,fma"))) void multiply_avx2(float (*c)[N], float (*a)[N],
                                                              float (*b)[N])
{
    multiply(c, a, b);
}

static void multiply_sse2(float (*c)[N], float (*a)[N], float (*b)[N])
{
    multiply(c, a, b);
}

static uint64_t matmul(unsigned long count)
{
    static float a[N][N], b[N][N], c[N][N];
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    uint64_t sum = 0;

    printf("#variant %s\n", avx2 ? "avx2" : "sse2");
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            a[i][j] = (i * 3 + j) % 11;
            b[i][j] = (i + j * 5) % 13;
        }
    while (count--) {
        (avx2 ? multiply_avx2 : multiply_sse2)(c, a, b);
        a[count % N][count % 31] = count % 17;
        for (unsigned i = 0; i < N; i++)
            sum = sum * 31 + (uint64_t)c[i][count % N];
    }
    return sum;
}

/* Bytes to sums of absolute differences: video and image code. */
static inline __attribute__((always_inline)) uint64_t differ(const uint8_t *a, const uint8_t *b,
                                                             size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
    return sum;
}

static __attribute__((target("avx2"), noinline)) uint64_t differ_avx2(const uint8_t *a,
                                                                      const uint8_t *b, size_t n)
{
    return differ(a, b, n);
}

static __attribute__((noinline)) uint64_t differ_sse2(const uint8_t *a, const uint8_t *b, size_t n)
{
    return differ(a, b, n);
}

static uint64_t pixels(unsigned long count)
{
    enum { SIZE = 65536 };
    uint8_t *a = work_alloc(SIZE), *b = work_alloc(SIZE);
    int avx2 = __builtin_cpu_supports("avx2");
    uint64_t s = 8, sum = 0;

    printf("#variant %s\n", avx2 ? "avx2" : "sse2");
    for (unsigned i = 0; i < SIZE; i++) {
        a[i] = work_random(&s);
        b[i] = work_random(&s) >> 8;
    }
    while (count--) {
        a[count % SIZE] ^= count;
        sum = sum * 31 + (avx2 ? differ_avx2 : differ_sse2)(a, b, SIZE);
    }
    free(a);
    free(b);
    return sum;
}

/* glibc's vector string functions, whichever its resolver picks. Through pointers: the compiler knows their names. */
static uint64_t strings(unsigned long count)
{
    enum { SIZE = 32768 };
    size_t (*volatile len)(const char *) = strlen;
    void *(*volatile find)(const void *, int, size_t) = memchr;
    int (*volatile compare)(const void *, const void *, size_t) = memcmp;
    char *a = work_alloc(SIZE), *b = work_alloc(SIZE);
    uint64_t sum = 0;

    printf("#variant %s\n", __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
                                ? "evex"
                            : __builtin_cpu_supports("avx2") ? "avx2"
                                                             : "sse2");
    memset(a, 'x', SIZE - 1);
    memset(b, 'x', SIZE - 1);
    while (count--) {
        size_t at = SIZE - 2 - count % 999;

        a[at] = 'y';
        sum = sum * 31 + len(a + count % 63);
        sum = sum * 31 + (size_t)((char *)find(a, 'y', SIZE) - a);
        sum += compare(a, b, SIZE) > 0;
        a[at] = 'x';
    }
    free(a);
    free(b);
    return sum;
}

/* AVX-512: masked adds, compares into mask registers, and a permute. */
static __attribute__((target("avx512f,avx512bw,avx512vl"))) uint64_t
rounds_avx512(unsigned long count)
{
    enum { LANES = 4096 };
    uint32_t *v = aligned_alloc(64, LANES * sizeof(*v));
    uint64_t sum = 0;

    if (!v)
        work_die("aligned_alloc");
    for (unsigned i = 0; i < LANES; i++)
        v[i] = i * 2654435761u;
    while (count--) {
        __m512i step = _mm512_set1_epi32(0x9e3779b9 + (int)count);
        __m512i turn = _mm512_set_epi32(0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);

        for (unsigned i = 0; i < LANES; i += 16) {
            __m512i x = _mm512_load_si512(v + i);
            __mmask16 m = _mm512_cmpgt_epu32_mask(x, step);

            x = _mm512_mask_add_epi32(_mm512_rol_epi32(x, 5), m, x, step);
            x = _mm512_permutexvar_epi32(turn, x);
            sum += (unsigned)_cvtmask16_u32(m);
            _mm512_store_si512(v + i, x);
        }
    }
    for (unsigned i = 0; i < LANES; i++)
        sum = sum * 31 + v[i];
    free(v);
    return sum;
}

static uint64_t avx512(unsigned long count)
{
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl")) {
        printf("#unsupported this CPU has no AVX-512F, BW and VL\n");
        exit(0);
    }
    return rounds_avx512(count);
}

static const struct work table[] = {
    {"fmatmul", matmul}, {"pixels", pixels}, {"strlen", strings}, {"avx512", avx512}, {NULL, NULL},
};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
