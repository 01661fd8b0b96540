#include "host/huge.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE /* Linux 6.1, newer than Debian 12's headers */
#define MADV_COLLAPSE 25
#endif

static uintptr_t up(uintptr_t a)
{
    return (a + VIV_HUGE_PAGE - 1) & ~(VIV_HUGE_PAGE - 1);
}

void *viv_huge_reserve(size_t size, size_t offset)
{
    size_t all = size + VIV_HUGE_PAGE;
    uint8_t *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *at;

    if (p == MAP_FAILED)
        return NULL;
    at = (uint8_t *)up((uintptr_t)p + offset) - offset;
    if (at > p)
        munmap(p, (size_t)(at - p));
    if (at + size < p + all)
        munmap(at + size, (size_t)(p + all - (at + size)));
    return at;
}

int viv_huge_make(void *p, size_t n)
{
    uintptr_t from = up((uintptr_t)p), to = ((uintptr_t)p + n) & ~(VIV_HUGE_PAGE - 1);

    if (from >= to)
        return 0;
    return madvise((void *)from, to - from, MADV_COLLAPSE) < 0 ? -errno : 0;
}
