#include "cmd/img_pack.h"

#include "base/checked.h"
#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define IMG_PACK_GRANULE_MAX (2u << 20)

struct piece {
    size_t len; /* packed; 0: write it as it is */
    uint8_t *packed;
};

struct img_packer {
    struct viv_node *target;
    struct piece *piece;
    unsigned pieces; /* of the chunk at `start` */
    uint64_t start;
    bool one_step; /* the driver compresses when it writes */
    uint8_t *room;
};

struct img_packer *img_packer_new(struct viv_node *target, size_t chunk)
{
    size_t count = chunk / target->granule + 2;
    struct img_packer *p = g_new0(struct img_packer, 1);

    p->target = target;
    p->piece = g_new0(struct piece, count);
    p->room = g_try_malloc_n(count, target->granule);
    if (!p->room) {
        img_packer_free(p);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        p->piece[i].packed = p->room + i * target->granule;
    return p;
}

void img_packer_free(struct img_packer *p)
{
    if (!p)
        return;
    g_free(p->room);
    g_free(p->piece);
    g_free(p);
}

int img_packer_check(struct viv_node *target, struct viv_err *err)
{
    g_autofree uint8_t *zero = NULL, *out = NULL;
    size_t len = target->granule;
    int ret = -ENOTSUP;

    if (target->crypt)
        return viv_fail(err, ENOTSUP, "Compression and encryption not supported at the same time");
    if (target->drv->write_compressed)
        return 0;
    if (!target->drv->pack)
        return viv_fail(err, ENOTSUP, "Compression not supported for this file format");
    if (target->granule <= IMG_PACK_GRANULE_MAX) {
        zero = g_try_malloc0(len);
        out = g_try_malloc(len);
        ret = zero && out ? viv_node_pack(target, zero, len, out, &len) : -ENOMEM;
    }
    return ret == -ENOTSUP ? viv_fail(err, ENOTSUP, "'%s' cannot hold compressed clusters: its data lies in a file of its own",
                                      target->filename)
           : ret && ret != -E2BIG ? viv_fail_os(err, -ret, "Compression for '%s'", target->filename)
                 : 0;
}

/* The length of the whole cluster at `offset` when `len` bytes hold it (the disk's last may be short); 0: they do not. */
static size_t whole_cluster(const struct img_packer *p, uint64_t offset, size_t len)
{
    uint64_t want = MIN(p->target->granule, viv_node_size(p->target) - offset);

    return viv_is_aligned(offset, p->target->granule) && len >= want ? want : 0;
}

/* To the next cluster's start, or the end. */
static size_t step_of(const struct img_packer *p, uint64_t offset, size_t len)
{
    return MIN(len, p->target->granule - (offset & (p->target->granule - 1)));
}

static int pack_piece(struct img_packer *p, struct piece *piece, const uint8_t *data, size_t len)
{
    int ret;

    piece->len = p->target->granule;
    ret = viv_node_pack(p->target, data, len, piece->packed, &piece->len);
    if (ret)
        piece->len = 0;
    p->one_step = ret == -ENOTSUP;
    return ret == -E2BIG || ret == -ENOTSUP ? 0 : ret;
}

int img_packer_pack(struct img_packer *p, uint64_t offset, const uint8_t *data, const uint8_t *old, size_t len, bool sparse)
{
    size_t step;
    int ret = 0;

    p->pieces = 0;
    p->start = viv_align_down(offset, p->target->granule);
    for (size_t at = 0; at < len && !ret && !p->one_step; at += step) {
        struct piece *piece = &p->piece[p->pieces++];
        size_t whole = whole_cluster(p, offset + at, len - at);

        step = step_of(p, offset + at, len - at);
        piece->len = 0;
        if (!whole || (old && memcmp(data + at, old + at, whole) == 0) || (sparse && viv_buf_is_zero(data + at, whole)))
            continue;
        ret = pack_piece(p, piece, data + at, whole);
    }
    return ret;
}

int img_packer_write(struct img_packer *p, uint64_t offset, const uint8_t *data, size_t len)
{
    size_t step;
    int ret = 0;

    for (; len && !ret; offset += step, data += step, len -= step) {
        size_t index = (offset - p->start) / p->target->granule;
        bool whole = whole_cluster(p, offset, len);

        step = step_of(p, offset, len);
        if (p->one_step && whole)
            ret = viv_node_write_compressed(p->target, offset, data, step);
        else if (whole && index < p->pieces && p->piece[index].len)
            ret = viv_node_write_packed(p->target, offset, p->piece[index].packed, p->piece[index].len);
        else
            ret = viv_node_pwrite(p->target, offset, data, step);
        if (ret == -E2BIG)
            ret = viv_node_pwrite(p->target, offset, data, step);
    }
    return ret;
}
