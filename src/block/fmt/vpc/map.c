/* Where blocks lie, and new ones.
 *
 * A block that was given out stays: zeroes are written into it, a discard makes a hole in the file. So no block is ever
 * freed and BAT entries only go from "unallocated" to a place.
 * The bitmap of a block says which sectors were ever written. Without a parent both kinds come from the block (a new one is all
 * zeroes), so reading does not ask it; a block that is written says "all written" first, for programs that do ask. */
#include "block/fmt/vpc/vpc_int.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define AT_ONCE 65536u /* blocks of one extent: the lock is held meanwhile */

static uint64_t block_bytes(const struct vpc *v)
{
    return (uint64_t)v->bitmap + v->block;
}

static bool plausible(const struct vpc *v, uint64_t at)
{
    uint64_t end = MAX(viv_node_size(v->file), v->next);

    return at >= v->tables_end && at + v->bitmap < end;
}

static int by_place(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static int check_places(struct vpc *v, uint32_t *place, uint32_t count, struct viv_err *err)
{
    qsort(place, count, sizeof(*place), by_place);
    v->next = v->tables_end;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = place[i] * 512ull;

        if (!plausible(v, at) || at < v->next)
            return viv_fail(err, EINVAL,
                            "'%s': the image is corrupt: the block at sector %u lies %s; opening it read-only works",
                            v->node->filename, place[i],
                            at < v->tables_end  ? "on the tables"
                            : !plausible(v, at) ? "beyond the end of the file"
                                                : "on another one");
        v->next = at + block_bytes(v);
    }
    return 0;
}

int vpc_scan(struct vpc *v, struct viv_err *err)
{
    uint32_t used = 0, *place = g_try_new(uint32_t, MAX(v->bat.count, 1)), e;
    int ret = 0;

    v->whole = g_try_malloc0(v->bat.count / 8 + 1);
    if (!place || !v->whole)
        ret = viv_fail(err, ENOMEM, "no memory to open '%s'", v->node->filename);
    for (uint32_t i = 0; !ret && i < v->bat.count; i++) {
        ret = viv_entries_get(&v->bat, i, &e);
        if (ret)
            viv_fail_os(err, -ret, "Could not read the block allocation table of '%s'", v->node->filename);
        else if (e != VPC_UNALLOCATED)
            place[used++] = e;
    }
    if (!ret)
        ret = check_places(v, place, used, err);
    g_free(place);
    v->virgin = MAX(viv_node_size(v->file), v->next);
    return ret;
}

/* Byte of block i's bitmap; 0: unallocated. */
static int look_up(struct vpc *v, uint32_t i, uint64_t *out)
{
    uint32_t e;
    int ret = viv_entries_get(&v->bat, i, &e);

    *out = 0;
    if (ret || e == VPC_UNALLOCATED)
        return ret;
    *out = e * 512ull;
    return plausible(v, *out) ? 0 : -EIO;
}

static bool is_whole(const struct vpc *v, uint32_t i)
{
    return v->whole && v->whole[i / 8] >> (i % 8) & 1;
}

static int map_locked(struct vpc *v, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t in = offset & (v->block - 1), at, next;
    uint32_t i = offset / v->block;
    int ret = look_up(v, i, &at);

    if (ret)
        return ret;
    *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = v->block - in};
    if (at)
        *out = (struct viv_extent){.kind = VIV_MAP_DATA,
                                   .len = v->block - in,
                                   .host = at + v->bitmap + in,
                                   .allocated = true,
                                   .in_place = is_whole(v, i)};
    /* Data is never contiguous: bitmaps lie between. */
    for (uint32_t k = 1; !at && k < AT_ONCE && out->len < len && !look_up(v, i + k, &next) && !next; k++)
        out->len += v->block;
    out->len = MIN(out->len, len);
    return 0;
}

int vpc_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct vpc *v = n->state;
    int ret;

    if (v->fixed) {
        *out = (struct viv_extent){
            .kind = VIV_MAP_DATA, .len = len, .host = offset, .allocated = true, .in_place = !n->read_only};
        return 0;
    }
    pthread_mutex_lock(&v->lock);
    ret = map_locked(v, offset, len, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

/* "All sectors written": also in a block that another program made, before its first write by us. */
static int make_whole(struct vpc *v, uint32_t i, uint64_t at)
{
    uint8_t *ones = g_try_malloc(v->bitmap);
    int ret = -ENOMEM;

    if (ones) {
        memset(ones, 0xff, v->bitmap);
        ret = viv_node_pwrite(v->file, at, ones, v->bitmap);
    }
    g_free(ones);
    if (!ret)
        v->whole[i / 8] |= 1u << (i % 8);
    return ret;
}

/* A new block at the end; the footer that is there is written again behind it by the next flush. */
static int take_block(struct vpc *v, uint64_t *at)
{
    int ret = viv_entries_full(&v->bat) ? vpc_flush_locked(v) : 0;

    if (ret)
        return ret;
    if (v->next / 512 >= VPC_UNALLOCATED)
        return -ENOSPC;
    *at = v->next;
    v->next += block_bytes(v);
    return 0;
}

static int alloc_locked(struct vpc *v, uint64_t offset, struct viv_alloc *a)
{
    uint64_t in = offset & (v->block - 1), at;
    uint32_t i = offset / v->block;
    int ret = v->whole ? look_up(v, i, &at) : -EROFS;

    if (ret)
        return ret;
    a->len = MIN(a->len, v->block - in);
    if (at) {
        a->host = at + v->bitmap + in;
        return is_whole(v, i) ? 0 : make_whole(v, i, at);
    }
    ret = take_block(v, &at);
    if (ret)
        return ret;
    a->fresh = true;
    a->host = at + v->bitmap + in;
    /* What a file never held reads as zeroes: nothing to fill. */
    if (at + v->bitmap < v->virgin || !v->file->zero_init) {
        a->head = in;
        a->tail = v->block - in - a->len;
    }
    v->virgin = MAX(v->virgin, v->next);
    return 0;
}

int vpc_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct vpc *v = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len, .host = offset};
    if (v->fixed)
        return 0;
    pthread_mutex_lock(&v->lock);
    ret = alloc_locked(v, offset, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static uint64_t block_start(const struct vpc *v, const struct viv_alloc *a)
{
    return a->host - (a->offset & (v->block - 1)) - v->bitmap;
}

/* The last one; another one stays a hole until the image is next opened, or for good. */
static void give_back(struct vpc *v, uint64_t at)
{
    if (at + block_bytes(v) == v->next)
        v->next = at;
}

int vpc_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct vpc *v = n->state;
    uint32_t i = a->offset / v->block;
    uint64_t at = block_start(v, a);
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = make_whole(v, i, at);
    if (!ret)
        ret = viv_entries_set(&v->bat, i, at / 512);
    if (ret) {
        v->whole[i / 8] &= ~(1u << (i % 8));
        give_back(v, at);
    }
    pthread_mutex_unlock(&v->lock);
    return ret;
}

void vpc_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct vpc *v = n->state;

    pthread_mutex_lock(&v->lock);
    give_back(v, block_start(v, a));
    pthread_mutex_unlock(&v->lock);
}
