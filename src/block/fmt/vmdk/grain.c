/* Compressed grains: a zlib stream, in front of it (with markers) the sector of the disk and the stream's length. A grain that
 * is written again goes to a new place: the old one stays behind unused. */
#include "block/fmt/deflate/deflate.h"
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* What deflate makes of bytes that do not shrink, and more. */
static size_t stored_max(size_t len)
{
    return len + len / 8 + 1024;
}

/* The grain's entry; 0: nothing there. */
static int look_up(struct vmdk_sparse *s, uint64_t in, uint32_t *out, uint64_t *end)
{
    uint64_t grain = in / s->grain;
    struct vmdk_page *p;
    int ret = 0;

    *out = 0;
    pthread_mutex_lock(&s->v->lock);
    if (s->gd[grain / s->gtes])
        ret = vmdk_page_get(s, grain / s->gtes, &p);
    if (!ret && s->gd[grain / s->gtes])
        *out = vmdk_page_entry(p, grain % s->gtes);
    if (!ret && (*out <= VMDK_ZEROED || !vmdk_grain_ok(s, *out)))
        ret = -EIO;
    *end = MAX(viv_node_size(s->file), s->next);
    pthread_mutex_unlock(&s->v->lock);
    return ret;
}

/* The stored bytes at `at`; *skip: of the marker. One read does for nearly all. */
static int load(struct vmdk_sparse *s, uint64_t at, uint64_t end, uint8_t *buf, size_t room, size_t *skip, size_t *len)
{
    size_t first = MIN(s->markers ? s->grain / 2 + VMDK_SECTOR : room, MIN(room, end - at));
    int ret = viv_node_pread(s->file, at, buf, first);

    *skip = s->markers ? VMDK_M_GRAIN : 0;
    *len = first;
    if (ret || !s->markers)
        return ret;
    if (first < VMDK_M_GRAIN)
        return -EIO;
    *len = viv_ld_le32(buf + VMDK_M_SIZE);
    if (!*len || *len > MIN(room, end - at) - VMDK_M_GRAIN)
        return -EIO;
    if (*len + VMDK_M_GRAIN > first)
        ret = viv_node_pread(s->file, at + first, buf + first, *len + VMDK_M_GRAIN - first);
    return ret;
}

int vmdk_read_special(struct viv_node *n, uint64_t granule, uint8_t *out)
{
    struct vmdk *v = n->state;
    struct vmdk_extent *e = vmdk_extent_at(v, granule);
    struct vmdk_sparse *s = e->sparse;
    size_t want, room, skip, len;
    uint64_t end;
    uint32_t sector;
    uint8_t *buf;
    int ret;

    if (!s || !s->compressed)
        return -EIO;
    ret = look_up(s, granule - e->start, &sector, &end);
    if (ret)
        return ret;
    want = MIN(s->grain, e->len - (granule - e->start));
    room = stored_max(s->grain) + VMDK_M_GRAIN;
    buf = g_try_malloc(room);
    if (!buf)
        return -ENOMEM;
    ret = load(s, sector * (uint64_t)VMDK_SECTOR, end, buf, room, &skip, &len);
    if (!ret)
        ret = viv_inflate(buf + skip, len, out, want, 15);
    g_free(buf);
    if (!ret)
        memset(out + want, 0, n->granule - want);
    return ret;
}

static int reserve(struct vmdk_sparse *s, uint64_t in, uint64_t bytes, uint64_t *at)
{
    struct vmdk *v = s->v;
    uint32_t table = in / s->grain / s->gtes;
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = s->meta ? vmdk_start_writing(v) : -EROFS;
    if (!ret)
        ret = vmdk_make_room(v);
    if (!ret && !s->gd[table])
        ret = vmdk_new_table(s, table);
    if (!ret)
        ret = vmdk_take_room(s, bytes, at);
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static int enter(struct vmdk_sparse *s, uint64_t in, uint64_t at)
{
    uint64_t grain = in / s->grain;
    struct vmdk_page *p;
    int ret;

    pthread_mutex_lock(&s->v->lock);
    ret = vmdk_page_get(s, grain / s->gtes, &p);
    if (!ret)
        vmdk_page_set(p, grain % s->gtes, at / VMDK_SECTOR);
    pthread_mutex_unlock(&s->v->lock);
    return ret;
}

int vmdk_pack(struct viv_node *n, const uint8_t *data, size_t len, uint8_t *out, size_t *out_len)
{
    struct vmdk *v = n->state;
    const struct vmdk_sparse *s = v->extents->len ? g_array_index(v->extents, struct vmdk_extent, 0).sparse : NULL;

    if (!s)
        return -ENOTSUP;
    if (!s->compressed)
        return -E2BIG; /* stored as it is, as the peer does */
    return viv_deflate(data, len, out, *out_len - 1, true, out_len);
}

int vmdk_write_packed(struct viv_node *n, uint64_t granule, const uint8_t *packed, size_t len)
{
    struct vmdk *v = n->state;
    const struct vmdk_extent *e = vmdk_extent_at(v, granule);
    size_t all = (VMDK_M_GRAIN + len + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
    uint64_t in = granule - e->start, at;
    g_autofree uint8_t *buf = NULL;
    int ret;

    if (!e->sparse || !e->sparse->compressed)
        return -ENOTSUP;
    if (e->read_only || len > stored_max(e->sparse->grain))
        return e->read_only ? -EROFS : -EINVAL;
    buf = g_try_malloc(all);
    if (!buf)
        return -ENOMEM;
    viv_st_le64(buf + VMDK_M_VALUE, in / VMDK_SECTOR);
    viv_st_le32(buf + VMDK_M_SIZE, (uint32_t)len);
    memcpy(buf + VMDK_M_GRAIN, packed, len);
    memset(buf + VMDK_M_GRAIN + len, 0, all - VMDK_M_GRAIN - len);
    ret = reserve(e->sparse, in, all, &at);
    if (!ret)
        ret = viv_node_pwrite(e->file, at, buf, all);
    return ret ? ret : enter(e->sparse, in, at);
}
