/* With us the two are one: what is asynchronous is above the nodes. */
#include "block/proto/null/null_co.h"
#include "block/iov.h"
#include "opt/opt.h"

#include <glib.h>

struct null {
    uint64_t latency_us;
    bool zeroes;
};

static const struct viv_opt_def null_opts[] = {
    {"size", VIV_OPT_SIZE, "of the disk", "1G"},
    {"latency-ns", VIV_OPT_INT, "how long each request takes", "0", .min = 0, .max = 10000000000},
    {"read-zeroes", VIV_OPT_BOOL, "reads give zeroes (they do so in any case), and map says so", "off"},
    VIV_OPT_END,
};

static int wait(const struct viv_node *n)
{
    const struct null *s = n->state;

    if (s->latency_us)
        g_usleep(s->latency_us);
    return 0;
}

static int null_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    /* Always zeroes: with read-zeroes=off others leave in the buffer what happened to be there. */
    viv_iov_zero(iov, cnt, 0, len);
    return wait(n);
}

static int null_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                        size_t len)
{
    return wait(n);
}

static int null_range(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return wait(n);
}

static int null_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return wait(n);
}

static int null_flush(struct viv_node *n)
{
    return wait(n);
}

static int null_status(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    const struct null *s = n->state;

    *out = (struct viv_extent){.kind = s->zeroes ? VIV_MAP_ZERO : VIV_MAP_DATA, .len = len, .host = offset, .in_place = true,
                               .allocated = true};
    return 0;
}

static int null_close(struct viv_node *n)
{
    g_free(n->state);
    n->state = NULL;
    return 0;
}

static int open_null(const struct viv_blk_driver *drv, const char *name, const struct viv_node_opts *o, struct viv_node **out)
{
    struct viv_node *n = viv_node_new(drv, name);
    struct null *s = n->state = g_new0(struct null, 1);

    n->size = viv_opts_size(o->own, "size");
    n->read_only = o->read_only;
    n->no_flush = o->no_flush;
    s->latency_us = (viv_opts_int(o->own, "latency-ns") + 999) / 1000;
    s->zeroes = viv_opts_bool(o->own, "read-zeroes");
    *out = n;
    return 0;
}

static int open_co(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    return open_null(&viv_blk_null_co, "null-co://", o, out);
}

static int open_aio(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    return open_null(&viv_blk_null_aio, "null-aio://", o, out);
}

#define DRIVER(title, opener)                                                                                          \
    {                                                                                                                  \
        .name = title, .protocol = true, .open_opts = null_opts, .open_source = opener, .close = null_close,           \
        .preadv = null_preadv, .pwritev = null_pwritev, .status = null_status, .discard = null_range,                  \
        .write_zeroes = null_write_zeroes, .flush = null_flush,                                                        \
    }

const struct viv_blk_driver viv_blk_null_co = DRIVER("null-co", open_co);
const struct viv_blk_driver viv_blk_null_aio = DRIVER("null-aio", open_aio);
