/* Random numbers for tests: splitmix64, so that a seed names a case. */
#ifndef VIV_TESTS_X86_RND_H
#define VIV_TESTS_X86_RND_H

#include <stdint.h>

static inline uint64_t rnd(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15ull);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline unsigned below(uint64_t *s, unsigned n)
{
    return (unsigned)(rnd(s) % n);
}

#endif
