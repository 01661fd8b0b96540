/* raw: the file's bytes are the disk's. Sizes that are no multiple of 512 are rounded up, since no disk has such
 * a size; the missing bytes read as zeroes and the first write there makes them.
 *
 * `offset` and `size` make the disk a window into the file. With a size it is what it is: nothing outside is ever touched. */
#include "block/fmt/raw/raw.h"
#include "block/image.h"

#include "base/checked.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct raw {
    uint64_t offset;
    bool fixed; /* a size was given */
};

static uint64_t start_of(const struct viv_node *n)
{
    return ((const struct raw *)n->state)->offset;
}

static int find_window(struct viv_node *n, struct viv_opts *own, struct raw *r, uint64_t *size, struct viv_err *err)
{
    uint64_t file = viv_node_size(n->file), asked;

    r->offset = own ? viv_opts_size(own, "offset") : 0;
    r->fixed = own && viv_opts_given(own, "size");
    asked = r->fixed ? viv_opts_size(own, "size") : 0;
    if (r->offset > file)
        return viv_fail(err, EINVAL, "'%s': offset=%" PRIu64 " lies past the end of the file, which has %" PRIu64 " bytes", n->filename,
                        r->offset, file);
    if (!viv_is_aligned(asked, 512))
        return viv_fail(err, EINVAL, "'%s': size=%" PRIu64 " is not a multiple of 512", n->filename, asked);
    if (asked > file - r->offset)
        return viv_fail(err, EINVAL, "'%s': offset=%" PRIu64 " and size=%" PRIu64 " reach past the end of the file, which has %" PRIu64 " bytes",
                        n->filename, r->offset, asked, file);
    *size = asked;
    if (!r->fixed && !viv_align_up_checked(file - r->offset, 512, size))
        return viv_fail(err, EFBIG, "'%s' is too large", n->filename);
    return 0;
}

static int raw_open(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct raw r;
    uint64_t size = 0;
    int ret = find_window(n, o->own, &r, &size, err);

    if (ret)
        return ret;
    n->size = size;
    n->zero_init = n->file->zero_init;
    n->state = g_memdup2(&r, sizeof(r));
    return 0;
}

static int raw_close(struct viv_node *n)
{
    g_free(n->state);
    n->state = NULL;
    return 0;
}

static int raw_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    *out = (struct viv_extent){
        .kind = VIV_MAP_DATA, .len = len, .host = start_of(n) + offset, .allocated = true, .in_place = true};
    return 0;
}

static int raw_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    *out = (struct viv_alloc){.offset = offset, .len = len, .host = start_of(n) + offset};
    return 0;
}

static int raw_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    return viv_node_write_zeroes(n->file, start_of(n) + offset, len, flags);
}

static int raw_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return viv_node_discard(n->file, start_of(n) + offset, len);
}

static int raw_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                        struct viv_err *err)
{
    const struct raw *r = n->state;
    uint64_t end;
    int ret;

    if (r->fixed)
        return viv_fail(err, ENOTSUP, "'%s': Cannot resize fixed-size raw disks; without size= the disk ends where its file does", n->filename);
    if (prealloc == VIV_PREALLOC_METADATA)
        return viv_fail(err, EINVAL, "Unsupported preallocation mode: metadata");
    if (!viv_add_u64(r->offset, size, &end))
        return viv_fail(err, EFBIG, "'%s': no file can be that large", n->filename);
    ret = viv_node_truncate(n->file, end, prealloc, err);
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

/* What the file's source has to tell: the size of its objects. */
static void raw_info(struct viv_node *n, struct viv_img_info *info)
{
    if (n->file->drv->info && n->file->drv->protocol && !n->file->drv->filter)
        n->file->drv->info(n->file, info);
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
    {"offset", VIV_OPT_SIZE, "where in the file the disk begins", "0"},
    {"size", VIV_OPT_SIZE, "bytes of it that are the disk, a multiple of 512; otherwise all up to its end"},
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
    .info = raw_info,
};
