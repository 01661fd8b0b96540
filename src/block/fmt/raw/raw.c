/* raw: the file's bytes are the disk's. Sizes that are no multiple of 512 are rounded up, since no disk has such
 * a size; the missing bytes read as zeroes and the first write there makes them. */
#include "block/fmt/raw/raw.h"
#include "block/image.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

static int raw_open(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    static char present; /* state must not be NULL; there is none */
    uint64_t size;

    if (!viv_align_up_checked(viv_node_size(n->file), 512, &size))
        return viv_fail(err, EFBIG, "'%s' is too large", n->filename);
    n->size = size;
    n->zero_init = n->file->zero_init;
    n->state = &present;
    return 0;
}

static int raw_close(struct viv_node *n)
{
    n->state = NULL;
    return 0;
}

static int raw_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    *out = (struct viv_extent){
        .kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true, .in_place = true};
    return 0;
}

static int raw_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    *out = (struct viv_alloc){.offset = offset, .len = len, .host = offset};
    return 0;
}

static int raw_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return viv_node_write_zeroes(n->file, offset, len, flags);
}

static int raw_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return viv_node_discard(n->file, offset, len);
}

static int raw_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                        struct viv_err *err)
{
    int ret;

    if (prealloc == VIV_PREALLOC_METADATA)
        return viv_fail(err, EINVAL, "Unsupported preallocation mode: metadata");
    ret = viv_node_truncate(n->file, size, prealloc, err);
    if (!ret)
        __atomic_store_n(&n->size, viv_align_down(size + 511, 512), __ATOMIC_RELEASE);
    return ret;
}

static int raw_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    /* A file that was there before: nothing of it may show through. */
    int ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);

    return ret ? ret : viv_node_truncate(file, c->size, c->prealloc, err);
}

static int raw_measure(const struct viv_create *c, struct viv_node *source, struct viv_measure *out, struct viv_err *err)
{
    out->required = out->full = viv_align_down(c->size + 511, 512);
    return 0;
}

static const char *const prealloc_values[] = {"off", "falloc", "full", NULL};
static const char *const off_values[] = {"off", NULL};

static const struct viv_opt_def create_opts[] = {
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode", NULL, prealloc_values},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", NULL, off_values},
    VIV_OPT_END,
};

static const char *const create_shown[] = {"size", "preallocation", NULL};

static const struct viv_opt_def open_opts[] = {
    {"offset", VIV_OPT_REFUSED, "not implemented yet"},
    {"size", VIV_OPT_REFUSED, "not implemented yet"},
    VIV_OPT_END,
};

const struct viv_blk_driver viv_blk_raw = {
    .name = "raw",
    .open_opts = open_opts,
    .open = raw_open,
    .close = raw_close,
    .map = raw_map,
    .alloc = raw_alloc,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .truncate = raw_truncate,
    .create = raw_create,
    .create_opts = create_opts,
    .create_shown = create_shown,
    .any_size = true,
    .measure = raw_measure,
};
