#include "block/fmt/entries/entries.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SECTOR 512u

static uint32_t chunk_bytes(const struct viv_entries *e)
{
    return VIV_ENTRIES_CHUNK * e->width;
}

static uint32_t chunks_max(const struct viv_entries *e)
{
    return VIV_ENTRIES_MEM / chunk_bytes(e);
}

static int init(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count, bool big_endian, uint8_t width)
{
    *e = (struct viv_entries){.file = file, .offset = offset, .count = count, .big_endian = big_endian, .width = width};
    e->chunks = count / VIV_ENTRIES_CHUNK + (count % VIV_ENTRIES_CHUNK != 0);
    e->chunk = g_try_new0(struct viv_entries_chunk, MAX(e->chunks, 1));
    return e->chunk ? 0 : -ENOMEM;
}

int viv_entries_init(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count, bool big_endian)
{
    return init(e, file, offset, count, big_endian, 4);
}

int viv_entries_init64(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count)
{
    return init(e, file, offset, count, false, 8);
}

void viv_entries_fini(struct viv_entries *e)
{
    for (uint32_t i = 0; e->chunk && i < e->chunks; i++)
        g_free(e->chunk[i].data);
    g_free(e->chunk);
    *e = (struct viv_entries){0};
}

static bool is_dirty(const struct viv_entries_chunk *c)
{
    return c->dirty_from != c->dirty_to;
}

/* Of the last chunk only what the table has: what follows it is not ours. */
static uint32_t chunk_len(const struct viv_entries *e, uint32_t i)
{
    return MIN(VIV_ENTRIES_CHUNK, e->count - i * VIV_ENTRIES_CHUNK);
}

static void evict_one(struct viv_entries *e)
{
    for (uint32_t n = 0; n < e->chunks; n++) {
        struct viv_entries_chunk *c = &e->chunk[e->clock];

        e->clock = (e->clock + 1) % e->chunks;
        if (c->data && !is_dirty(c)) {
            g_free(c->data);
            c->data = NULL;
            e->loaded--;
            return;
        }
    }
}

static int load(struct viv_entries *e, uint32_t index, struct viv_entries_chunk **out)
{
    uint32_t i = index / VIV_ENTRIES_CHUNK;
    struct viv_entries_chunk *c;
    uint8_t *data;
    int ret;

    if (index >= e->count)
        return -EIO;
    c = *out = &e->chunk[i];
    if (c->data)
        return 0;
    if (e->loaded >= chunks_max(e))
        evict_one(e);
    data = g_try_malloc(chunk_bytes(e));
    if (!data)
        return -ENOMEM;
    ret = viv_node_pread(e->file, e->offset + (uint64_t)i * chunk_bytes(e), data, chunk_len(e, i) * e->width);
    if (ret) {
        g_free(data);
        return ret;
    }
    c->data = data;
    e->loaded++;
    return 0;
}

int viv_entries_get(struct viv_entries *e, uint32_t index, uint32_t *value)
{
    struct viv_entries_chunk *c;
    int ret = load(e, index, &c);

    if (!ret) {
        const uint8_t *p = c->data + index % VIV_ENTRIES_CHUNK * 4;

        *value = e->big_endian ? viv_ld_be32(p) : viv_ld_le32(p);
    }
    return ret;
}

int viv_entries_get64(struct viv_entries *e, uint32_t index, uint64_t *value)
{
    struct viv_entries_chunk *c;
    int ret = load(e, index, &c);

    if (!ret)
        *value = viv_ld_le64(c->data + index % VIV_ENTRIES_CHUNK * 8);
    return ret;
}

static void store(uint8_t *p, uint32_t value, bool big_endian)
{
    if (big_endian)
        viv_st_be32(p, value);
    else
        viv_st_le32(p, value);
}

static void changed(struct viv_entries *e, struct viv_entries_chunk *c, uint32_t in)
{
    if (!is_dirty(c)) {
        e->dirty++;
        c->dirty_from = in;
        c->dirty_to = in + 1;
    }
    c->dirty_from = MIN(c->dirty_from, in);
    c->dirty_to = MAX(c->dirty_to, in + 1);
}

int viv_entries_set(struct viv_entries *e, uint32_t index, uint32_t value)
{
    uint32_t in = index % VIV_ENTRIES_CHUNK;
    struct viv_entries_chunk *c;
    int ret = load(e, index, &c);

    if (ret)
        return ret;
    store(c->data + in * 4, value, e->big_endian);
    changed(e, c, in);
    return 0;
}

int viv_entries_set64(struct viv_entries *e, uint32_t index, uint64_t value)
{
    uint32_t in = index % VIV_ENTRIES_CHUNK;
    struct viv_entries_chunk *c;
    int ret = load(e, index, &c);

    if (ret)
        return ret;
    viv_st_le64(c->data + in * 8, value);
    changed(e, c, in);
    return 0;
}

bool viv_entries_full(const struct viv_entries *e)
{
    return e->dirty >= chunks_max(e) / 2;
}

bool viv_entries_dirty(const struct viv_entries *e, uint32_t *chunk, uint32_t unit, const uint8_t **data, uint64_t *offset,
                       uint32_t *bytes)
{
    for (uint32_t i = *chunk; e->dirty && i < e->chunks; i++) {
        const struct viv_entries_chunk *c = &e->chunk[i];
        uint32_t from = c->dirty_from * e->width / unit * unit, to = (c->dirty_to * e->width + unit - 1) / unit * unit;

        if (!is_dirty(c))
            continue;
        *chunk = i;
        *data = c->data + from;
        *offset = e->offset + (uint64_t)i * chunk_bytes(e) + from;
        *bytes = MIN(to, chunk_len(e, i) * e->width) - from;
        return true;
    }
    return false;
}

void viv_entries_clean(struct viv_entries *e, uint32_t chunk)
{
    e->chunk[chunk].dirty_from = e->chunk[chunk].dirty_to = 0;
    e->dirty--;
}

int viv_entries_write(struct viv_entries *e)
{
    const uint8_t *data;
    uint64_t offset;
    uint32_t bytes;

    for (uint32_t i = 0; viv_entries_dirty(e, &i, SECTOR, &data, &offset, &bytes); i++) {
        int ret = viv_node_pwrite(e->file, offset, data, bytes);

        if (ret)
            return ret;
        viv_entries_clean(e, i);
    }
    return 0;
}

int viv_entries_create(struct viv_node *file, uint64_t offset, uint32_t count, uint32_t value, bool ascending,
                       bool big_endian, uint8_t pad)
{
    uint64_t bytes = ((uint64_t)count * 4 + 511) / 512 * 512;
    uint8_t *buf = g_try_malloc(MIN(bytes, 1u << 20));
    int ret = buf || !bytes ? 0 : -ENOMEM;

    for (uint64_t at = 0; !ret && at < bytes;) {
        uint64_t step = MIN(bytes - at, 1u << 20);

        memset(buf, pad, step);
        for (uint64_t i = 0; i < step / 4 && at / 4 + i < count; i++)
            store(buf + i * 4, value + (ascending ? (uint32_t)(at / 4 + i) : 0), big_endian);
        ret = viv_node_pwrite(file, offset + at, buf, step);
        at += step;
    }
    g_free(buf);
    return ret;
}
