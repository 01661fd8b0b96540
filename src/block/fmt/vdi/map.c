/* Where blocks lie, and new ones.
 *
 * A block that was given out stays where it is: zeroes are written into it and a discard gives its room back by a hole in
 * the file. So the map only ever goes from "unallocated" to a block, and no block is ever freed. */
#include "block/fmt/vdi/vdi_int.h"

#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define AT_ONCE 65536u /* blocks of one extent: the lock is held meanwhile */

static bool get_bit(const uint8_t *bits, uint32_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static int scan_entry(struct vdi *v, uint32_t i, uint32_t file_blocks, struct viv_err *err)
{
    uint32_t e = VDI_UNALLOCATED;
    int ret = viv_entries_get(&v->map, i, &e);

    if (ret)
        return viv_fail_os(err, -ret, "Could not read the block map of '%s'", v->node->filename);
    if (e >= VDI_DISCARDED)
        return 0;
    if (e >= file_blocks || get_bit(v->used, e))
        return viv_fail(err, EINVAL,
                        "'%s': the image is corrupt: block %u of the disk lies %s (entry %u); opening it read-only "
                        "works, 'viv-img check' lists what is wrong",
                        v->node->filename, i, e >= file_blocks ? "beyond the end of the file" : "on another one", e);
    v->used[e / 8] |= 1u << (e % 8);
    v->next = MAX(v->next, e + 1);
    return 0;
}

int vdi_scan(struct vdi *v, struct viv_err *err)
{
    uint32_t file_blocks = vdi_file_blocks(v);
    int ret = 0;

    v->used = g_try_malloc0(file_blocks / 8 + 1);
    if (!v->used)
        return viv_fail(err, ENOMEM, "no memory to open '%s'", v->node->filename);
    for (uint32_t i = 0; !ret && i < v->blocks; i++)
        ret = scan_entry(v, i, file_blocks, err);
    v->used_len = v->next;
    v->virgin = file_blocks;
    return ret;
}

/* The place of block `i` of the disk; UNALLOCATED, too, for what was discarded. */
static int look_up(struct vdi *v, uint32_t i, uint32_t *out)
{
    int ret = viv_entries_get(&v->map, i, out);

    if (ret)
        return ret;
    if (*out >= VDI_DISCARDED)
        *out = VDI_UNALLOCATED;
    else if (*out >= MAX(vdi_file_blocks(v), v->next))
        return -EIO; /* cut off; what was just given out need not be in the file yet */
    return 0;
}

static int map_locked(struct vdi *v, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t in = offset % VDI_BLOCK;
    uint32_t i = offset / VDI_BLOCK, e, next;
    int ret = look_up(v, i, &e);

    if (ret)
        return ret;
    *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = VDI_BLOCK - in};
    if (e != VDI_UNALLOCATED)
        *out = (struct viv_extent){.kind = VIV_MAP_DATA,
                                   .len = VDI_BLOCK - in,
                                   .host = v->data + (uint64_t)e * VDI_BLOCK + in,
                                   .allocated = true,
                                   .in_place = !v->node->read_only};
    /* An error behind the first block is found when one comes to it. */
    for (uint32_t k = 1; k < AT_ONCE && out->len < len && !look_up(v, i + k, &next); k++) {
        if (next != (e == VDI_UNALLOCATED ? e : e + k))
            break;
        out->len += VDI_BLOCK;
    }
    out->len = MIN(out->len, len);
    return 0;
}

int vdi_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct vdi *v = n->state;
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = map_locked(v, offset, len, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

/* Blocks that a crash left without anybody pointing at them come first. */
static int take_block(struct vdi *v, uint32_t *out)
{
    for (; v->free_hint < v->used_len; v->free_hint++) {
        if (!get_bit(v->used, v->free_hint)) {
            v->used[v->free_hint / 8] |= 1u << (v->free_hint % 8);
            *out = v->free_hint;
            return 0;
        }
    }
    if (v->next >= VDI_BLOCKS_MAX)
        return -ENOSPC;
    *out = v->next++;
    return 0;
}

static int alloc_locked(struct vdi *v, uint64_t offset, struct viv_alloc *a)
{
    uint64_t in = offset % VDI_BLOCK;
    uint32_t e;
    int ret = v->used ? look_up(v, offset / VDI_BLOCK, &e) : -EROFS;

    if (ret)
        return ret;
    a->len = MIN(a->len, VDI_BLOCK - in);
    a->fresh = e == VDI_UNALLOCATED;
    if (a->fresh && viv_entries_full(&v->map))
        ret = vdi_flush_locked(v);
    if (!ret && a->fresh)
        ret = take_block(v, &e);
    if (ret)
        return ret;
    a->host = v->data + (uint64_t)e * VDI_BLOCK + in;
    /* What a file never held reads as zeroes: nothing to fill. */
    if (a->fresh && (e < v->virgin || !v->file->zero_init)) {
        a->head = in;
        a->tail = VDI_BLOCK - in - a->len;
    }
    v->virgin = MAX(v->virgin, e + 1);
    return 0;
}

int vdi_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct vdi *v = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&v->lock);
    ret = alloc_locked(v, offset, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static uint32_t block_of(const struct vdi *v, const struct viv_alloc *a)
{
    return (a->host - v->data) / VDI_BLOCK;
}

static void give_back(struct vdi *v, uint32_t e)
{
    if (e < v->used_len) {
        v->used[e / 8] &= ~(1u << (e % 8));
        v->free_hint = MIN(v->free_hint, e);
    } else if (e + 1 == v->next) {
        v->next--;
    } /* else it is found again when the image is next opened */
}

int vdi_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct vdi *v = n->state;
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = viv_entries_set(&v->map, a->offset / VDI_BLOCK, block_of(v, a));
    if (ret)
        give_back(v, block_of(v, a));
    pthread_mutex_unlock(&v->lock);
    return ret;
}

void vdi_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct vdi *v = n->state;

    pthread_mutex_lock(&v->lock);
    give_back(v, block_of(v, a));
    pthread_mutex_unlock(&v->lock);
}
