/* What a file behind guest memory is known not to hold: looking at its holes would fill them. */
#ifndef VIV_MEM_HOLES_H
#define VIV_MEM_HOLES_H

#include "mem/ram.h"

/* The next bytes of the block's file, from byte `at` on, that can be anything but zeroes: [*from, *end), whole pages; both are the
 * block's size where there are none. Without a file, and where its file system does not tell (hugetlbfs): all of the rest. */
void viv_ram_next_data(const struct viv_ram *ram, uint64_t at, uint64_t *from, uint64_t *end);

#endif
