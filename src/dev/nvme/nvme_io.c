/* The NVM command set (NVMe 1.4, 6): read, write, flush, write zeroes, dataset management. */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"
#include "base/checked.h"

enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DATASET = 0x09 };
enum { RANGE_LEN = 16 };

void nvme_submit(struct nvme_req *r, enum viv_blk_op op, unsigned flags, uint64_t offset, uint64_t len)
{
    r->fr.br.op = op;
    r->fr.br.flags = flags;
    r->fr.br.offset = offset;
    r->fr.br.len = len;
    r->fr.br.iov = r->iov;
    r->fr.br.iovcnt = (int)r->pieces;
    viv_front_submit(&r->n->front, &r->fr);
}

static unsigned durable(const struct nvme_req *r)
{
    bool fua = r->cmd.bytes[51] & 0x40;

    return fua || !(r->n->features[NVME_F_CACHE] & 1) ? VIV_BLK_FUA : 0;
}

/* The blocks of a read, write or write zeroes; a status. */
static uint16_t blocks_of(const struct nvme_req *r, uint64_t *offset, uint64_t *len)
{
    const struct viv_front *f = &r->n->front;
    uint64_t lba = viv_ld_le64(r->cmd.bytes + 40), count = viv_ld_le16(r->cmd.bytes + 48) + 1u;

    if (!viv_range_inside(lba, count, viv_front_blocks(f)))
        return NVME_LBA_RANGE;
    *offset = lba * f->logical;
    *len = count * f->logical;
    return NVME_OK;
}

static uint16_t read_write(struct nvme_req *r, bool write)
{
    uint64_t offset, len;
    uint16_t status = blocks_of(r, &offset, &len);

    if (status)
        return status;
    if (len > NVME_DATA_MOST)
        return NVME_INVALID_FIELD;
    if (write && r->n->front.ro)
        return NVME_WRITE_PROTECTED;
    status = nvme_map(r, len, !write);
    if (status)
        return status;
    nvme_submit(r, write ? VIV_BLK_WRITE : VIV_BLK_READ, write ? durable(r) : 0, offset, len);
    return NVME_LATER;
}

static uint16_t write_zeroes(struct nvme_req *r)
{
    bool deallocate = r->cmd.bytes[51] & 2;
    uint64_t offset, len;
    uint16_t status = blocks_of(r, &offset, &len);

    if (status)
        return status;
    if (r->n->front.ro)
        return NVME_WRITE_PROTECTED;
    nvme_submit(r, VIV_BLK_WRITE_ZEROES, durable(r) | (deallocate ? VIV_BLK_UNMAP : 0u), offset, len);
    return NVME_LATER;
}

/* ---- dataset management (6.7): ranges one after the other ---- */

static uint64_t range_lba(const struct nvme_req *r, unsigned i)
{
    return viv_ld_le64(r->ranges + RANGE_LEN * i + 8);
}

static uint32_t range_count(const struct nvme_req *r, unsigned i)
{
    return viv_ld_le32(r->ranges + RANGE_LEN * i + 4);
}

/* True: the next one is on its way. */
static bool next_range(struct nvme_req *r)
{
    uint64_t block = r->n->front.logical;

    while (r->at < r->count) {
        unsigned i = r->at++;

        if (!range_count(r, i))
            continue;
        nvme_submit(r, VIV_BLK_DISCARD, 0, range_lba(r, i) * block, range_count(r, i) * block);
        return true;
    }
    return false;
}

static void range_done(struct nvme_req *r)
{
    if (!next_range(r))
        nvme_end(r, NVME_OK, 0);
}

static uint16_t dataset(struct nvme_req *r)
{
    uint16_t status;

    if (!(r->cmd.bytes[44] & 4)) /* hints without deallocation */
        return NVME_OK;
    if (r->n->front.ro)
        return NVME_WRITE_PROTECTED;
    r->at = 0;
    r->count = r->cmd.bytes[40] + 1u;
    r->ranges = g_malloc((size_t)RANGE_LEN * r->count);
    status = nvme_copy_in(r, r->ranges, (uint64_t)RANGE_LEN * r->count);
    if (status)
        return status;
    for (unsigned i = 0; i < r->count; i++) {
        if (!viv_range_inside(range_lba(r, i), range_count(r, i), viv_front_blocks(&r->n->front)))
            return NVME_LBA_RANGE;
    }
    r->then = range_done;
    return next_range(r) ? NVME_LATER : NVME_OK;
}

uint16_t nvme_io(struct nvme_req *r)
{
    uint8_t op = r->cmd.bytes[0];
    uint32_t ns = viv_ld_le32(r->cmd.bytes + 4);

    if (r->cmd.bytes[1] & 0xc3) /* fused, or by scatter-gather lists */
        return NVME_INVALID_FIELD;
    if (ns != 1 && !(op == FLUSH && ns == UINT32_MAX))
        return NVME_INVALID_NS;
    switch (op) {
    case FLUSH:
        nvme_submit(r, VIV_BLK_FLUSH, 0, 0, 0);
        return NVME_LATER;
    case WRITE:
    case READ:
        return read_write(r, op == WRITE);
    case WRITE_ZEROES:
        return write_zeroes(r);
    case DATASET:
        return dataset(r);
    default:
        return NVME_INVALID_OPCODE;
    }
}
