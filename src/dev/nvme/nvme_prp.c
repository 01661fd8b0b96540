/* A command's buffer in guest memory, as its physical region pages say (4.3). The lists are the guest's: each entry is read once and
 * checked, and each page of a list moves on by at least one page of data, so the walk is bounded by the command's length. */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"
#include "mem/dma.h"

#include <string.h>

static bool add(struct nvme_req *r, uint64_t gpa, uint64_t len, bool for_write)
{
    struct iovec *last = r->pieces ? &r->iov[r->pieces - 1] : NULL;
    struct viv_space *mem = r->n->pci.dev.board->mem;
    uint64_t got = len;
    uint8_t *hva = viv_dma_map(mem, gpa, &got, for_write);

    if (!hva)
        return false;
    if (got < len) {
        viv_dma_unmap(hva, got, 0);
        return false;
    }
    if (last && (uint8_t *)last->iov_base + last->iov_len == hva)
        last->iov_len += len;
    else
        r->iov[r->pieces++] = (struct iovec){hva, len};
    return true;
}

/* The pages after the first one, by lists. */
static uint16_t add_list(struct nvme_req *r, uint64_t list, uint64_t left, bool for_write)
{
    uint64_t page = nvme_page_size(r->n);
    uint8_t entries[8 * NVME_PIECES_MOST];

    if (list & 7)
        return NVME_PRP_OFFSET;
    for (;;) {
        uint64_t room = (page - (list & (page - 1))) / 8, need = (left + page - 1) / page;
        bool more = need > room; /* the last entry of the page is the next list */
        uint64_t n = more ? room : need;

        if (viv_dma_read(r->n->pci.dev.board->mem, list, entries, 8 * n) < 0)
            return NVME_DATA_TRANSFER;
        for (uint64_t i = 0; i < n - more; i++) {
            uint64_t at = viv_ld_le64(entries + 8 * i), part = left < page ? left : page;

            if (at & (page - 1))
                return NVME_PRP_OFFSET;
            if (!add(r, at, part, for_write))
                return NVME_DATA_TRANSFER;
            left -= part;
        }
        if (!more)
            return NVME_OK;
        list = viv_ld_le64(entries + 8 * (n - 1));
        if (list & (page - 1))
            return NVME_PRP_OFFSET;
    }
}

static uint16_t add_all(struct nvme_req *r, uint64_t len, bool for_write)
{
    uint64_t prp1 = viv_ld_le64(r->cmd.bytes + 24), prp2 = viv_ld_le64(r->cmd.bytes + 32), page = nvme_page_size(r->n);
    uint64_t first = page - (prp1 & (page - 1));

    if (prp1 & 3)
        return NVME_PRP_OFFSET;
    if (first > len)
        first = len;
    if (!add(r, prp1, first, for_write))
        return NVME_DATA_TRANSFER;
    len -= first;
    if (!len)
        return NVME_OK;
    if (len > page)
        return add_list(r, prp2, len, for_write);
    if (prp2 & (page - 1))
        return NVME_PRP_OFFSET;
    return add(r, prp2, len, for_write) ? NVME_OK : NVME_DATA_TRANSFER;
}

uint16_t nvme_map(struct nvme_req *r, uint64_t len, bool for_write)
{
    uint16_t status;

    g_assert(!r->pieces && len && len <= NVME_DATA_MOST);
    status = add_all(r, len, for_write);
    if (status)
        nvme_unmap(r, false);
    return status;
}

void nvme_unmap(struct nvme_req *r, bool written)
{
    for (unsigned i = 0; i < r->pieces; i++)
        viv_dma_unmap(r->iov[i].iov_base, r->iov[i].iov_len, written ? r->iov[i].iov_len : 0);
    r->pieces = 0;
}

uint16_t nvme_copy_out(struct nvme_req *r, const void *data, uint64_t len)
{
    uint16_t status = nvme_map(r, len, true);
    const uint8_t *from = data;

    for (unsigned i = 0; i < r->pieces; i++) {
        memcpy(r->iov[i].iov_base, from, r->iov[i].iov_len);
        from += r->iov[i].iov_len;
    }
    nvme_unmap(r, true);
    return status;
}

uint16_t nvme_copy_in(struct nvme_req *r, void *data, uint64_t len)
{
    uint16_t status = nvme_map(r, len, false);
    uint8_t *to = data;

    for (unsigned i = 0; i < r->pieces; i++) {
        memcpy(to, r->iov[i].iov_base, r->iov[i].iov_len);
        to += r->iov[i].iov_len;
    }
    nvme_unmap(r, false);
    return status;
}
