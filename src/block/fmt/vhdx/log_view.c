/* A file as it were if a log had been replayed into it: a node between an image that is only read and its file. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "block/iov.h"

struct view {
    GArray *ops; /* in order: a later one counts */
    uint8_t *data;
};

static bool clip(const struct vhdx_op *op, uint64_t offset, uint64_t len, uint64_t *from, uint64_t *to)
{
    *from = MAX(op->at, offset);
    *to = MIN(op->at + op->len, offset + len);
    return *from < *to;
}

static int view_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    const struct view *w = n->state;
    int ret = viv_node_preadv(n->file, offset, iov, cnt, len);
    uint64_t from, to;

    for (guint i = 0; i < w->ops->len && !ret; i++) {
        const struct vhdx_op *op = &g_array_index(w->ops, struct vhdx_op, i);

        if (!clip(op, offset, len, &from, &to))
            continue;
        if (op->data)
            viv_iov_put(iov, cnt, from - offset, op->data + (from - op->at), to - from);
        else
            viv_iov_zero(iov, cnt, from - offset, to - from);
    }
    return ret;
}

static int view_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    const struct view *w = n->state;
    uint64_t from, to;

    for (guint i = 0; i < w->ops->len; i++) {
        if (!clip(&g_array_index(w->ops, struct vhdx_op, i), offset, len, &from, &to))
            continue;
        *out = (struct viv_extent){.kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true};
        return 0;
    }
    return viv_node_status_layer(n->file, offset, len, out);
}

static int view_close(struct viv_node *n)
{
    struct view *w = n->state;

    g_array_free(w->ops, TRUE);
    g_free(w->data);
    g_free(w);
    n->state = NULL;
    return 0;
}

static const struct viv_blk_driver view_driver = {
    .name = "vhdx-log",
    .protocol = true,
    .close = view_close,
    .preadv = view_preadv,
    .status = view_status,
};

struct viv_node *vhdx_view_new(struct viv_node *file, GArray *ops_take, uint8_t *data_take, uint64_t size)
{
    struct viv_node *n = viv_node_new(&view_driver, file->filename);
    struct view *w = g_new0(struct view, 1);

    w->ops = ops_take;
    w->data = data_take;
    n->state = w;
    n->size = size;
    n->file = file; /* with its count of parents: one in place of the image */
    n->parents = 1;
    n->read_only = true;
    n->zero_init = file->zero_init;
    return n;
}
