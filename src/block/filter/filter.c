#include "block/filter/filter.h"

#include <errno.h>
#include <glib.h>

void viv_filter_init(struct viv_node *n, void *state)
{
    n->state = state;
    n->size = viv_node_size(n->file);
    n->zero_init = n->file->zero_init;
}

static void follow_size(struct viv_node *n)
{
    __atomic_store_n(&n->size, viv_node_size(n->file), __ATOMIC_RELEASE);
}

int viv_filter_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return viv_node_preadv(n->file, offset, iov, cnt, len);
}

int viv_filter_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    int ret = viv_node_pwritev(n->file, offset, iov, cnt, len);

    follow_size(n);
    return ret;
}

int viv_filter_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t size = viv_node_size(n->file);
    int ret;

    if (offset >= size) {
        *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = len, .host = offset};
        return 0;
    }
    ret = viv_node_status(n->file, offset, MIN(len, size - offset), out);
    out->host = offset; /* here, not where it is below */
    out->where = NULL;
    if (out->kind == VIV_MAP_COMPRESSED)
        out->kind = VIV_MAP_DATA;
    return ret;
}

int viv_filter_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    int ret = viv_node_write_zeroes(n->file, offset, len, flags);

    follow_size(n);
    return ret == -EINVAL ? -ENOTSUP : ret; /* past the end of an image: as data, which makes it longer */
}

int viv_filter_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return viv_node_discard(n->file, offset, len);
}

int viv_filter_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    int ret = viv_node_truncate(n->file, size, prealloc, err);

    follow_size(n);
    return ret;
}

int viv_filter_close(struct viv_node *n)
{
    g_free(n->state);
    n->state = NULL;
    return 0;
}
