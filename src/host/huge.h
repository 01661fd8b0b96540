/* Huge pages for memory of our own that is hot and spread out: translated code and its tables. Any thread. */
#ifndef VIV_HOST_HUGE_H
#define VIV_HOST_HUGE_H

#include <stddef.h>

#define VIV_HUGE_PAGE ((size_t)2 << 20)

/* `size` bytes of address space with no access, `offset` bytes before a huge page's boundary; MAP_FIXED or mprotect() gives
 * it memory, munmap() of what was asked for gives it back. NULL: errno says why. */
void *viv_huge_reserve(size_t size, size_t offset);

/* Makes huge pages of all of [p, p + n) that is whole ones, now, whatever the host's settings say about waiting for it;
 * contents stay. Shared memory must have been touched. Negative errno: the host does not (nothing is lost). */
int viv_huge_make(void *p, size_t n);

#endif
