#include "block/fmt/entries/entries.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define CHUNK_BYTES  (VIV_ENTRIES_CHUNK * 4)
#define CHUNKS_MAX   (VIV_ENTRIES_MEM / CHUNK_BYTES)
#define SECTOR_WORDS 128u

int viv_entries_init(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count, bool big_endian)
{
    *e = (struct viv_entries){.file = file, .offset = offset, .count = count, .big_endian = big_endian};
    e->chunks = count / VIV_ENTRIES_CHUNK + (count % VIV_ENTRIES_CHUNK != 0);
    e->chunk = g_try_new0(struct viv_entries_chunk, MAX(e->chunks, 1));
    return e->chunk ? 0 : -ENOMEM;
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
    if (e->loaded >= CHUNKS_MAX)
        evict_one(e);
    data = g_try_malloc(CHUNK_BYTES);
    if (!data)
        return -ENOMEM;
    ret = viv_node_pread(e->file, e->offset + (uint64_t)i * CHUNK_BYTES, data, chunk_len(e, i) * 4);
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

static void store(uint8_t *p, uint32_t value, bool big_endian)
{
    if (big_endian)
        viv_st_be32(p, value);
    else
        viv_st_le32(p, value);
}

int viv_entries_set(struct viv_entries *e, uint32_t index, uint32_t value)
{
    uint32_t in = index % VIV_ENTRIES_CHUNK;
    struct viv_entries_chunk *c;
    int ret = load(e, index, &c);

    if (ret)
        return ret;
    store(c->data + in * 4, value, e->big_endian);
    if (!is_dirty(c)) {
        e->dirty++;
        c->dirty_from = in;
        c->dirty_to = in + 1;
    }
    c->dirty_from = MIN(c->dirty_from, in);
    c->dirty_to = MAX(c->dirty_to, in + 1);
    return 0;
}

bool viv_entries_full(const struct viv_entries *e)
{
    return e->dirty >= CHUNKS_MAX / 2;
}

int viv_entries_write(struct viv_entries *e)
{
    for (uint32_t i = 0; e->dirty && i < e->chunks; i++) {
        struct viv_entries_chunk *c = &e->chunk[i];
        uint32_t from, to;
        int ret;

        if (!is_dirty(c))
            continue;
        from = c->dirty_from / SECTOR_WORDS * SECTOR_WORDS;
        to = MIN((c->dirty_to + SECTOR_WORDS - 1) / SECTOR_WORDS * SECTOR_WORDS, chunk_len(e, i));
        ret = viv_node_pwrite(e->file, e->offset + (uint64_t)i * CHUNK_BYTES + from * 4, c->data + from * 4,
                              (to - from) * 4);
        if (ret)
            return ret;
        c->dirty_from = c->dirty_to = 0;
        e->dirty--;
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
