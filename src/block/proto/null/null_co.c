#include "block/proto/null/null_co.h"
#include "block/iov.h"

static int null_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    /* Always zeroes: with read-zeroes=off others leave in the buffer what happened to be there. */
    viv_iov_zero(iov, cnt, 0, len);
    return 0;
}

static int null_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t len)
{
    return 0;
}

static int null_range(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return 0;
}

static int null_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return 0;
}

static int null_flush(struct viv_node *n)
{
    return 0;
}

struct viv_node *viv_null_co_new(uint64_t size)
{
    struct viv_node *n = viv_node_new(&viv_blk_null_co, "null-co://");

    n->size = size;
    n->unmap = true;
    return n;
}

const struct viv_blk_driver viv_blk_null_co = {
    .name = "null-co",
    .protocol = true,
    .preadv = null_preadv,
    .pwritev = null_pwritev,
    .discard = null_range,
    .write_zeroes = null_write_zeroes,
    .flush = null_flush,
};
