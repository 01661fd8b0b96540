/* A dump in makedumpfile's compressed format ("KDUMP", IMPLEMENTATION in its source), version 6, in the flattened form that needs no
 * seeking (makedumpfile(8), -F): crash reads it as it is, makedumpfile -R makes it plain.
 *
 * In blocks of 4 KiB: header; sub-header with the notes behind it; two bitmaps of pages (that exist; that are in the file); then a
 * descriptor for each page in the file, and the pages. A flattened file is records of (offset, length, bytes) of that. Pages of zeroes
 * share one copy. */
#include "machine/memdump_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <zlib.h>

#define BLOCK       4096u
#define SUB_HEADER  104u
#define DESC        24u
#define DESCS       1024u /* written together */
#define DATA        (1u << 20)
#define ZLIB        1u /* DUMP_DH_COMPRESSED_ZLIB */
#define GROUP_PAGES (BLOCK * 8) /* bits of a block of bitmap */

struct kdump {
    struct memdump *d;
    struct viv_err *err;
    uint64_t pages, end_pfn;
    uint64_t bitmap, bitmap_blocks; /* both: where in the file; of one */
    uint64_t desc_at, data_at;      /* where the next record of each goes */
    uint64_t zero_at;               /* the page of zeroes; 0: none yet */
    uint32_t desc_len, data_len, zero_len;
    uint8_t desc[DESC * DESCS], data[DATA];
};

static int put_record(struct kdump *k, uint64_t at, const void *data, uint64_t len)
{
    uint8_t head[16];
    int rc;

    viv_st_be64(head, at);
    viv_st_be64(head + 8, len);
    rc = memdump_put(k->d, head, sizeof(head), k->err);
    return rc ? rc : memdump_put(k->d, data, len, k->err);
}

/* Whole pages of a block: RAM has no other ones. */
static void pages_of(const struct memdump_block *b, uint64_t *first, uint64_t *end)
{
    *first = (b->gpa + BLOCK - 1) / BLOCK;
    *end = MAX((b->gpa + b->size) / BLOCK, *first);
}

static void count_pages(struct kdump *k)
{
    for (guint i = 0; i < k->d->blocks->len; i++) {
        uint64_t first, end;

        pages_of(&g_array_index(k->d->blocks, struct memdump_block, i), &first, &end);
        k->pages += end - first;
        k->end_pfn = MAX(k->end_pfn, end);
    }
}

/* --- the head --- */

static int put_head(struct kdump *k)
{
    const struct memdump *d = k->d;
    uint32_t sub = (uint32_t)((SUB_HEADER + d->notes->len + BLOCK - 1) / BLOCK);
    uint8_t flat[BLOCK] = "makedumpfile", head[464] = "KDUMP   ";
    g_autofree uint8_t *second = g_malloc0(SUB_HEADER + d->notes->len);
    int rc;

    k->bitmap_blocks = (k->end_pfn + GROUP_PAGES - 1) / GROUP_PAGES;
    k->bitmap = (1 + (uint64_t)sub) * BLOCK;
    if (k->bitmap_blocks > UINT32_MAX / 2)
        return viv_fail(k->err, EFBIG, "dump: memory lies too high for kdump-zlib");
    k->desc_at = k->bitmap + 2 * k->bitmap_blocks * BLOCK;
    k->data_at = k->desc_at + k->pages * DESC;

    viv_st_be64(flat + 16, 1); /* type */
    viv_st_be64(flat + 24, 1); /* version */
    viv_st_le32(head + 8, 6);
    memcpy(head + 12 + 4 * 65, "x86_64", 6); /* utsname.machine */
    viv_st_le32(head + 424, ZLIB);
    viv_st_le32(head + 428, BLOCK);
    viv_st_le32(head + 432, sub);
    viv_st_le32(head + 436, (uint32_t)(2 * k->bitmap_blocks));
    viv_st_le32(head + 440, (uint32_t)MIN(k->end_pfn, UINT32_MAX));
    viv_st_le32(head + 460, d->cpus);

    viv_st_le64(second, d->phys_base);
    viv_st_le32(second + 8, 1); /* dump_level: pages of zeroes are nowhere by themselves */
    viv_st_le64(second + 48, BLOCK + SUB_HEADER); /* offset_note, size_note */
    viv_st_le64(second + 56, d->notes->len);
    viv_st_le64(second + 96, k->end_pfn); /* max_mapnr_64 */
    memcpy(second + SUB_HEADER, d->notes->data, d->notes->len);

    rc = memdump_put(k->d, flat, sizeof(flat), k->err);
    if (!rc)
        rc = put_record(k, 0, head, sizeof(head));
    return rc ? rc : put_record(k, BLOCK, second, SUB_HEADER + d->notes->len);
}

/* --- bitmaps: blocks of them without a bit are holes, but for the last one --- */

static int put_bits(struct kdump *k, uint64_t at)
{
    uint64_t group = 0, pfn, end;
    uint8_t bits[BLOCK] = {0};
    int rc = 0;

    for (guint i = 0; i < k->d->blocks->len && !rc; i++) {
        pages_of(&g_array_index(k->d->blocks, struct memdump_block, i), &pfn, &end);
        for (; pfn < end && !rc; pfn++) {
            if (pfn / GROUP_PAGES != group) {
                rc = put_record(k, at + group * BLOCK, bits, BLOCK);
                group = pfn / GROUP_PAGES;
                memset(bits, 0, sizeof(bits));
            }
            bits[pfn % GROUP_PAGES / 8] |= (uint8_t)(1u << pfn % 8);
        }
    }
    return rc ? rc : put_record(k, at + group * BLOCK, bits, BLOCK);
}

/* --- pages --- */

static int flush_descs(struct kdump *k)
{
    int rc = k->desc_len ? put_record(k, k->desc_at, k->desc, k->desc_len) : 0;

    k->desc_at += k->desc_len;
    k->desc_len = 0;
    return rc;
}

static int flush_data(struct kdump *k)
{
    int rc = k->data_len ? put_record(k, k->data_at, k->data, k->data_len) : 0;

    k->data_at += k->data_len;
    k->data_len = 0;
    return rc;
}

static int put_desc(struct kdump *k, uint64_t at, uint32_t len)
{
    uint8_t *p;
    int rc = k->desc_len == sizeof(k->desc) ? flush_descs(k) : 0;

    p = k->desc + k->desc_len;
    viv_st_le64(p, at);
    viv_st_le32(p + 8, len);
    viv_st_le32(p + 12, len < BLOCK ? ZLIB : 0);
    viv_st_le64(p + 16, 0);
    k->desc_len += DESC;
    return rc;
}

static bool is_zero(const uint8_t *p)
{
    return !p[0] && !memcmp(p, p + 1, BLOCK - 1);
}

/* The page at the end of what waits; *len: of it there. Read once: a device may still be writing to it. */
static int add_data(struct kdump *k, const uint8_t *page, uint32_t *len)
{
    uint8_t copy[BLOCK];
    uLongf room = BLOCK - 1;
    int rc = sizeof(k->data) - k->data_len < BLOCK ? flush_data(k) : 0;

    memcpy(copy, page, BLOCK);
    *len = (uint32_t)room;
    if (compress2(k->data + k->data_len, &room, copy, BLOCK, Z_BEST_SPEED) == Z_OK) {
        *len = (uint32_t)room;
    } else {
        memcpy(k->data + k->data_len, copy, BLOCK);
        *len = BLOCK;
    }
    return rc;
}

static int put_page(struct kdump *k, const uint8_t *page)
{
    bool zero = is_zero(page);
    uint64_t at;
    uint32_t len;
    int rc;

    if (zero && k->zero_at)
        return put_desc(k, k->zero_at, k->zero_len);
    rc = add_data(k, page, &len);
    at = k->data_at + k->data_len;
    k->data_len += len;
    if (zero) {
        k->zero_at = at;
        k->zero_len = len;
    }
    return rc ? rc : put_desc(k, at, len);
}

static int put_pages(struct kdump *k)
{
    int rc = 0;

    for (guint i = 0; i < k->d->blocks->len && !rc; i++) {
        const struct memdump_block *b = &g_array_index(k->d->blocks, struct memdump_block, i);
        uint64_t pfn, end;

        for (pages_of(b, &pfn, &end); pfn < end && !rc; pfn++) {
            rc = put_page(k, b->hva + (pfn * BLOCK - b->gpa));
            atomic_fetch_add(&k->d->completed, BLOCK);
        }
    }
    if (!rc)
        rc = flush_data(k);
    return rc ? rc : flush_descs(k);
}

int memdump_write_kdump(struct memdump *d, struct viv_err *err)
{
    g_autofree struct kdump *k = g_new0(struct kdump, 1);
    uint8_t last[16];
    int rc;

    k->d = d;
    k->err = err;
    count_pages(k);
    rc = put_head(k);
    if (!rc)
        rc = put_bits(k, k->bitmap);
    if (!rc)
        rc = put_bits(k, k->bitmap + k->bitmap_blocks * BLOCK);
    if (!rc)
        rc = put_pages(k);
    memset(last, 0xff, sizeof(last)); /* no record has this offset */
    return rc ? rc : memdump_put(d, last, sizeof(last), err);
}
