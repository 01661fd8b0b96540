/* Dirty bitmaps in the image. Spec: "Bitmaps extension", "Bitmap directory", "Bitmap table".
 *
 * While an image is open for writing, those that follow writes (flag auto) live in memory (block/bitmap.h) and are marked in
 * use on disk, which tells that the stored bits are out of date; closing stores what changed and takes the mark away. A
 * power cut in between loses them, and they say so. Everything else is written beside what is there and switched over
 * by the header (edit.h). */
#ifndef VIV_BLOCK_FMT_QCOW2_BITMAP_H
#define VIV_BLOCK_FMT_QCOW2_BITMAP_H

#include "block/bitmap.h"
#include "block/fmt/qcow2/edit.h"

#define QCOW2_BITMAP_IN_USE    (1u << 0)
#define QCOW2_BITMAP_AUTO      (1u << 1)
#define QCOW2_BITMAP_EXTRA_OK  (1u << 2) /* extra data may be left as it is by who does not know it */
#define QCOW2_BITMAPS_MAX      65535
#define QCOW2_BITMAP_DIR_MAX   (16u << 20) /* bytes */
#define QCOW2_BITMAP_NAME_MAX  1023
#define QCOW2_BITMAP_LIVE_MAX  (4ull << 30) /* bytes of bits in memory */

struct qcow2_bitmap {
    char *name;
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;
    uint8_t granularity_bits;
    uint32_t extra_len;
    uint8_t *extra;
    struct viv_bitmap *live; /* the node's; NULL: only the image has it */
};

/* --- bitmap_dir.c --- */
/* All that an edit of the list makes anew; `old` tables and data are given back when it is durable. */
uint64_t qcow2_bitmap_entry_bytes(const struct qcow2_bitmap *b);
uint8_t *qcow2_pack_bitmaps(const struct qcow2_bitmap *b, uint32_t count, size_t *len);
struct qcow2_bitmap *qcow2_find_bitmap(const struct qcow2 *q, const char *name);
/* Writes flags of all entries where they are; the marks are single words, so each is there or not. */
int qcow2_write_bitmap_flags(struct qcow2 *q);
/* `list` becomes the directory, durably, and the disk `size` bytes long; the old directory is free then. */
int qcow2_switch_bitmaps(struct qcow2 *q, const struct qcow2_bitmap *list, uint32_t count, uint64_t size);

/* --- bitmap_bits.c --- */
/* Table entries for that many bytes of bits. */
uint32_t qcow2_bitmap_table_size(const struct qcow2 *q, size_t bytes);
/* g_free; -ESTALE: stored for a disk of another size. */
int qcow2_load_bits(struct qcow2 *q, const struct qcow2_bitmap *b, uint64_t disk, uint8_t **bits, size_t *bytes);
/* Into new clusters, which b names afterwards; `taken` (struct qcow2_free) has them. */
int qcow2_store_bits(struct qcow2 *q, struct qcow2_bitmap *b, const uint8_t *bits, size_t bytes, GArray *taken);
/* Calls for the table's clusters and each data cluster until it returns non-zero. */
typedef int (*qcow2_bitmap_fn)(void *opaque, const char *what, uint64_t offset, uint64_t bytes);
int qcow2_each_bitmap_cluster(struct qcow2 *q, const struct qcow2_bitmap *b, qcow2_bitmap_fn fn, void *opaque);

/* --- bitmap_live.c --- */
/* A change of the list: made beside it, then switched. */
struct qcow2_bitmap_change {
    struct qcow2 *q;
    struct qcow2_bitmap *list; /* shares its strings with q->bitmaps, but for what is new */
    uint32_t count;
    GArray *taken; /* struct qcow2_free: new tables and data */
    GArray *old;   /* likewise: no more needed when it is durable */
};
int qcow2_bitmaps_begin(struct qcow2_bitmap_change *c, struct qcow2 *q);
/* Switches over when `ret` is 0, with the disk's size; else undoes. Always to be called after begin(). */
int qcow2_bitmaps_end(struct qcow2_bitmap_change *c, int ret, uint64_t size);
/* What bitmap `b` has on disk is not needed any more. A table that makes no sense is left alone: it leaks. */
void qcow2_bitmaps_drop(struct qcow2_bitmap_change *c, const struct qcow2_bitmap *b);
/* The node follows writes with it from here on. */
int qcow2_bitmap_make_live(struct qcow2 *q, struct qcow2_bitmap *b, const uint8_t *bits, size_t bytes, struct viv_err *err);

#endif
