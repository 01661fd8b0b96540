/* What the workload programs share: one table of named kernels per program, a count argument, one line of output.
 *
 * Every kernel computes something that depends on all it did and returns it as 64 bits; the same number must come out on
 * every CPU. No kernel reads a clock, a random source or an address. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    const char *name;
    uint64_t (*run)(unsigned long count);
};

/* The same numbers everywhere (xorshift64*, Vigna 2016). */
static inline uint64_t work_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ull;
}

static inline void work_die(const char *what)
{
    perror(what);
    exit(1);
}

static inline void *work_alloc(size_t n)
{
    void *p = calloc(1, n);

    if (!p)
        work_die("calloc");
    return p;
}

/* main() of every program: PROGRAM NAME COUNT. */
static inline int work_main(const struct work *table, int argc, char **argv)
{
    char *end;
    unsigned long count = argc == 3 ? strtoul(argv[2], &end, 10) : 0;

    if (argc != 3 || *end || !count) {
        fprintf(stderr, "usage: %s NAME COUNT\n", argv[0]);
        return 2;
    }
    for (; table->name; table++) {
        if (!strcmp(table->name, argv[1])) {
            printf("%s %016llx\n", argv[1], (unsigned long long)table->run(count));
            return 0;
        }
    }
    fprintf(stderr, "%s: no workload '%s'\n", argv[0], argv[1]);
    return 2;
}
