/* The bitmap directory: read with limits, written, switched; see bitmap.h. */
#include "block/fmt/qcow2/bitmap.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ENTRY_BYTES 24
#define DIRTY_TRACKING 1 /* the only type there is */

uint64_t qcow2_bitmap_entry_bytes(const struct qcow2_bitmap *b)
{
    return (ENTRY_BYTES + (uint64_t)b->extra_len + strlen(b->name) + 7) & ~7ull;
}

struct qcow2_bitmap *qcow2_find_bitmap(const struct qcow2 *q, const char *name)
{
    for (uint32_t i = 0; i < q->bitmap_count; i++)
        if (strcmp(q->bitmaps[i].name, name) == 0)
            return &q->bitmaps[i];
    return NULL;
}

void qcow2_free_bitmaps(struct qcow2_bitmap *b, uint32_t count)
{
    for (uint32_t i = 0; b && i < count; i++) {
        g_free(b[i].name);
        g_free(b[i].extra);
    }
    g_free(b);
}

/* --- reading; a static text says what is wrong --- */

const char *qcow2_read_bitmaps_extension(struct qcow2 *q, const uint8_t *data, uint32_t len)
{
    if (len != 24)
        return "the bitmaps extension has a wrong length";
    q->bitmap_count = viv_ld_be32(data);
    q->bitmap_dir_bytes = viv_ld_be64(data + 8);
    q->bitmap_dir_offset = viv_ld_be64(data + 16);
    if (!q->bitmap_count || q->bitmap_count > QCOW2_BITMAPS_MAX)
        return "the number of bitmaps is impossible";
    if (viv_ld_be32(data + 4))
        return "the bitmaps extension uses a reserved field";
    if (q->bitmap_dir_bytes > QCOW2_BITMAP_DIR_MAX || q->bitmap_dir_bytes < (uint64_t)q->bitmap_count * ENTRY_BYTES ||
        !q->bitmap_dir_offset || !qcow2_table_ok(q, q->bitmap_dir_offset, q->bitmap_dir_bytes) ||
        q->bitmap_dir_offset + q->bitmap_dir_bytes > qcow2_clusters(q, viv_node_size(q->file)) << q->cluster_bits)
        return "the bitmap directory lies at an impossible place";
    return NULL;
}

static const char *check_entry(struct qcow2 *q, const struct qcow2_bitmap *b, uint8_t type)
{
    if (type != DIRTY_TRACKING)
        return "a bitmap is of an unknown type";
    if (b->flags & ~(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_OK))
        return "a bitmap has an unknown flag";
    if (b->granularity_bits < 9 || b->granularity_bits > 31)
        return "a bitmap's granularity is not between 512 bytes and 2 GiB";
    if (b->table_size > VIV_BITMAP_BYTES_MAX >> q->cluster_bits || !b->table_offset ||
        !qcow2_table_ok(q, b->table_offset, b->table_size * 8ull) ||
        b->table_offset + b->table_size * 8ull > qcow2_clusters(q, viv_node_size(q->file)) << q->cluster_bits)
        return "a bitmap's table lies at an impossible place";
    return NULL;
}

/* One entry at `at` of the directory, which has `left` bytes more. */
static const char *read_entry(struct qcow2 *q, const uint8_t *at, size_t left, struct qcow2_bitmap *b)
{
    uint32_t name_len, extra_len;

    if (left < ENTRY_BYTES)
        return "the bitmap directory is too short";
    name_len = viv_ld_be16(at + 18);
    extra_len = viv_ld_be32(at + 20);
    if (!name_len || name_len > QCOW2_BITMAP_NAME_MAX || extra_len > left - ENTRY_BYTES ||
        name_len > left - ENTRY_BYTES - extra_len || memchr(at + ENTRY_BYTES + extra_len, 0, name_len))
        return "a bitmap's name or extra data is impossible";
    *b = (struct qcow2_bitmap){.table_offset = viv_ld_be64(at),
                               .table_size = viv_ld_be32(at + 8),
                               .flags = viv_ld_be32(at + 12),
                               .granularity_bits = at[17],
                               .extra_len = extra_len,
                               .extra = g_memdup2(at + ENTRY_BYTES, extra_len),
                               .name = g_strndup((const char *)at + ENTRY_BYTES + extra_len, name_len)};
    return check_entry(q, b, at[16]);
}

static const char *parse(struct qcow2 *q, const uint8_t *dir, struct qcow2_bitmap *list)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    uint64_t tables = 0, clusters = qcow2_clusters(q, viv_node_size(q->file));
    size_t at = 0;

    for (uint32_t i = 0; i < q->bitmap_count; i++) {
        const char *wrong = at > q->bitmap_dir_bytes ? "the bitmap directory is too short"
                                                     : read_entry(q, dir + at, q->bitmap_dir_bytes - at, &list[i]);

        if (wrong)
            return wrong;
        if (!g_hash_table_add(names, list[i].name))
            return "two bitmaps have one name";
        tables += qcow2_clusters(q, list[i].table_size * 8ull);
        if (tables > clusters) /* bounds the work of all who read them */
            return "the bitmaps' tables overlap";
        at += qcow2_bitmap_entry_bytes(&list[i]);
    }
    return NULL;
}

static const char *read_directory(struct qcow2 *q)
{
    uint8_t *dir = g_try_malloc(q->bitmap_dir_bytes);
    const char *wrong = NULL;

    q->bitmaps = g_try_new0(struct qcow2_bitmap, q->bitmap_count);
    if (!dir || !q->bitmaps)
        wrong = "no memory for the bitmap directory";
    else if (viv_node_pread(q->file, q->bitmap_dir_offset, dir, q->bitmap_dir_bytes))
        wrong = "the bitmap directory could not be read";
    else
        wrong = parse(q, dir, q->bitmaps);
    g_free(dir);
    return wrong;
}

static void forget(struct qcow2 *q)
{
    if (q->bitmaps)
        qcow2_free_bitmaps(q->bitmaps, q->bitmap_count);
    q->bitmaps = NULL;
    q->bitmap_count = 0;
    q->bitmap_dir_offset = q->bitmap_dir_bytes = 0;
}

int qcow2_read_bitmaps(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err)
{
    if ((q->bitmaps_wrong || q->bitmap_count) && !(q->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        q->bitmaps_wrong = NULL;
        if (!q->node->read_only)
            viv_warn("'%s': a program that does not know dirty bitmaps wrote to it; its bitmaps are out of date and ignored",
                     q->node->filename);
        forget(q);
    }
    if (!q->bitmaps_wrong && q->bitmap_count)
        q->bitmaps_wrong = read_directory(q);
    if (!q->bitmaps_wrong)
        return 0;
    forget(q);
    if (q->node->read_only || o->for_check)
        return 0;
    return viv_fail(err, EINVAL, "'%s': %s; opening it read-only works, and 'viv-img check -r all' removes the bitmaps",
                    q->node->filename, q->bitmaps_wrong);
}

/* --- writing --- */

uint8_t *qcow2_pack_bitmaps(const struct qcow2_bitmap *b, uint32_t count, size_t *len)
{
    uint8_t *dir, *at;

    *len = 0;
    for (uint32_t i = 0; i < count; i++)
        *len += qcow2_bitmap_entry_bytes(&b[i]);
    dir = at = g_try_malloc0(*len + 1);
    for (uint32_t i = 0; dir && i < count; i++, b++) {
        viv_st_be64(at, b->table_offset);
        viv_st_be32(at + 8, b->table_size);
        viv_st_be32(at + 12, b->flags);
        at[16] = DIRTY_TRACKING;
        at[17] = b->granularity_bits;
        viv_st_be16(at + 18, strlen(b->name));
        viv_st_be32(at + 20, b->extra_len);
        if (b->extra_len)
            memcpy(at + ENTRY_BYTES, b->extra, b->extra_len);
        memcpy(at + ENTRY_BYTES + b->extra_len, b->name, strlen(b->name));
        at += qcow2_bitmap_entry_bytes(b);
    }
    return dir;
}

int qcow2_write_bitmap_flags(struct qcow2 *q)
{
    uint64_t at = q->bitmap_dir_offset;
    int ret = 0;

    for (uint32_t i = 0; i < q->bitmap_count && !ret; i++) {
        uint8_t be[4];

        viv_st_be32(be, q->bitmaps[i].flags);
        ret = viv_node_pwrite(q->file, at + 12, be, sizeof(be));
        at += qcow2_bitmap_entry_bytes(&q->bitmaps[i]);
    }
    return ret ? ret : viv_node_flush(q->file);
}

/* The header names a directory (none: offset 0) and a size. */
static int edit_header(struct qcow2 *q, uint32_t count, uint64_t offset, uint64_t bytes, uint64_t size)
{
    uint64_t autoclear = q->autoclear & ~QCOW2_AUTOCLEAR_BITMAPS;
    uint8_t ext[24] = {0};
    struct qcow2_edit e;
    int ret = qcow2_edit_begin(&e, q);

    if (count)
        autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    viv_st_be32(ext, count);
    viv_st_be64(ext + 8, bytes);
    viv_st_be64(ext + 16, offset);
    if (!ret) {
        qcow2_edit_extension(&e, QCOW2_EXT_BITMAPS, count ? ext : NULL, sizeof(ext));
        viv_st_be64(e.fields + QCOW2_H_AUTOCLEAR, autoclear);
        viv_st_be64(e.fields + QCOW2_H_SIZE, size);
        ret = qcow2_edit_commit(&e);
    }
    qcow2_edit_end(&e);
    if (!ret)
        q->autoclear = autoclear;
    return ret;
}

int qcow2_switch_bitmaps(struct qcow2 *q, const struct qcow2_bitmap *list, uint32_t count, uint64_t size)
{
    uint64_t offset = 0, got = 0, old = q->bitmap_dir_offset, old_bytes = q->bitmap_dir_bytes;
    size_t len;
    uint8_t *dir = qcow2_pack_bitmaps(list, count, &len);
    int ret = dir ? 0 : -ENOMEM;

    if (!ret && len > QCOW2_BITMAP_DIR_MAX)
        ret = -E2BIG;
    if (!ret && len)
        ret = qcow2_clusters_alloc(q, qcow2_clusters(q, len), qcow2_clusters(q, len), &offset, &got);
    if (!ret && len)
        ret = viv_node_pwrite(q->file, offset, dir, len);
    g_free(dir);
    if (!ret)
        ret = qcow2_flush_refcounts(q); /* the tables and bits too */
    if (!ret)
        ret = edit_header(q, count, offset, len, size);
    if (ret) {
        if (!q->broken)
            qcow2_clusters_unalloc(q, offset, got);
        return ret;
    }
    q->bitmap_dir_offset = offset;
    q->bitmap_dir_bytes = len;
    if (old)
        qcow2_clusters_unalloc(q, old, qcow2_clusters(q, old_bytes));
    return 0;
}

int qcow2_drop_wrong_bitmaps(struct qcow2 *q)
{
    int ret = edit_header(q, 0, 0, 0, viv_node_size(q->node));

    if (!ret)
        q->bitmaps_wrong = NULL;
    return ret;
}

void qcow2_bitmap_info(struct qcow2 *q, struct viv_img_info *i)
{
    if (!q->bitmap_count)
        return;
    viv_img_fact_open(i, "bitmaps", true);
    for (uint32_t k = 0; k < q->bitmap_count; k++) {
        const struct qcow2_bitmap *b = &q->bitmaps[k];

        viv_img_fact_open(i, NULL, false);
        viv_img_fact_open(i, "flags", true);
        if (b->flags & QCOW2_BITMAP_IN_USE)
            viv_img_fact_str(i, NULL, "in-use");
        if (b->flags & QCOW2_BITMAP_AUTO)
            viv_img_fact_str(i, NULL, "auto");
        viv_img_fact_close(i);
        viv_img_fact_str(i, "name", b->name);
        viv_img_fact_uint(i, "granularity", 1ull << b->granularity_bits);
        viv_img_fact_close(i);
    }
    viv_img_fact_close(i);
}
