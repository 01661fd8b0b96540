/* Giving guest memory back to the host. */
#ifndef VIV_MEM_DISCARD_H
#define VIV_MEM_DISCARD_H

#include <stdint.h>

/* Drops the whole pages in [hva, hva+len), which is in one block: anonymous and shared ones read as zeroes from now on. Counts as
 * written. 0 or -errno: pages of a huge page file are dropped as such only. Any thread. */
int viv_ram_discard(void *hva, uint64_t len);

#endif
