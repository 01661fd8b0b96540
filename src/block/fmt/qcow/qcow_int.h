/* QCOW version 1's insides, for this folder only. Format: "The QCOW Image Format" (M. McLoughlin, 2008), part "version 1"; big-endian.
 *
 * An L1 entry names an L2 table, an L2 entry a data cluster, both as byte offsets in the file, 0: none. With bit 63 an L2 entry
 * names compressed bytes (raw deflate): their count in the cluster_bits bits below, then their offset. Nothing counts references:
 * new clusters come from the end of the file, and none is ever freed.
 *
 * q->lock protects all of struct qcow: the driver's operations take it; functions named here expect it held, unless they say
 * otherwise. What is written when: qcow_flush_all() in table.c, and docs/block.md. */
#ifndef VIV_BLOCK_FMT_QCOW_QCOW_INT_H
#define VIV_BLOCK_FMT_QCOW_QCOW_INT_H

#include "block/fmt/qcow/qcow.h"
#include "block/image.h"

#include "base/checked.h"

#include <glib.h>
#include <pthread.h>

/* Byte offsets of the header's fields. */
enum {
    QCOW_H_MAGIC = 0,
    QCOW_H_VERSION = 4,
    QCOW_H_BACKING_OFFSET = 8,
    QCOW_H_BACKING_SIZE = 16,
    QCOW_H_MTIME = 20,
    QCOW_H_SIZE = 24,
    QCOW_H_CLUSTER_BITS = 32, /* one byte */
    QCOW_H_L2_BITS = 33,      /* one byte; two of padding follow */
    QCOW_H_CRYPT = 36,
    QCOW_H_L1_OFFSET = 40,
    QCOW_H_LENGTH = 48,
};

#define QCOW_MAGIC 0x514649fbu /* "QFI\xfb" */

#define QCOW_COMPRESSED (1ull << 63)

#define QCOW_CLUSTER_BITS_MIN 9u
#define QCOW_CLUSTER_BITS_MAX 16u
#define QCOW_L2_BITS_MIN      6u /* tables of 512 bytes to 64 KiB */
#define QCOW_L2_BITS_MAX      13u
#define QCOW_BACKING_NAME_MAX 1023u

/* What one image may make us allocate or walk. */
#define QCOW_L1_ENTRIES_MAX  (1ull << 28) /* 512 TiB with either kind of table that create makes */
#define QCOW_TABLES_MAX      (4u << 20)   /* L2 tables of an image that is written */
#define QCOW_CACHE_BYTES     (16u << 20)
#define QCOW_CHECK_BYTES_MAX (256u << 20)

/* A cached L2 table, or a piece of L1 as long as one (the last is shorter). */
struct qcow_page {
    uint64_t offset; /* host */
    uint32_t len;
    bool l1, dirty;
    GList link; /* of q->lru */
    uint8_t data[]; /* as on disk */
};

struct qcow {
    pthread_mutex_t lock;
    struct viv_node *node, *file; /* borrowed */
    uint32_t cluster_size;
    unsigned cluster_bits, l2_bits;
    uint32_t table_bytes;
    uint64_t l1_offset, l1_bytes;
    uint32_t crypt;
    char *backing_file;

    GHashTable *tables; /* cluster numbers where L2 tables start; complete when open for writing */
    GHashTable *pages;  /* host offset -> page */
    GQueue lru;         /* of pages, last used first */
    unsigned pages_max, dirty_l1, dirty_l2;

    uint64_t end;  /* of the file, in sectors of 512: the next cluster goes behind it */
    GArray *spare; /* clusters below `end` that were given back */
    bool broken;   /* nothing is written any more */
};

static inline unsigned qcow_reach_bits(const struct qcow *q) /* what one L2 table maps */
{
    return q->cluster_bits + q->l2_bits;
}

static inline uint64_t qcow_l2_index(const struct qcow *q, uint64_t offset)
{
    return (offset >> q->cluster_bits) & ((1ull << q->l2_bits) - 1);
}

static inline uint64_t qcow_clusters(const struct qcow *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* Bytes and place of a compressed cluster, from its entry. */
static inline uint64_t qcow_compressed_at(const struct qcow *q, uint64_t entry, uint32_t *len)
{
    *len = entry >> (63 - q->cluster_bits) & (q->cluster_size - 1);
    return entry & ((1ull << (63 - q->cluster_bits)) - 1);
}

/* header.c */
int qcow_read_header(struct qcow *q, const struct viv_node_opts *o, struct viv_err *err); /* sets the node's size and crypt */
int qcow_find_tables(struct qcow *q, struct viv_err *err); /* fills q->tables; refuses those that overlap */
uint64_t qcow_l1_entries(uint64_t size, unsigned reach_bits);
uint64_t qcow_hole(struct qcow *q, uint64_t offset, uint64_t len); /* bytes from there on that are a hole of the file */
int qcow_corrupt(struct qcow *q, const char *why, uint64_t offset); /* says so once, returns -EIO */

/* table.c */
void qcow_pages_init(struct qcow *q);
void qcow_pages_fini(struct qcow *q); /* what is not written is lost */
/* Pages and what they hold are valid until the next call that may read one. */
int qcow_l2_get(struct qcow *q, uint64_t table, struct qcow_page **out);
int qcow_l1_get(struct qcow *q, uint64_t index, uint64_t *table);
int qcow_l1_set(struct qcow *q, uint64_t index, uint64_t table);
void qcow_page_dirty(struct qcow *q, struct qcow_page *p);
/* The entry of a guest offset; 0 too when there is no table. */
int qcow_entry_get(struct qcow *q, uint64_t offset, uint64_t *entry);
/* May an L2 table lie there / may data lie there? */
bool qcow_table_ok(const struct qcow *q, uint64_t offset);
bool qcow_data_ok(const struct qcow *q, uint64_t offset);
bool qcow_compressed_ok(const struct qcow *q, uint64_t offset, uint32_t len);
bool qcow_on_table(const struct qcow *q, uint64_t offset, uint64_t clusters);
int qcow_flush_all(struct qcow *q);

/* alloc.c: room in the file */
uint64_t qcow_take(struct qcow *q, uint64_t *clusters); /* in a row; fewer than wanted at times */
void qcow_give_back(struct qcow *q, uint64_t host, uint64_t clusters);
/* The L2 table of a guest offset, made when there is none. */
int qcow_writable_table(struct qcow *q, uint64_t offset, uint64_t *table);

/* map.c, alloc.c, compress.c, check.c: the driver's operations; take the lock */
int qcow_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int qcow_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int qcow_commit(struct viv_node *n, const struct viv_alloc *a);
void qcow_cancel(struct viv_node *n, const struct viv_alloc *a);
int qcow_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int qcow_discard(struct viv_node *n, uint64_t offset, uint64_t len);
int qcow_forget(struct viv_node *n, uint64_t offset, uint64_t len);
int qcow_read_compressed(struct viv_node *n, uint64_t offset, uint8_t *buf);
int qcow_pack(struct viv_node *n, const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len); /* takes no lock */
int qcow_write_packed(struct viv_node *n, uint64_t offset, const uint8_t *packed, size_t len);
int qcow_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);
/* Without the lock: one extent from the tables. */
int qcow_map_locked(struct qcow *q, uint64_t offset, struct viv_extent *e);

/* create.c */
int qcow_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
extern const struct viv_opt_def qcow_create_opts[];
extern const char *const qcow_create_shown[];

#endif
