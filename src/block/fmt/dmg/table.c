/* Tables of chunks: each row is checked before it is believed. */
#include "block/fmt/dmg/dmg_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>

static int bad(struct dmg *d, uint64_t sector, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid dmg image: the chunk at sector %" PRIu64 " %s", d->node->filename, sector, what);
}

static bool is_packed(uint32_t type)
{
    return type == DMG_ZLIB || type == DMG_BZIP2 || type == DMG_LZMA;
}

static int check_type(struct dmg *d, const struct dmg_chunk *c, struct viv_err *err)
{
    const char *name = c->type == DMG_LZFSE ? " (LZFSE)" : c->type == DMG_ADC ? " (ADC)" : "";

    if (c->type == DMG_ZERO || c->type == DMG_IGNORE || c->type == DMG_RAW || is_packed(c->type))
        return 0;
    return viv_fail(err, ENOTSUP,
                    "'%s': chunks of type 0x%x%s are not implemented; zero, raw, ignored, zlib, bzip2 and lzma ones work "
                    "(hdiutil convert -format UDZO makes such an image)",
                    d->node->filename, c->type, name);
}

/* Where its bytes lie, and how many may come of them. */
static int check_place(struct dmg *d, struct dmg_chunk *c, struct viv_err *err)
{
    uint64_t unpacked;

    if (c->type == DMG_ZERO || c->type == DMG_IGNORE)
        return 0;
    if (is_packed(c->type) && (c->bytes > DMG_CHUNK_MAX || c->count > DMG_CHUNK_MAX / 512))
        return bad(d, c->sector, err, "is larger than 64 MiB");
    if (!viv_mul_u64(c->count, 512, &unpacked) || (c->type == DMG_RAW && c->bytes < unpacked))
        return bad(d, c->sector, err, "has fewer bytes than its sectors need");
    if (!viv_add_u64(c->at, d->data_offset, &c->at) || !viv_range_inside(c->at, c->bytes, viv_node_size(d->file)))
        return bad(d, c->sector, err, "lies beyond the end of the file");
    return 0;
}

static int add_row(struct dmg *d, const uint8_t *row, uint64_t first, struct viv_err *err)
{
    struct dmg_chunk c = {
        .sector = viv_ld_be64(row + DMG_ROW_SECTOR),
        .count = viv_ld_be64(row + DMG_ROW_COUNT),
        .at = viv_ld_be64(row + DMG_ROW_OFFSET),
        .bytes = viv_ld_be64(row + DMG_ROW_BYTES),
        .type = viv_ld_be32(row + DMG_ROW_TYPE),
    };
    uint64_t end;
    int ret;

    if (c.type == DMG_COMMENT || c.type == DMG_END || !c.count)
        return 0;
    if (!viv_add_u64(c.sector, first, &c.sector) || !viv_add_u64(c.sector, c.count, &end) || end > INT64_MAX / 512)
        return bad(d, c.sector, err, "passes the largest disk");
    ret = check_type(d, &c, err);
    if (!ret)
        ret = check_place(d, &c, err);
    if (!ret)
        g_array_append_val(d->chunk, c);
    return ret;
}

int dmg_add_table(struct dmg *d, const uint8_t *table, size_t len, struct viv_err *err)
{
    uint32_t rows;
    int ret = 0;

    if (len < DMG_T_LENGTH || viv_ld_be32(table) != DMG_TABLE)
        return 0; /* other resources */
    rows = viv_ld_be32(table + DMG_T_ROWS);
    if (rows > (len - DMG_T_LENGTH) / DMG_ROW_LENGTH)
        return viv_fail(err, EINVAL, "'%s': invalid dmg image: a table is shorter than its %u chunks need", d->node->filename, rows);
    for (uint32_t i = 0; !ret && i < rows; i++)
        ret = add_row(d, table + DMG_T_LENGTH + i * DMG_ROW_LENGTH, viv_ld_be64(table + DMG_T_FIRST), err);
    return ret;
}

static int by_sector(gconstpointer a, gconstpointer b)
{
    const struct dmg_chunk *x = a, *y = b;

    return x->sector < y->sector ? -1 : x->sector > y->sector;
}

int dmg_sort_chunks(struct dmg *d, struct viv_err *err)
{
    g_array_sort(d->chunk, by_sector);
    for (guint i = 1; i < d->chunk->len; i++) {
        const struct dmg_chunk *a = &g_array_index(d->chunk, struct dmg_chunk, i - 1), *b = a + 1;

        if (b->sector < a->sector + a->count)
            return bad(d, b->sector, err, "overlaps the one before");
    }
    return 0;
}
