/* Where the disk's bytes lie, and new grains.
 *
 * A grain that has a place keeps it for ever (nothing could say that it is free): zeroes and discards work on the place
 * itself. So entries only go from nothing or zero to a place, or from nothing to zero; stored (compressed) grains alone move
 * when they are written again. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/checked.h"

#include <errno.h>

/* A grain of the extent: its table, its entry there. */
struct index {
    uint32_t table, entry;
};

static struct index index_of(const struct vmdk_sparse *s, uint64_t in)
{
    uint64_t grain = in / s->grain;

    return (struct index){grain / s->gtes, grain % s->gtes};
}

static enum viv_map_kind kind_of(const struct vmdk_sparse *s, uint32_t value)
{
    if (!value)
        return VIV_MAP_BACKING;
    if (value == VMDK_ZEROED && s->zeroed)
        return VIV_MAP_ZERO;
    return s->compressed ? VIV_MAP_COMPRESSED : VIV_MAP_DATA;
}

static uint64_t host_of(uint32_t value)
{
    return (uint64_t)value * VMDK_SECTOR;
}

static bool has_backing(const struct vmdk *v)
{
    return v->node->backing || v->desc.parent; /* not opened is there all the same */
}

/* --- map --- */

/* As many grains as are like the first and, with data, follow it; of one table. */
static int map_run(struct vmdk_sparse *s, uint64_t in, struct viv_extent *out)
{
    struct index x = index_of(s, in);
    uint64_t skip = in & (s->grain - 1), want = (skip + out->len - 1) / s->grain + 1, count = 1;
    struct vmdk_page *p;
    int ret = vmdk_page_get(s, x.table, &p);
    uint32_t value;

    if (ret)
        return ret;
    value = vmdk_page_entry(p, x.entry);
    out->kind = kind_of(s, value);
    if (out->kind == VIV_MAP_DATA && !vmdk_grain_ok(s, value))
        return -EIO;
    for (; count < want && x.entry + count < s->gtes; count++) {
        uint32_t next = vmdk_page_entry(p, x.entry + count);

        if (kind_of(s, next) != out->kind)
            break;
        if (out->kind == VIV_MAP_DATA &&
            (next != value + count * (s->grain / VMDK_SECTOR) || !vmdk_grain_ok(s, next)))
            break;
    }
    out->len = MIN(out->len, count * s->grain - skip);
    out->allocated = out->kind == VIV_MAP_DATA || out->kind == VIV_MAP_COMPRESSED;
    out->host = out->kind == VIV_MAP_DATA ? host_of(value) + skip : 0;
    return 0;
}

static int map_sparse(struct vmdk_sparse *s, uint64_t in, struct viv_extent *out)
{
    uint64_t reach = s->grain * s->gtes, len = 0;
    uint32_t table = index_of(s, in).table;

    if (s->gd[table])
        return map_run(s, in, out);
    out->kind = VIV_MAP_BACKING;
    for (; len < out->len && table < s->tables && !s->gd[table]; table++)
        len = (table + 1ull) * reach - in;
    out->len = MIN(out->len, len);
    return 0;
}

static int map_locked(struct vmdk *v, uint64_t offset, struct viv_extent *out)
{
    const struct vmdk_extent *e = vmdk_extent_at(v, offset);
    uint64_t in = offset - e->start;
    int ret = 0;

    out->len = MIN(out->len, e->len - in);
    if (e->type == VMDK_ZERO) {
        out->kind = VIV_MAP_ZERO;
    } else if (e->type == VMDK_FLAT) {
        out->kind = VIV_MAP_DATA;
        out->host = e->flat + in;
        out->allocated = true;
    } else {
        ret = map_sparse(e->sparse, in, out);
    }
    out->where = e->file;
    out->in_place = out->kind == VIV_MAP_DATA && v->writing && !e->read_only;
    return ret;
}

int vmdk_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct vmdk *v = n->state;
    int ret;

    *out = (struct viv_extent){.len = len};
    pthread_mutex_lock(&v->lock);
    ret = map_locked(v, offset, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

/* --- room --- */

int vmdk_start_writing(struct vmdk *v)
{
    return v->writing ? 0 : vmdk_change_cid(v, v->desc.cid_digits);
}

/* New grains and tables go behind everything. */
static int advance(struct vmdk_sparse *s, uint64_t bytes, uint64_t unit, uint64_t *at)
{
    uint64_t end = viv_align_down(s->next + bytes + unit - 1, unit);

    if (end > VMDK_SECTORS_MAX * VMDK_SECTOR)
        return -EFBIG;
    *at = s->next;
    s->next = end;
    return 0;
}

int vmdk_take_room(struct vmdk_sparse *s, uint64_t bytes, uint64_t *at)
{
    int ret = advance(s, bytes, s->compressed ? VMDK_SECTOR : s->grain, at);

    if (!ret)
        s->virgin = MAX(s->virgin, s->next);
    return ret;
}

/* Grains in a row; fewer than wanted when one was given back before. *fresh: they were never written. */
static int take_grains(struct vmdk_sparse *s, uint64_t *count, uint64_t *at, bool *fresh)
{
    int ret;

    *fresh = false;
    if (s->spare->len) {
        *at = g_array_index(s->spare, uint64_t, s->spare->len - 1);
        g_array_set_size(s->spare, s->spare->len - 1);
        *count = 1;
        return 0;
    }
    *fresh = s->next >= s->virgin && s->file->zero_init;
    ret = vmdk_take_room(s, *count * s->grain, at);
    if (ret == -EFBIG && *count > 1) {
        *count = 1;
        ret = vmdk_take_room(s, s->grain, at);
    }
    return ret;
}

static void give_back(struct vmdk_sparse *s, uint64_t at, uint64_t count)
{
    if (at + count * s->grain == s->next) {
        s->next = at;
        return;
    }
    for (; count; count--, at += s->grain)
        g_array_append_val(s->spare, at);
}

int vmdk_new_table(struct vmdk_sparse *s, uint32_t table)
{
    uint64_t bytes = vmdk_table_bytes(s), all = s->copy ? 2 * bytes : bytes, at;
    int ret = vmdk_take_room(s, all, &at);

    if (!ret)
        ret = viv_node_write_zeroes(s->file, at, all, 0);
    if (ret)
        return ret;
    if (s->meta)
        vmdk_meta_add(s->meta, at / VMDK_SECTOR, all / VMDK_SECTOR);
    s->gd[table] = at / VMDK_SECTOR;
    if (s->copy)
        s->copy[table] = (at + bytes) / VMDK_SECTOR;
    vmdk_gd_dirty(s, table);
    return 0;
}

/* --- alloc --- */

/* Grains from `x` on that have no place, as many as the request wants. */
static int alloc_fresh(struct vmdk *v, const struct vmdk_extent *e, const struct vmdk_page *p, struct index x, uint64_t in,
                       struct viv_alloc *a)
{
    struct vmdk_sparse *s = e->sparse;
    uint64_t skip = in & (s->grain - 1), want = (skip + a->len - 1) / s->grain + 1, count = 0, at, end;
    bool fresh;
    int ret;

    while (count < want && x.entry + count < s->gtes && kind_of(s, vmdk_page_entry(p, x.entry + count)) != VIV_MAP_DATA)
        count++;
    ret = take_grains(s, &count, &at, &fresh);
    if (ret)
        return ret;
    a->len = MIN(a->len, count * s->grain - skip);
    a->host = at + skip;
    a->fresh = true;
    /* What a file never held reads as zeroes: nothing to fill. The next extent's bytes do not belong here. */
    if (!fresh || has_backing(v)) {
        end = MIN(in - skip + count * s->grain, e->len);
        a->head = skip;
        a->tail = end - in - a->len;
    }
    return 0;
}

static int alloc_sparse(struct vmdk *v, const struct vmdk_extent *e, uint64_t in, struct viv_alloc *a)
{
    struct vmdk_sparse *s = e->sparse;
    struct index x = index_of(s, in);
    struct vmdk_page *p;
    uint32_t value;
    int ret = 0;

    if (s->compressed) {
        a->compress = true;
        return 0;
    }
    ret = vmdk_make_room(v);
    if (!ret && !s->gd[x.table])
        ret = vmdk_new_table(s, x.table);
    if (!ret)
        ret = vmdk_page_get(s, x.table, &p);
    if (ret)
        return ret;
    value = vmdk_page_entry(p, x.entry);
    if (kind_of(s, value) != VIV_MAP_DATA)
        return alloc_fresh(v, e, p, x, in, a);
    a->len = MIN(a->len, s->grain - (in & (s->grain - 1)));
    a->host = host_of(value) + (in & (s->grain - 1));
    return vmdk_grain_ok(s, value) ? 0 : -EIO;
}

static int alloc_locked(struct vmdk *v, struct viv_alloc *a)
{
    const struct vmdk_extent *e = vmdk_extent_at(v, a->offset);
    uint64_t in = a->offset - e->start;
    int ret = e->read_only || e->type == VMDK_ZERO ? -EROFS : vmdk_start_writing(v);

    if (ret)
        return ret;
    a->len = MIN(a->len, e->len - in);
    a->where = e->file;
    if (e->sparse)
        return e->sparse->meta ? alloc_sparse(v, e, in, a) : -EROFS;
    a->host = e->flat + in;
    return 0;
}

int vmdk_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct vmdk *v = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&v->lock);
    ret = alloc_locked(v, out);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

/* The grains of a fresh allocation. */
static uint64_t grains_of(struct vmdk *v, const struct viv_alloc *a, struct vmdk_sparse **s, uint64_t *in, uint64_t *at)
{
    const struct vmdk_extent *e = vmdk_extent_at(v, a->offset);
    uint64_t skip;

    *s = e->sparse;
    *in = a->offset - e->start;
    skip = *in & ((*s)->grain - 1);
    *at = a->host - skip;
    return (skip + a->len - 1) / (*s)->grain + 1;
}

int vmdk_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct vmdk *v = n->state;
    struct vmdk_sparse *s;
    struct vmdk_page *p;
    struct index x;
    uint64_t count, in, at;
    int ret;

    pthread_mutex_lock(&v->lock);
    count = grains_of(v, a, &s, &in, &at);
    x = index_of(s, in);
    ret = vmdk_page_get(s, x.table, &p);
    for (uint64_t i = 0; !ret && i < count; i++)
        vmdk_page_set(p, x.entry + i, (at + i * s->grain) / VMDK_SECTOR);
    if (ret)
        give_back(s, at, count);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

void vmdk_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct vmdk *v = n->state;
    struct vmdk_sparse *s;
    uint64_t count, in, at;

    pthread_mutex_lock(&v->lock);
    count = grains_of(v, a, &s, &in, &at);
    give_back(s, at, count);
    pthread_mutex_unlock(&v->lock);
}
