/* Floating point as compilers leave it (scalar SSE2, no vectorising) and by hand in SSE2. The operations are IEEE's
 * basic ones, so results are the same bits on every CPU. */
#include "work.h"
#include <emmintrin.h>
#include <math.h>

static uint64_t bits_of(double d)
{
    uint64_t u;

    memcpy(&u, &d, sizeof(u));
    return u;
}

static uint64_t matmul(unsigned long count)
{
    enum { N = 96 };
    static double a[N][N], b[N][N], c[N][N];
    double sum = 0;

    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            a[i][j] = 1.0 / (1 + i + j);
            b[i][j] = (double)i - j * 0.5;
        }
    while (count--) {
        for (unsigned i = 0; i < N; i++)
            for (unsigned j = 0; j < N; j++) {
                double s = 0;

                for (unsigned k = 0; k < N; k++)
                    s += a[i][k] * b[k][j];
                c[i][j] = s;
            }
        a[count % N][0] += 1e-9;
        sum += c[count % N][count % 7];
    }
    return bits_of(sum);
}

struct body {
    double p[3], v[3], mass;
};

static void pull(struct body *a, struct body *b, double dt)
{
    double d[3], r2 = 1e-3, m;

    for (unsigned k = 0; k < 3; k++) {
        d[k] = a->p[k] - b->p[k];
        r2 += d[k] * d[k];
    }
    m = dt / (r2 * sqrt(r2));
    for (unsigned k = 0; k < 3; k++) {
        a->v[k] -= d[k] * b->mass * m;
        b->v[k] += d[k] * a->mass * m;
    }
}

static uint64_t nbody(unsigned long count)
{
    struct body b[5];
    uint64_t s = 3, sum = 0;

    for (unsigned i = 0; i < 5; i++) {
        for (unsigned k = 0; k < 3; k++) {
            b[i].p[k] = (double)(work_random(&s) >> 40) / (1 << 20);
            b[i].v[k] = (double)(work_random(&s) >> 40) / (1 << 24);
        }
        b[i].mass = 1.0 + i;
    }
    while (count--) {
        for (unsigned n = 0; n < 1000; n++) {
            for (unsigned i = 0; i < 5; i++)
                for (unsigned j = i + 1; j < 5; j++)
                    pull(&b[i], &b[j], 0.001);
            for (unsigned i = 0; i < 5; i++)
                for (unsigned k = 0; k < 3; k++)
                    b[i].p[k] += 0.001 * b[i].v[k];
        }
        sum = sum * 31 + bits_of(b[count % 5].p[0]);
    }
    return sum;
}

/* Two points at a time until both have left the circle. */
static unsigned mandel_pair(__m128d cx, __m128d cy)
{
    __m128d x = _mm_setzero_pd(), y = x, four = _mm_set1_pd(4.0);
    __m128i n = _mm_setzero_si128();

    for (unsigned i = 0; i < 200; i++) {
        __m128d xx = _mm_mul_pd(x, x), yy = _mm_mul_pd(y, y);
        __m128d in = _mm_cmplt_pd(_mm_add_pd(xx, yy), four);

        if (!_mm_movemask_pd(in))
            break;
        n = _mm_sub_epi64(n, _mm_castpd_si128(in));
        y = _mm_add_pd(_mm_mul_pd(_mm_add_pd(x, x), y), cy);
        x = _mm_add_pd(_mm_sub_pd(xx, yy), cx);
    }
    return (unsigned)_mm_cvtsi128_si64(n) +
           3 * (unsigned)_mm_cvtsi128_si64(_mm_unpackhi_epi64(n, n));
}

static uint64_t mandelbrot(unsigned long count)
{
    enum { W = 128, H = 96 };
    uint64_t sum = 0;

    while (count--)
        for (unsigned j = 0; j < H; j++)
            for (unsigned i = 0; i < W; i += 2) {
                double x = -2.0 + 2.75 * i / W, dx = 2.75 / W;

                sum =
                    sum * 31 + mandel_pair(_mm_set_pd(x + dx, x), _mm_set1_pd(-1.2 + 2.4 * j / H));
            }
    return sum;
}

/* x87: extended precision, as long double and old programs use it. */
static uint64_t x87(unsigned long count)
{
    long double a = 1.0L, b = 0.5L;

    while (count--)
        for (unsigned i = 1; i <= 1000; i++) {
            a = a * 0.999L + b / i;
            b = sqrtl(a + b * b);
        }
    return bits_of((double)(a + b));
}

static const struct work table[] = {
    {"matmul", matmul}, {"nbody", nbody}, {"mandelbrot", mandelbrot}, {"x87", x87}, {NULL, NULL},
};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
