/* What each request does. Ranges are checked here, against the export; then they count from the start of the disk. */
#include "nbd/server_int.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SPARSE_MIN 32768u /* shorter reads are not worth asking where the holes are */
#define HOLE_MIN   4096u
#define CACHE_STEP (1u << 20)

/* "It also SHOULD return NBD_EINVAL if it receives a request with a flag not documented as applicable". */
static const struct {
    uint16_t flags;
    bool writes, range;
} kinds[] = {
    [VIV_NBD_CMD_READ] = {VIV_NBD_CMD_FLAG_FUA | VIV_NBD_CMD_FLAG_DF, false, true},
    [VIV_NBD_CMD_WRITE] = {VIV_NBD_CMD_FLAG_FUA, true, true},
    [VIV_NBD_CMD_FLUSH] = {VIV_NBD_CMD_FLAG_FUA, false, false},
    [VIV_NBD_CMD_TRIM] = {VIV_NBD_CMD_FLAG_FUA, true, true},
    [VIV_NBD_CMD_CACHE] = {VIV_NBD_CMD_FLAG_FUA, false, true},
    [VIV_NBD_CMD_WRITE_ZEROES] = {VIV_NBD_CMD_FLAG_FUA | VIV_NBD_CMD_FLAG_NO_HOLE, true, true},
    [VIV_NBD_CMD_BLOCK_STATUS] = {VIV_NBD_CMD_FLAG_FUA | VIV_NBD_CMD_FLAG_REQ_ONE, false, true},
};

static int check(const struct viv_nbd_client *c, const struct viv_nbd_request *r)
{
    const struct viv_nbd_export *e = c->export;

    if (r->type >= G_N_ELEMENTS(kinds) || (r->flags & ~kinds[r->type].flags))
        return EINVAL;
    if ((r->flags & VIV_NBD_CMD_FLAG_DF) && !c->structured)
        return EINVAL;
    if (kinds[r->type].writes && !e->writable)
        return EPERM;
    if (kinds[r->type].range && !viv_range_inside(r->offset, r->len, e->size))
        return r->type == VIV_NBD_CMD_WRITE || r->type == VIV_NBD_CMD_WRITE_ZEROES ? ENOSPC : EINVAL;
    if (r->type == VIV_NBD_CMD_READ && r->len > VIV_NBD_MAX_PAYLOAD)
        return EINVAL;
    return 0;
}

/* --- reads --- */

/* How far what lies at `offset` is one piece: a hole that is worth it, or all up to the next one. */
static uint64_t piece_len(struct viv_nbd_client *c, uint64_t offset, uint64_t len, bool *hole)
{
    uint64_t done = 0;

    while (done < len) {
        struct viv_extent x;
        bool zero, raw;

        if (viv_nbd_status(c->export, offset + done, len - done, &x, &raw) || !x.len)
            break; /* data, as far as anybody knows */
        zero = x.kind == VIV_MAP_ZERO && (x.len >= HOLE_MIN || x.len == len - done);
        if (zero && !done) {
            *hole = true;
            return x.len;
        }
        if (zero)
            return done;
        done += x.len;
    }
    *hole = false;
    return done == 0 ? len : done;
}

static int send_hole(struct viv_nbd_client *c, const struct viv_nbd_request *r, uint64_t offset, uint32_t len, bool last)
{
    uint8_t head[12];

    viv_st_be64(head, offset);
    viv_st_be32(head + 8, len);
    return viv_nbd_reply_chunk(c, r, VIV_NBD_CHUNK_OFFSET_HOLE, last, head, sizeof(head), NULL, 0);
}

/* One chunk of data. *error: the image could not be read, nothing was sent. */
static int send_data(struct viv_nbd_client *c, struct viv_nbd_job *j, uint64_t offset, uint32_t len, bool last, int *error)
{
    uint8_t head[8];

    *error = -viv_blk_pread(c->export->blk, c->export->offset + offset, j->buf, len);
    if (*error)
        return 0;
    viv_st_be64(head, offset);
    return viv_nbd_reply_chunk(c, &j->r, VIV_NBD_CHUNK_OFFSET_DATA, last, head, sizeof(head), j->buf, len);
}

static int read_structured(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    bool sparse = j->r.len >= SPARSE_MIN && !(j->r.flags & VIV_NBD_CMD_FLAG_DF);
    uint64_t at = j->r.offset, left = j->r.len;
    int ret = 0, error = 0;

    if (!left)
        return viv_nbd_reply_result(c, &j->r, 0);
    while (left && !ret && !error) {
        bool hole = false;
        uint64_t len = sparse ? piece_len(c, c->export->offset + at, left, &hole) : left;

        ret = hole ? send_hole(c, &j->r, at, len, len == left) : send_data(c, j, at, len, len == left, &error);
        at += len;
        left -= len;
    }
    return error ? viv_nbd_reply_result(c, &j->r, error) : ret;
}

static int do_read(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    int error;

    if (c->structured)
        return read_structured(c, j);
    error = -viv_blk_pread(c->export->blk, c->export->offset + j->r.offset, j->buf, j->r.len);
    return viv_nbd_reply_simple(c, &j->r, error, j->buf, error ? 0 : j->r.len);
}

/* --- the others: errno --- */

/* A hint: as much as a read may be. */
static int do_cache(struct viv_nbd_client *c, const struct viv_nbd_request *r)
{
    uint64_t at = c->export->offset + r->offset, left = MIN(r->len, VIV_NBD_MAX_PAYLOAD);
    uint8_t *buf = g_try_malloc(CACHE_STEP);
    int ret = buf ? 0 : -ENOMEM;

    while (left && !ret) {
        uint64_t step = MIN(left, CACHE_STEP);

        ret = viv_blk_pread(c->export->blk, at, buf, step);
        at += step;
        left -= step;
    }
    g_free(buf);
    return -ret;
}

static int do_plain(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    const struct viv_nbd_request *r = &j->r;
    unsigned fua = r->flags & VIV_NBD_CMD_FLAG_FUA ? VIV_BLK_FUA : 0;
    unsigned unmap = r->flags & VIV_NBD_CMD_FLAG_NO_HOLE ? 0 : VIV_BLK_UNMAP;
    struct viv_blk *b = c->export->blk;
    uint64_t at = c->export->offset + r->offset;

    switch (r->type) {
    case VIV_NBD_CMD_WRITE:
        return -viv_blk_pwrite(b, at, j->buf, r->len, fua);
    case VIV_NBD_CMD_FLUSH:
        return -viv_blk_flush(b);
    case VIV_NBD_CMD_TRIM:
        return -viv_blk_pdiscard(b, at, r->len, fua);
    case VIV_NBD_CMD_WRITE_ZEROES:
        return -viv_blk_pwrite_zeroes(b, at, r->len, fua | unmap);
    case VIV_NBD_CMD_CACHE:
        return do_cache(c, r);
    }
    return EINVAL;
}

int viv_nbd_request(struct viv_nbd_client *c, struct viv_nbd_job *j)
{
    int error = check(c, &j->r);

    if (!error && j->r.type == VIV_NBD_CMD_READ)
        return do_read(c, j);
    if (!error && j->r.type == VIV_NBD_CMD_BLOCK_STATUS)
        return viv_nbd_block_status(c, &j->r);
    return viv_nbd_reply_result(c, &j->r, error ? error : do_plain(c, j));
}
