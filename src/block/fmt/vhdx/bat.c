/* Where blocks lie, and new ones.
 *
 * A block that was given out stays where it is: zeroes are written into it, a discard makes a hole in the file. So BAT entries only go
 * from "no place" to a place, or from undefined contents to zeroes. What has no place reads as zeroes in every state; the specification
 * lets some states be read as anything, so zeroes that were asked for are written down as the state ZERO.
 * Entries of such states may keep a place in reserve (check.c): it is given to nobody, and left behind when the block gets another. */
#include "block/fmt/vhdx/vhdx_int.h"

#include <errno.h>

#define AT_ONCE 65536u /* blocks of one extent: the lock is held meanwhile */

/* *at 0: no place. */
static int look_up(struct vhdx *v, uint32_t block, uint64_t *at)
{
    uint64_t e;
    int ret = viv_entries_get64(&v->bat, vhdx_entry(v, block), &e);

    *at = 0;
    if (ret || (e & VHDX_STATE) <= VHDX_UNMAPPED)
        return ret;
    *at = e & VHDX_PLACE;
    return (e & VHDX_STATE) == VHDX_PRESENT && vhdx_place_ok(v, block, *at) ? 0 : -EIO;
}

static int map_locked(struct vhdx *v, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t in = offset & (v->block - 1), at, next;
    uint32_t i = offset / v->block;
    int ret = look_up(v, i, &at);

    if (ret)
        return ret;
    *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = v->block - in};
    if (at)
        *out = (struct viv_extent){
            .kind = VIV_MAP_DATA, .len = v->block - in, .host = at + in, .allocated = true, .in_place = v->writing};
    for (uint32_t k = 1; k < AT_ONCE && out->len < len; k++) {
        if (look_up(v, i + k, &next) || next != (at ? at + (uint64_t)k * v->block : 0))
            break;
        out->len += v->block;
    }
    out->len = MIN(out->len, len);
    return 0;
}

int vhdx_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct vhdx *v = n->state;
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = map_locked(v, offset, len, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

/* --- writing the table --- */

/* As many changed sectors as one log entry takes. */
static int write_batch(struct vhdx *v, uint64_t stable)
{
    uint32_t chunk[VHDX_BATCH], chunks = 0, bytes;
    struct vhdx_sector s[VHDX_BATCH];
    unsigned count = 0;
    const uint8_t *data;
    uint64_t offset;
    int ret;

    for (uint32_t i = 0; viv_entries_dirty(&v->bat, &i, VHDX_LOG_SECTOR, &data, &offset, &bytes); i++) {
        if (count + bytes / VHDX_LOG_SECTOR > VHDX_BATCH)
            break;
        chunk[chunks++] = i;
        for (uint32_t at = 0; at < bytes; at += VHDX_LOG_SECTOR)
            s[count++] = (struct vhdx_sector){offset + at, data + at};
    }
    ret = vhdx_log_commit(v, s, count, stable);
    for (uint32_t i = 0; i < chunks && !ret; i++)
        viv_entries_clean(&v->bat, chunk[i]);
    return ret;
}

/* The barrier before an entry makes durable what it speaks of: the data of new blocks, the file's length; and what the entry before it
 * wrote in place. */
int vhdx_flush_locked(struct vhdx *v)
{
    int ret = 0;

    if (v->bat.dirty && v->next > viv_node_size(v->file) && v->file->zero_init)
        ret = viv_node_truncate(v->file, v->next, VIV_PREALLOC_OFF, NULL);
    while (v->bat.dirty && !ret) {
        uint64_t stable = viv_node_size(v->file);

        ret = viv_node_flush(v->file);
        if (!ret)
            ret = write_batch(v, stable);
    }
    return ret;
}

static int make_room(struct vhdx *v)
{
    return viv_entries_full(&v->bat) ? vhdx_flush_locked(v) : 0;
}

/* --- new blocks --- */

static int take_place(struct vhdx *v, uint64_t *at)
{
    uint64_t end = v->next + v->block;
    int ret = make_room(v);

    if (ret)
        return ret;
    if (v->spare->len) {
        *at = g_array_index(v->spare, uint64_t, v->spare->len - 1);
        g_array_set_size(v->spare, v->spare->len - 1);
        return 0;
    }
    if (end > VHDX_FILE_MAX || (!v->file->zero_init && end > viv_node_size(v->file)))
        return -ENOSPC; /* a device does not grow */
    *at = v->next;
    v->next = end;
    return 0;
}

static void give_back(struct vhdx *v, uint64_t at)
{
    if (at + v->block == v->next)
        v->next = at;
    else
        g_array_append_val(v->spare, at);
}

/* *used: something may lie at the new block's place. */
static int alloc_locked(struct vhdx *v, struct viv_alloc *a, bool *used)
{
    uint64_t in = a->offset & (v->block - 1), at;
    int ret = v->scanned ? look_up(v, a->offset / v->block, &at) : -EROFS;

    if (!ret)
        ret = vhdx_begin_writing(v);
    if (ret)
        return ret;
    a->len = MIN(a->len, v->block - in);
    if (!at) {
        ret = take_place(v, &at);
        if (ret)
            return ret;
        a->fresh = true;
        *used = at < v->virgin || !v->file->zero_init;
        v->virgin = MAX(v->virgin, v->next);
    }
    a->host = at + in;
    return 0;
}

int vhdx_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct vhdx *v = n->state;
    bool used = false;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&v->lock);
    ret = alloc_locked(v, out, &used);
    pthread_mutex_unlock(&v->lock);
    /* All of the block, since nobody fills what is beside the request: blocks are too large to be written through memory. */
    if (!ret && used) {
        ret = viv_node_write_zeroes(v->file, out->host - (offset & (v->block - 1)), v->block, VIV_BLK_UNMAP);
        if (ret)
            vhdx_cancel(n, out);
    }
    return ret;
}

int vhdx_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct vhdx *v = n->state;
    uint64_t at = a->host - (a->offset & (v->block - 1));
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = viv_entries_set64(&v->bat, vhdx_entry(v, a->offset / v->block), at | VHDX_PRESENT);
    if (ret)
        give_back(v, at);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

void vhdx_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct vhdx *v = n->state;

    pthread_mutex_lock(&v->lock);
    give_back(v, a->host - (a->offset & (v->block - 1)));
    pthread_mutex_unlock(&v->lock);
}

/* --- zeroes, discard --- */

/* Blocks without a place, in the state ZERO. */
static int say_zero(struct vhdx *v, uint64_t offset, uint64_t len)
{
    int ret = 0;

    pthread_mutex_lock(&v->lock);
    for (uint64_t at = offset; at < offset + len && !ret; at += v->block) {
        uint32_t i = vhdx_entry(v, at / v->block);
        uint64_t e;

        ret = viv_entries_get64(&v->bat, i, &e);
        if (ret || (e & VHDX_STATE) == VHDX_ZERO)
            continue;
        ret = make_room(v);
        if (!ret)
            ret = viv_entries_set64(&v->bat, i, (e & ~(uint64_t)VHDX_STATE) | VHDX_ZERO);
    }
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static int begin(struct vhdx *v)
{
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = v->scanned ? vhdx_begin_writing(v) : -EROFS;
    pthread_mutex_unlock(&v->lock);
    return ret;
}

int vhdx_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct vhdx *v = n->state;
    int ret = begin(v);

    while (len && !ret) {
        struct viv_extent e;

        ret = vhdx_map(n, offset, len, &e);
        if (ret)
            return ret;
        ret = e.allocated ? viv_node_write_zeroes(v->file, e.host, e.len, flags) : say_zero(v, offset, e.len);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}

int vhdx_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    struct vhdx *v = n->state;
    int ret = begin(v);

    while (len && !ret) {
        struct viv_extent e;

        ret = vhdx_map(n, offset, len, &e);
        if (ret)
            return ret;
        if (e.allocated)
            ret = viv_node_discard(v->file, e.host, e.len);
        offset += e.len;
        len -= e.len;
    }
    return ret;
}
