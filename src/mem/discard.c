#include "mem/discard.h"

#include "mem/ram.h"

#include <errno.h>
#include <sys/mman.h>

static const struct viv_ram *block_of(const uint8_t *hva)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        if (hva >= r->hva && hva < r->hva + r->size)
            return r;
    }
    return NULL;
}

/* A hole in the file behind a shared mapping: what is only unmapped there would come back. */
int viv_ram_discard(void *hva, uint64_t len)
{
    uintptr_t from = ((uintptr_t)hva + VIV_PAGE_SIZE - 1) & VIV_PAGE_MASK, to = ((uintptr_t)hva + len) & VIV_PAGE_MASK;
    const struct viv_ram *r = block_of(hva);

    if (to <= from || !r)
        return r ? 0 : -EINVAL;
    if (madvise((void *)from, to - from, r->fd < 0 ? MADV_DONTNEED : MADV_REMOVE) < 0)
        return -errno;
    viv_ram_written((void *)from, to - from);
    return 0;
}
