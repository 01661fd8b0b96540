/* Arithmetic that the compiler turns into AVX-512, in several processes that preempt each other; each must always get
 * what the first one got. Prints a line that depends on the results: natively and in the guest it has to be the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 4096
static float a[N], b[N], c[N];
static uint8_t bytes[16 * N];

static double real(void)
{
    double sum = 0;

    memset(c, 0, sizeof(c));
    for (int n = 0; n < N; n++) {
        a[n] = (float)n * 0.37f + 3;
        b[n] = 1.0f / (float)(n + 4);
    }
    for (int r = 0; r < 20; r++) {
        for (int n = 0; n < N; n++) {
            c[n] = a[n] * b[n] + c[n] * 0.5f;
            if (c[n] > 3)
                c[n] = __builtin_sqrtf(c[n]);
        }
    }
    for (int n = 0; n < N; n++)
        sum += c[n];
    return sum;
}

static uint64_t integer(void)
{
    unsigned count[16] = {0};
    uint64_t h = 5, sum = 0;

    for (int n = 0; n < 16 * N; n++)
        bytes[n] = (uint8_t)((n * 5 + 7) ^ (n >> 3));
    for (int n = 0; n < 16 * N; n++)
        count[bytes[n] & 15]++;
    for (int n = 0; n < 16 * N; n++)
        bytes[n] = (uint8_t)(bytes[n] > 100 ? bytes[n] - 33 : bytes[n] * 3);
    for (int n = 0; n < 16 * N; n++)
        sum += bytes[n] * (uint64_t)n;
    for (int n = 0; n < 16; n++)
        h = h * 31 + count[n];
    return h ^ sum;
}

int main(int argc, char **argv)
{
    int workers = argc > 1 ? atoi(argv[1]) : 3, rounds = argc > 2 ? atoi(argv[2]) : 6, wrong = 0, status;
    double f = real();
    uint64_t i = integer();

    for (int w = 0; w < workers; w++) {
        if (fork())
            continue;
        for (int r = 0; r < rounds; r++) {
            if (real() != f || integer() != i)
                _exit(1);
        }
        _exit(0);
    }
    while (wait(&status) > 0)
        wrong += status != 0;
    printf("avx512 %.9g %016lx wrong %d\n", f, (unsigned long)i, wrong);
    return wrong;
}
