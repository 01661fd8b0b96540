/* One chunk of a copy: read and looked through before its turn, written in its turn, or copied by the host. */
#include "cmd/img_copy_int.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/iov.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int write_zero(struct img_copier *k, uint64_t offset, uint64_t len)
{
    uint64_t at = k->c->target_offset + offset;
    int ret = 0;

    if (k->c->compare) /* what the target shows now is not what it will show */
        return viv_node_write_zeroes(k->c->target, at, len, VIV_BLK_UNMAP);
    /* Unwritten parts read as zeroes already, unless a backing file shows there. */
    if (k->c->target_zero && at >= k->backing_end)
        return 0;
    for (struct viv_extent e; len && !ret; at += e.len, len -= e.len) {
        ret = viv_node_status(k->c->target, at, len, &e);
        if (!ret && e.kind != VIV_MAP_ZERO)
            ret = viv_node_write_zeroes(k->c->target, at, e.len, VIV_BLK_UNMAP);
    }
    return ret;
}

enum piece { PIECE_SAME, PIECE_ZERO, PIECE_DATA };

static enum piece judge(struct img_copier *k, const uint8_t *data, const uint8_t *old, uint64_t at,
                        uint64_t n)
{
    if (old && memcmp(data + at, old + at, n) == 0)
        return PIECE_SAME;
    return k->c->sparse && viv_buf_is_zero(data + at, n) ? PIECE_ZERO : PIECE_DATA;
}

struct turn {
    struct img_copier *k;
    struct img_chunk *ch;
};

static void placed(void *opaque)
{
    struct turn *t = opaque;

    img_copy_placed(t->k, t->ch);
}

/* The bytes from `at` on of a chunk. Once its last ones have their place, the next chunk's turn comes. */
static int write_data(struct img_copier *k, struct img_chunk *ch, const struct img_chunk_buffers *b, uint64_t at, uint64_t len)
{
    uint64_t offset = k->c->target_offset + ch->offset + at;
    struct turn t = {k, ch};

    if (b->packer)
        return img_packer_write(b->packer, offset, b->data + at, len);
    if (at + len < ch->len)
        return viv_node_pwrite(k->c->target, offset, b->data + at, len);
    return viv_node_pwrite_placed(k->c->target, offset, b->data + at, len, placed, &t);
}

/* From `at` on to the end of its piece. */
static uint64_t piece_len(const struct img_copier *k, const struct img_chunk *ch, uint64_t at)
{
    return MIN(ch->len - at, k->unit - (k->c->target_offset + ch->offset + at) % k->unit);
}

static void judge_pieces(struct img_copier *k, const struct img_chunk *ch, const struct img_chunk_buffers *b)
{
    uint8_t *kind = b->kind;

    for (uint64_t at = 0, n; at < ch->len; at += n) {
        n = piece_len(k, ch, at);
        *kind++ = judge(k, b->data, b->old, at, n);
    }
}

/* Writes a chunk in runs of pieces of one kind. */
static int write_pieces(struct img_copier *k, struct img_chunk *ch, const struct img_chunk_buffers *b)
{
    const uint8_t *kind = b->kind;
    uint64_t at = 0;
    int ret = 0;

    while (at < ch->len && !ret) {
        enum piece run = *kind;
        uint64_t end = at;

        for (; end < ch->len && *kind == run; kind++)
            end += piece_len(k, ch, end);
        if (run == PIECE_ZERO)
            ret = write_zero(k, ch->offset + at, end - at);
        else if (run == PIECE_DATA)
            ret = write_data(k, ch, b, at, end - at);
        at = end;
    }
    return ret ? ret : k->c->writethrough ? viv_node_flush(k->c->target) : 0;
}

/* What the target shows there now, or will: a backing file's bytes, zeroes past its end. */
static int read_old(struct img_copier *k, const struct img_chunk *ch, uint8_t *old)
{
    struct viv_node *n = k->c->compare ? k->c->like : k->c->target;
    uint64_t at = k->c->target_offset + ch->offset, size = n ? viv_node_size(n) : 0;
    uint64_t there = at < size ? MIN(ch->len, size - at) : 0;

    memset(old + there, 0, ch->len - there);
    return there ? viv_node_pread(n, at, old, there) : 0;
}

/* Sector by sector where a longer read failed. */
static int salvage(struct img_copier *k, const struct img_chunk *ch, uint8_t *data)
{
    for (uint64_t at = 0; at < ch->len; at += SECTOR) {
        uint64_t n = MIN(SECTOR, ch->len - at), offset = k->c->source_offset + ch->offset + at;
        int ret = viv_node_pread(k->c->source, offset, data + at, n);

        if (!ret)
            continue;
        memset(data + at, 0, n);
        if (!k->c->quiet)
            viv_warn("error while reading offset %" PRIu64 ": %s", offset, strerror(-ret));
    }
    return 0;
}

static int read_chunk(struct img_copier *k, const struct img_chunk *ch, uint8_t *data)
{
    int ret = viv_node_pread(k->c->source, k->c->source_offset + ch->offset, data, ch->len);

    return ret && k->c->salvage ? salvage(k, ch, data) : ret;
}

static int pack_chunk(struct img_copier *k, const struct img_chunk *ch, const struct img_chunk_buffers *b)
{
    if (!b->packer)
        return 0;
    return img_packer_pack(b->packer, k->c->target_offset + ch->offset, b->data, b->old, ch->len, k->c->sparse);
}

/* By the host, in its turn. 0 with what it left in *rest, which has to be read and written. */
static int copy_by_host(struct img_copier *k, struct img_chunk *rest)
{
    const struct img_copy *c = k->c;
    bool share = k->offload == IMG_OFFLOAD_SHARE;
    int ret = 0;

    while (rest->len && !ret) {
        uint64_t done;

        ret = viv_node_copy_range(c->source, c->source_offset + rest->offset, c->target, c->target_offset + rest->offset, rest->len,
                                  share, &done);
        if (ret)
            break;
        rest->offset += done;
        rest->len -= done;
        __atomic_store_n(&k->by_host, true, __ATOMIC_RELAXED);
    }
    /* Some pieces cannot be had this way (compressed clusters, the end of a file); if the first one cannot, none will be. */
    if (ret == -ENOTSUP && !__atomic_load_n(&k->by_host, __ATOMIC_RELAXED))
        __atomic_store_n(&k->offload, IMG_OFFLOAD_NO, __ATOMIC_RELAXED);
    if (ret == -ENOTSUP)
        return 0;
    if (ret)
        img_copy_failed(k, ret, "copying", rest->offset);
    return ret;
}

static int get_buffers(const struct img_copier *k, struct img_chunk_buffers *b)
{
    if (b->kind)
        return 0;
    if (!b->data && posix_memalign((void **)&b->data, 4096, k->chunk))
        return -ENOMEM;
    if (!b->old && (k->backing_end || k->c->compare) && posix_memalign((void **)&b->old, 4096, k->chunk))
        return -ENOMEM;
    if (k->c->compressed && !b->packer && !(b->packer = img_packer_new(k->c->target, k->chunk)))
        return -ENOMEM;
    b->kind = g_try_malloc(k->chunk / k->unit + 2); /* parts of pieces at both ends */
    return b->kind ? 0 : -ENOMEM;
}

int img_chunk_read(struct img_copier *k, struct img_chunk *ch, struct img_chunk_buffers *b)
{
    const char *what = "reading";
    int ret = get_buffers(k, b);

    if (!ret)
        ret = read_chunk(k, ch, b->data);
    if (!ret && b->old) {
        what = "reading the backing file";
        ret = read_old(k, ch, b->old);
    }
    if (!ret) {
        what = "compressing";
        ret = pack_chunk(k, ch, b);
    }
    if (ret)
        img_copy_failed(k, ret, what, ch->offset);
    else
        judge_pieces(k, ch, b);
    return ret;
}

static int write_by_hand(struct img_copier *k, struct img_chunk *ch, const struct img_chunk_buffers *b)
{
    int ret = write_pieces(k, ch, b);

    if (ret)
        img_copy_failed(k, ret, "writing", ch->offset);
    return ret;
}

bool img_chunk_is_hosts(const struct img_copier *k)
{
    return __atomic_load_n(&k->offload, __ATOMIC_RELAXED) != IMG_OFFLOAD_NO;
}

static int copy_late(struct img_copier *k, struct img_job *j)
{
    struct img_chunk rest = j->ch;
    int ret = img_chunk_is_hosts(k) ? copy_by_host(k, &rest) : 0;

    while (rest.len && !ret) {
        struct img_chunk part = rest;

        part.len = MIN(rest.len, k->chunk - (k->c->target_offset + rest.offset) % k->chunk);
        part.passed = true; /* the turn is this chunk's until all of it is done */
        ret = img_chunk_read(k, &part, &j->b);
        if (!ret)
            ret = write_by_hand(k, &part, &j->b);
        rest.offset += part.len;
        rest.len -= part.len;
    }
    return ret;
}

int img_chunk_write(struct img_copier *k, struct img_job *j)
{
    int ret;

    if (!j->ch.zero)
        return j->late ? copy_late(k, j) : write_by_hand(k, &j->ch, &j->b);
    ret = write_zero(k, j->ch.offset, j->ch.len);
    if (ret)
        img_copy_failed(k, ret, "writing", j->ch.offset);
    return ret;
}

void img_chunk_free(struct img_chunk_buffers *b)
{
    free(b->data);
    free(b->old);
    g_free(b->kind);
    img_packer_free(b->packer);
}
