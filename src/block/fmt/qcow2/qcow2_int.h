/* qcow2's insides, for this folder only. Spec: the qcow2 interop document; byte order on disk is big-endian.
 *
 * One mutex (q->lock) protects all of struct qcow2: map, alloc, commit, discard, flush take it; functions named here
 * expect it held, unless they say otherwise. What they write, and in which order, is in flush.c. */
#ifndef VIV_BLOCK_FMT_QCOW2_QCOW2_INT_H
#define VIV_BLOCK_FMT_QCOW2_QCOW2_INT_H

#include "block/fmt/qcow2/qcow2.h"
#include "block/image.h"

#include "base/checked.h"

#include <pthread.h>

#define QCOW2_MAGIC 0x514649fbu

/* Byte offsets of the header's fields. */
enum {
    QCOW2_H_MAGIC = 0,
    QCOW2_H_VERSION = 4,
    QCOW2_H_BACKING_OFFSET = 8,
    QCOW2_H_BACKING_SIZE = 16,
    QCOW2_H_CLUSTER_BITS = 20,
    QCOW2_H_SIZE = 24,
    QCOW2_H_CRYPT = 32,
    QCOW2_H_L1_SIZE = 36,
    QCOW2_H_L1_OFFSET = 40,
    QCOW2_H_RT_OFFSET = 48,
    QCOW2_H_RT_CLUSTERS = 56,
    QCOW2_H_SNAPSHOTS = 60,
    QCOW2_H_SNAPSHOTS_OFFSET = 64,
    QCOW2_H_V2_LENGTH = 72,
    QCOW2_H_INCOMPATIBLE = 72,
    QCOW2_H_COMPATIBLE = 80,
    QCOW2_H_AUTOCLEAR = 88,
    QCOW2_H_REFCOUNT_ORDER = 96,
    QCOW2_H_HEADER_LENGTH = 100,
    QCOW2_H_COMPRESSION = 104,
    QCOW2_H_V3_LENGTH = 112, /* of what we write */
};

#define QCOW2_INCOMPAT_DIRTY       (1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT     (1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ull << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (1ull << 4)
#define QCOW2_COMPAT_LAZY          (1ull << 0)
#define QCOW2_AUTOCLEAR_BITMAPS    (1ull << 0)
#define QCOW2_AUTOCLEAR_DATA_RAW   (1ull << 1)

enum {
    QCOW2_EXT_END = 0,
    QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
    QCOW2_EXT_FEATURES = 0x6803f857,
    QCOW2_EXT_BITMAPS = 0x23852875,
    QCOW2_EXT_DATA_FILE = 0x44415441,
    QCOW2_EXT_CRYPT = 0x0537be77, /* "Full disk encryption header pointer" */
};

#define QCOW2_OFFSET     0x00fffffffffffe00ull /* L1 and L2 entries */
#define QCOW2_COPIED     (1ull << 63)
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO       (1ull << 0)

#define QCOW2_SUB_BITS 5             /* log2 of subclusters with extended L2 entries */
#define QCOW2_EXTENDED_CLUSTER_BITS 14 /* the smallest cluster with them: subclusters of 512 bytes */

/* What one image may make us allocate. */
#define QCOW2_L1_BYTES_MAX         (32u << 20)
#define QCOW2_RT_BYTES_MAX         (8u << 20)
#define QCOW2_SNAPSHOT_BYTES_MAX   (16u << 20)
#define QCOW2_SNAPSHOTS_MAX        65536
#define QCOW2_L2_CACHE_BYTES       (16u << 20)
#define QCOW2_REFBLOCK_CACHE_BYTES (4u << 20)

/* A cached metadata cluster. Pinned while somebody has its pointer. */
struct qcow2_table {
    uint64_t offset; /* host */
    uint8_t *data;   /* as on disk */
    bool dirty;
    unsigned pins;
    uint64_t used; /* clock of the last use */
};

struct qcow2_cache {
    struct qcow2_table **slot;
    unsigned count, max;
    unsigned dirty;
    uint64_t clock;
};

/* A set of cluster numbers (open addressing; key + 1, 0 is empty, ~0 deleted). */
struct qcow2_set {
    uint64_t *key;
    size_t used, size;
};

/* An entry of the snapshot table. `extra` is kept as it was found, also what we do not know of it. */
struct qcow2_snapshot {
    char *id, *name;
    uint64_t l1_offset;
    uint32_t l1_size; /* entries */
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint32_t vm_state_size; /* only without extra data */
    uint32_t extra_len;
    uint8_t *extra;
};

struct qcow2_free {
    uint64_t cluster, count;
};

/* An array of big-endian u64 on disk (L1, refcount table), held whole in host order. */
struct qcow2_array {
    uint64_t *entry;
    uint64_t offset;               /* host */
    uint32_t size;                 /* entries */
    uint32_t dirty_from, dirty_to; /* half open; equal: clean */
};

struct qcow2 {
    pthread_mutex_t lock;
    struct viv_node *node, *file; /* borrowed */
    int version;
    unsigned cluster_bits;
    uint32_t cluster_size;
    unsigned entry_bits;     /* log2 of bytes of an L2 entry; entry.h reads them */
    unsigned l2_bits;        /* log2 of entries of an L2 table */
    unsigned refcount_order; /* log2 of bits */
    unsigned refblock_bits;  /* log2 of entries of a refcount block */
    uint64_t incompatible, compatible, autoclear;
    unsigned compression; /* 0 zlib, 1 zstd */
    char *backing_file, *backing_fmt;
    bool extended;    /* extended L2 entries: subclusters */
    bool external;    /* guest clusters lie in `data`, each at its own offset, and are not counted */
    bool data_raw;    /* and `data` alone is the disk: zeroes are written there too */
    char *data_file;  /* its name in the header */
    struct viv_node *data; /* borrowed; the image's file when not external; NULL: not opened (for_check) */
    unsigned crypt;                       /* QCOW2_CRYPT_ */
    uint64_t crypt_offset, crypt_length;  /* LUKS: where its header is; host bytes */
    struct viv_luks *luks;
    struct qcow2_bitmap *bitmaps; /* bitmap.h */
    uint32_t bitmap_count;
    uint64_t bitmap_dir_offset, bitmap_dir_bytes;
    const char *bitmaps_wrong; /* what is wrong with them; none are known then */

    struct qcow2_array l1, rt;
    struct qcow2_cache l2_cache, refblock_cache;

    uint64_t snapshot_offset, snapshot_bytes;
    struct qcow2_snapshot *snapshots;
    uint32_t snapshot_count;
    uint32_t snapshots_renamed; /* so many have another ID than on disk, where it is an earlier one's too */
    bool snapshot_view; /* opened as one of them holds the disk: read-only, L1 and size are its */

    /* Only when writable: */
    struct qcow2_set meta;    /* clusters of metadata: data never goes there */
    uint64_t free_hint;       /* no free cluster below this one */
    struct qcow2_free *frees; /* unreferenced in memory, still referenced on disk */
    size_t free_count, free_room;
    uint64_t pack_at; /* where the next compressed cluster goes, inside a host cluster that others share; 0: nowhere */
    bool broken; /* marked corrupt: no more writes */
};

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* --- header.c --- */
/* Reads and checks header, extensions and snapshot table into q. No lock. */
int qcow2_read_header(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err);
int qcow2_write_u64(struct qcow2 *q, uint64_t at, uint64_t value);
/* Sets or clears incompatible feature bits, durably. */
int qcow2_set_incompatible(struct qcow2 *q, uint64_t set, uint64_t clear);
/* Marks the image corrupt because of `why` (a person reads it) and fails everything from now on: -EIO. */
int qcow2_corrupt(struct qcow2 *q, const char *why, uint64_t offset);
/* offset..+len aligned, without overflow, below 2^56? */
bool qcow2_table_ok(const struct qcow2 *q, uint64_t offset, uint64_t len);

/* --- qcow2.c --- */
/* Makes the set of metadata clusters anew. `lax`: overlaps are no error. */
int qcow2_collect_meta(struct qcow2 *q, bool lax, struct viv_err *err);

/* --- snapshot_table.c --- */
int qcow2_read_snapshots(struct qcow2 *q, struct viv_err *err);
char *qcow2_next_snapshot_id(const struct qcow2 *q); /* one more than the largest number, or another free one; g_free */
void qcow2_free_snapshots(struct qcow2_snapshot *s, uint32_t count); /* the array too; NULL allowed */
/* As bytes of a table, g_free; NULL: no memory. */
uint8_t *qcow2_pack_snapshots(const struct qcow2_snapshot *s, uint32_t count, size_t *len);
uint64_t qcow2_snapshot_bytes(const struct qcow2_snapshot *s); /* of its entry */
uint64_t qcow2_snapshot_state_size(const struct qcow2_snapshot *s);
uint64_t qcow2_snapshot_disk_size(const struct qcow2 *q, const struct qcow2_snapshot *s);
/* By id, else by name; NULL: none. */
struct qcow2_snapshot *qcow2_find_snapshot(const struct qcow2 *q, const char *which);
/* Turns the node into what snapshot `which` holds; before anything but the header and the snapshot table was used. */
int qcow2_view_snapshot(struct qcow2 *q, const char *which, struct viv_err *err);

/* --- snapshot.c --- */
extern const struct viv_snapshot_ops qcow2_snapshot_ops;
int qcow2_store_snapshots(struct qcow2 *q); /* as they are in memory */
/* Forgets VM state that is not in a snapshot: when the disk's size changes it would become part of the disk. */
int qcow2_drop_state(struct qcow2 *q);

/* --- bitmap_dir.c, bitmap.c, bitmap_live.c; see bitmap.h --- */
extern const struct viv_bitmap_ops qcow2_bitmap_ops;
/* What is wrong with it (static), or NULL. */
const char *qcow2_read_bitmaps_extension(struct qcow2 *q, const uint8_t *data, uint32_t len);
int qcow2_read_bitmaps(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err);
void qcow2_free_bitmaps(struct qcow2_bitmap *b, uint32_t count);
/* Opened for writing: those that follow writes come to life. Closing: they are stored. */
int qcow2_wake_bitmaps(struct qcow2 *q, struct viv_err *err);
int qcow2_rest_bitmaps(struct qcow2 *q);
/* The disk's size in the header and what all bitmaps have stored for it, at once. */
int qcow2_resize_bitmaps(struct qcow2 *q, uint64_t old, uint64_t size);
/* One that is bound to the disk's size on disk (borrowed), or NULL. */
const char *qcow2_bitmap_of_size(const struct qcow2 *q);
/* Bitmaps that make no sense go. */
int qcow2_drop_wrong_bitmaps(struct qcow2 *q);
void qcow2_bitmap_info(struct qcow2 *q, struct viv_img_info *i);

/* --- backing.c --- */
int qcow2_change_backing(struct viv_node *n, const char *name, const char *format, struct viv_err *err);

/* --- options.c --- */
extern const struct viv_opt_def qcow2_create_opts[], qcow2_open_opts[];
extern const char *const qcow2_create_shown[];
int qcow2_read_options(const struct viv_create *c, struct viv_qcow2_create *out, struct viv_err *err);
int qcow2_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);

/* --- encrypt.c --- */
#define QCOW2_ENCRYPT_OPTS \
    {"encrypt.format", VIV_OPT_ENUM, "Encrypt the image, format choices: 'aes', 'luks'", NULL, qcow2_encrypt_values}, \
        {"encrypt.key-secret", VIV_OPT_STR, "ID of secret providing qcow AES key or LUKS passphrase"}, \
        VIV_LUKS_CREATE_OPTS("encrypt."), \
    { \
        "encryption", VIV_OPT_BOOL, "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)" \
    }
extern const char *const qcow2_encrypt_values[];
/* From QCOW2_ENCRYPT_OPTS. */
int qcow2_read_encrypt_options(struct viv_opts *o, struct viv_qcow2_create *out, struct viv_err *err);
/* Bytes that a LUKS header takes in a new image; 0 without. */
uint64_t qcow2_crypt_bytes(const struct viv_qcow2_create *c);
/* The body of QCOW2_EXT_CRYPT. */
int qcow2_read_crypt_extension(struct qcow2 *q, const uint8_t *data, uint32_t len, struct viv_err *err);
/* After the header: finds the key, gives the node its crypt. */
int qcow2_open_encryption(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err);
void qcow2_encrypt_info(const struct qcow2 *q, struct viv_img_info *i);
/* Options that begin with "encrypt.", if there are any. */
int qcow2_amend_encryption(struct qcow2 *q, struct viv_opts *o, bool force, struct viv_err *err);

/* --- amend.c --- */
extern const struct viv_opt_def qcow2_amend_opts[];
int qcow2_amend(struct viv_node *n, struct viv_opts *o, bool force, struct viv_err *err);

/* --- create.c --- */
/* The body of QCOW2_EXT_FEATURES. */
const void *qcow2_feature_names(uint32_t *len);
/* Can such an image exist? */
int qcow2_plan(const struct viv_qcow2_create *c, struct viv_err *err);

/* --- measure.c --- */
int qcow2_measure(const struct viv_create *c, struct viv_node *source, struct viv_measure *out, struct viv_err *err);

/* --- set.c --- */
int qcow2_set_add(struct qcow2_set *s, uint64_t key); /* 0 new, -EEXIST, -ENOMEM */
void qcow2_set_remove(struct qcow2_set *s, uint64_t key);
bool qcow2_set_has(const struct qcow2_set *s, uint64_t key);
void qcow2_set_fini(struct qcow2_set *s);

/* --- cache.c --- */
void qcow2_cache_init(struct qcow2_cache *c, uint32_t cluster_size, uint32_t bytes);
void qcow2_cache_fini(struct qcow2_cache *c);
/* The table at `offset`, pinned. `fresh`: new, zeroed and dirty instead of read. May write out dirty
 * tables to make room (in order). */
int qcow2_table_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset, bool fresh,
                    struct qcow2_table **out);
void qcow2_table_put(struct qcow2_table *t);
void qcow2_table_dirty(struct qcow2_cache *c, struct qcow2_table *t);
/* Forgets it, dirty or not (its cluster was freed). */
void qcow2_table_drop(struct qcow2_cache *c, uint64_t offset);
int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c);

/* --- array.c --- */
int qcow2_array_read(struct qcow2 *q, struct qcow2_array *a);
void qcow2_array_set(struct qcow2_array *a, uint32_t index, uint64_t value);
int qcow2_array_write(struct qcow2 *q, struct qcow2_array *a); /* the dirty part */
int qcow2_array_write_all(struct qcow2 *q, struct qcow2_array *a);

/* --- refcount.c --- */
int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out);
/* Sets one; makes the refcount block if there is none. */
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value);
uint64_t qcow2_refblock_load(const struct qcow2 *q, const uint8_t *block, uint64_t index);
void qcow2_refblock_store(const struct qcow2 *q, uint8_t *block, uint64_t index, uint64_t value);
uint64_t qcow2_refcount_max(const struct qcow2 *q);
/* Up to `want` clusters in a row (at least `least`), refcount 1. */
int qcow2_clusters_alloc(struct qcow2 *q, uint64_t want, uint64_t least, uint64_t *offset,
                         uint64_t *got);
/* They were never referenced on disk: free at once. */
void qcow2_clusters_unalloc(struct qcow2 *q, uint64_t offset, uint64_t count);
/* Their reference is gone in memory; they become free once that is durable. */
int qcow2_clusters_free_later(struct qcow2 *q, uint64_t offset, uint64_t count);
int qcow2_apply_frees(struct qcow2 *q);

/* --- flush.c --- */
int qcow2_flush_refcounts(struct qcow2 *q); /* refcounts durable */
int qcow2_flush_all(struct qcow2 *q);

/* --- map.c: the driver's calls; they take the lock --- */
int qcow2_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int qcow2_read_compressed(struct viv_node *n, uint64_t offset, uint8_t *buf);
uint64_t qcow2_compressed_range(const struct qcow2 *q, uint64_t entry,
                                uint64_t *offset); /* bytes */
/* The active L2 table of guest `offset`: 0 and *out NULL when there is none. */
int qcow2_l2_get(struct qcow2 *q, uint64_t offset, struct qcow2_table **out);
static inline uint32_t qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
    return (offset >> q->cluster_bits) & ((1u << q->l2_bits) - 1);
}
static inline uint64_t qcow2_l1_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> (q->cluster_bits + q->l2_bits);
}

/* --- compress.c --- */
int qcow2_inflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);
/* *out_len: room, then what was used. -E2BIG: it does not shrink. */
int qcow2_deflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len);

/* --- pack.c: compressed writes; they take the lock --- */
int qcow2_pack(struct viv_node *n, const uint8_t *buf, size_t len, uint8_t *out, size_t *out_len);
int qcow2_write_packed(struct viv_node *n, uint64_t offset, const uint8_t *packed, size_t len);
int qcow2_pad_packed(struct qcow2 *q); /* that one expects the lock held */

/* --- data_file.c --- */
/* The file that holds the guest's clusters. */
int qcow2_open_data(struct qcow2 *q, const struct viv_node_opts *o, struct viv_err *err);
/* A new one of c->size bytes beside the image `file`, open for the image's creation. */
int qcow2_create_data(const struct viv_qcow2_create *c, const struct viv_node *file, struct viv_node **out,
                      struct viv_err *err);

/* --- alloc.c: likewise --- */
int qcow2_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int qcow2_commit(struct viv_node *n, const struct viv_alloc *a);
void qcow2_cancel(struct viv_node *n, const struct viv_alloc *a);
/* commit() for room in advance: subclusters keep reading as they do. Without subclusters there is no such state. */
int qcow2_reserve(struct viv_node *n, const struct viv_alloc *a);
/* The L2 table of `offset`, pinned, ours alone. */
int qcow2_l2_writable(struct qcow2 *q, uint64_t offset, struct qcow2_table **out);

/* --- zero.c: likewise --- */
int qcow2_discard(struct viv_node *n, uint64_t offset, uint64_t len);
int qcow2_forget(struct viv_node *n, uint64_t offset, uint64_t len);
int qcow2_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);

/* --- resize.c --- */
int qcow2_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                   struct viv_err *err);
/* A longer L1 table, durable. */
int qcow2_grow_l1(struct qcow2 *q, uint64_t entries);
/* Entries of an L1 table for a disk of `size` bytes. */
uint64_t qcow2_l1_need(const struct qcow2 *q, uint64_t size);
/* Gives every cluster of the range a place; nobody else writes there yet. */
int qcow2_preallocate(struct viv_node *n, uint64_t from, uint64_t to, enum viv_prealloc how);

/* --- check.c, repair.c --- */
int qcow2_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);

#endif
