/* QED's insides, for this folder only. Spec: the QED image file format specification; little-endian on disk.
 *
 * An L1 entry names an L2 table, an L2 entry a data cluster; both are byte offsets in the file. Tables have table_size
 * clusters each. Nothing counts references: new clusters come from the end of the file.
 *
 * q->lock protects all of struct qed: map, alloc, commit, flush take it; functions named here expect it held, unless
 * they say otherwise. What is written when: flush in table.c, and docs/block.md. */
#ifndef VIV_BLOCK_FMT_QED_QED_INT_H
#define VIV_BLOCK_FMT_QED_QED_INT_H

#include "block/fmt/qed/qed.h"
#include "block/image.h"

#include "base/checked.h"

#include <glib.h>
#include <pthread.h>

/* Byte offsets of the header's fields. */
enum {
    QED_H_MAGIC = 0,
    QED_H_CLUSTER_SIZE = 4,
    QED_H_TABLE_SIZE = 8,   /* clusters */
    QED_H_HEADER_SIZE = 12, /* clusters */
    QED_H_FEATURES = 16,
    QED_H_COMPAT = 24,
    QED_H_AUTOCLEAR = 32,
    QED_H_L1_OFFSET = 40,
    QED_H_SIZE = 48,
    QED_H_BACKING_OFFSET = 56,
    QED_H_BACKING_SIZE = 60,
    QED_H_LENGTH = 64,
};

#define QED_MAGIC "QED\0"

#define QED_F_BACKING    (1ull << 0)
#define QED_F_NEED_CHECK (1ull << 1)
#define QED_F_RAW        (1ull << 2) /* the backing file is raw: not probed */
#define QED_F_KNOWN      (QED_F_BACKING | QED_F_NEED_CHECK | QED_F_RAW)

#define QED_CLUSTER_MIN 4096u
#define QED_CLUSTER_MAX (64u << 20)
#define QED_TABLE_MAX   16u /* clusters */
#define QED_BACKING_NAME_MAX 1023u

/* L2 entries below the first possible offset. */
#define QED_NONE 0u
#define QED_ZERO 1u

/* What one image may make us allocate. The largest disk of the format needs no more L1 than this. */
#define QED_L1_ENTRIES_MAX  (4u << 20)
#define QED_CACHE_BYTES     (16u << 20)
#define QED_PAGE_MAX        65536u
#define QED_CHECK_BYTES_MAX (256u << 20)

/* A cached piece of an L2 table. */
struct qed_page {
    uint64_t offset; /* host */
    uint64_t used;   /* clock of the last use */
    bool dirty;
    uint8_t data[]; /* as on disk */
};

struct qed {
    pthread_mutex_t lock;
    struct viv_node *node, *file; /* borrowed */
    uint32_t cluster_size;
    uint64_t header_bytes; /* no cluster lies below */
    unsigned cluster_bits;
    unsigned table_bits; /* log2 of entries of a table */
    uint64_t table_bytes;
    uint64_t features;
    uint64_t l1_offset;
    char *backing_file;

    uint64_t *l1; /* what the disk's size needs */
    uint64_t l1_size;
    uint64_t l1_dirty_from, l1_dirty_to; /* half open; equal: clean */
    GHashTable *tables;                  /* cluster numbers where L2 tables start */
    bool overlap;                        /* two of them do */

    GHashTable *pages; /* host offset -> page */
    unsigned page_bytes, pages_max, dirty;
    uint64_t clock;

    uint64_t end;        /* of the file: where the next cluster goes */
    GArray *spare;       /* clusters below `end` that were given back */
    bool clear_at_close; /* the bit "need check" */
    bool broken;         /* nothing is written any more */
};

static inline uint64_t qed_reach_bits(const struct qed *q) /* what one L2 table maps */
{
    return q->cluster_bits + q->table_bits;
}

static inline uint64_t qed_l1_index(const struct qed *q, uint64_t offset)
{
    return offset >> qed_reach_bits(q);
}

static inline uint64_t qed_l2_index(const struct qed *q, uint64_t offset)
{
    return (offset >> q->cluster_bits) & ((1ull << q->table_bits) - 1);
}

/* header.c */
int qed_read_header(struct qed *q, const struct viv_node_opts *o, struct viv_err *err);
int qed_write_features(struct qed *q, uint64_t features); /* durable when it returns */
uint64_t qed_size_max(uint32_t cluster_size, uint32_t table_size);
bool qed_cluster_size_ok(uint64_t cluster_size);
bool qed_table_size_ok(uint64_t table_size);
/* L1 entries for a disk of `size` bytes are loaded, those that are there already stay. */
int qed_load_l1(struct qed *q, uint64_t size, struct viv_err *err);
int qed_corrupt(struct qed *q, const char *why, uint64_t offset); /* says so once, returns -EIO */

/* table.c */
/* The page with entry `index` of the table at `table`; valid until the next call. *first is its first entry's index. */
int qed_page_get(struct qed *q, uint64_t table, uint64_t index, struct qed_page **out,
                 uint64_t *first);
void qed_page_dirty(struct qed *q, struct qed_page *p);
void qed_pages_free(struct qed *q);
/* May an L2 table lie there / may data lie there? */
bool qed_table_ok(const struct qed *q, uint64_t offset);
bool qed_data_ok(const struct qed *q, uint64_t offset);
bool qed_on_table(const struct qed *q, uint64_t offset, uint64_t clusters);
int qed_flush_all(struct qed *q);

/* alloc.c: the driver's operations; take the lock */
int qed_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int qed_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int qed_commit(struct viv_node *n, const struct viv_alloc *a);
void qed_cancel(struct viv_node *n, const struct viv_alloc *a);
int qed_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int qed_discard(struct viv_node *n, uint64_t offset, uint64_t len);

/* create.c */
int qed_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
int qed_change_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err);
int qed_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                 struct viv_err *err);
extern const struct viv_opt_def qed_create_opts[];
extern const char *const qed_create_shown[];

/* check.c; takes the lock */
int qed_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);

#endif
