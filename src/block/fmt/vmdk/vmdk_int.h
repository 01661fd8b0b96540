/* VMDK, inside. An image is a descriptor (text: identity, parent, list of extents) and extents, one after the other. The
 * descriptor is a file of its own that names the extents' files, or lies inside of the only extent.
 *
 *   flat      the bytes as they are, from an offset of a file on
 *   sparse    header, grain directory (GD), grain tables (GT), grains. A GD entry is the sector of a GT, a GT entry that of
 *             a grain; 0: not there. A second GD with tables of its own (the "redundant" ones) is a copy of the first.
 *   COWD      the same with another header and without the copy; ESX's snapshots (vmfsSparse). Read only here.
 *   zero      no file
 *
 * Numbers are little-endian, sectors have 512 bytes. From "Virtual Disk Format 5.0" (VMware, 2011), where sections are named
 * below. */
#ifndef VIV_BLOCK_FMT_VMDK_VMDK_INT_H
#define VIV_BLOCK_FMT_VMDK_VMDK_INT_H

#include "block/fmt/vmdk/vmdk.h"
#include "block/image.h"

#include <glib.h>

#define VMDK_SECTOR        512u
#define VMDK_MAGIC         "KDMV"
#define VMDK_COWD_MAGIC    "COWD"
#define VMDK_NO_PARENT     0xffffffffu
#define VMDK_DESC_MAX      (4u << 20) /* bytes of a descriptor */
#define VMDK_EXTENTS_MAX   16384u
#define VMDK_TABLES_MAX    (1u << 23) /* of an extent: 256 TiB with the usual grains */
#define VMDK_GTES_MAX      4096u
#define VMDK_GRAIN_MAX     (64u << 20)
#define VMDK_STORED_MAX    (2u << 20) /* compressed grain: it is held in memory whole */
#define VMDK_CACHE_BYTES   (32u << 20)
#define VMDK_GD_AT_END     UINT64_MAX
#define VMDK_SECTORS_MAX   (1ull << 32) /* of a sparse extent's file: entries have 32 bits */

/* "Hosted Sparse Extent Header": fields, in bytes. */
enum {
    VMDK_H_VERSION = 4,
    VMDK_H_FLAGS = 8,
    VMDK_H_CAPACITY = 12,
    VMDK_H_GRAIN = 20,
    VMDK_H_DESC = 28,
    VMDK_H_DESC_SIZE = 36,
    VMDK_H_GTES = 44,
    VMDK_H_RGD = 48,
    VMDK_H_GD = 56,
    VMDK_H_OVERHEAD = 64,
    VMDK_H_UNCLEAN = 72,
    VMDK_H_NEWLINES = 73,
    VMDK_H_COMPRESSION = 77,
    VMDK_H_LEN = 512,
};
#define VMDK_NEWLINES "\n \r\n" /* damaged when somebody moved the file as text */

enum {
    VMDK_F_NEWLINES = 1 << 0, /* the newline test counts */
    VMDK_F_COPY = 1 << 1,     /* the redundant GD is there */
    VMDK_F_ZEROED = 1 << 2,   /* a GT entry of 1 is a grain of zeroes */
    VMDK_F_COMPRESSED = 1 << 16,
    VMDK_F_MARKERS = 1 << 17, /* a grain's length and sector stand before it */
};
#define VMDK_ZEROED    1u
#define VMDK_DEFLATE   1u /* compression algorithm */

/* COWD header ("ESX Server Sparse Extents"). */
enum { COWD_H_VERSION = 4, COWD_H_SECTORS = 12, COWD_H_GRAIN = 16, COWD_H_GD = 20, COWD_H_TABLES = 24 };
#define COWD_GTES 4096u

/* A marker: what follows it in a stream ("Stream-Optimized Compressed Sparse Extents"). */
enum { VMDK_M_VALUE = 0, VMDK_M_SIZE = 8, VMDK_M_TYPE = 12, VMDK_M_GRAIN = 12 /* a grain's data */ };
#define VMDK_MARKER_FOOTER 3u

/* --- descriptor (descriptor.c) --- */

enum vmdk_access { VMDK_RW, VMDK_RDONLY, VMDK_NOACCESS };
enum vmdk_type { VMDK_FLAT, VMDK_SPARSE, VMDK_COWD, VMDK_ZERO };

struct vmdk_line {
    enum vmdk_access access;
    enum vmdk_type type;
    const char *format; /* as the descriptor says it; static */
    uint64_t sectors;
    char *file;      /* NULL: zero */
    uint64_t offset; /* flat: sectors */
};

struct vmdk_descriptor {
    uint32_t cid, parent_cid;
    size_t cid_at, parent_at;           /* where the digits stand in the text */
    unsigned cid_digits, parent_digits; /* 0: it has none */
    char *type, *parent; /* NULL: not given */
    GArray *lines;       /* struct vmdk_line */
};

/* Is this the start of a descriptor's text? */
bool vmdk_is_descriptor(const uint8_t *text, size_t len);
/* -EINVAL with err; `name` is the image's, for messages. */
int vmdk_descriptor_parse(const char *text, size_t len, const char *name, struct vmdk_descriptor *out, struct viv_err *err);
void vmdk_descriptor_free(struct vmdk_descriptor *d); /* what it holds */
/* Another one, as create and the first write since opening want; of as many digits. Negative errno. */
int vmdk_new_cid(unsigned digits, uint32_t *out);

/* --- extents --- */

/* Sectors [first, end) of a sparse extent's file hold metadata. */
struct vmdk_span {
    uint64_t first, end;
};

struct vmdk_sparse {
    struct vmdk *v;
    struct viv_node *file;
    uint64_t capacity, grain; /* bytes; grain is a power of two */
    uint64_t gd_at, copy_at;  /* bytes; copy_at 0: no copy */
    uint64_t desc_at, desc_bytes;
    uint32_t gtes, tables; /* entries of a table; tables */
    bool cowd, zeroed, compressed, markers;
    bool streamed; /* its directory is at the end: nothing can be written behind it */

    /* Under v->lock. */
    uint32_t *gd, *copy; /* sectors of the tables; copy NULL: none */
    uint32_t gd_dirty_from, gd_dirty_to;
    uint32_t dirty;    /* pages */
    uint64_t next;     /* bytes; every grain and table is below */
    uint64_t virgin;   /* bytes from here on were never written: they read as zeroes */
    GArray *spare;     /* uint64_t: bytes, grains that were given back; in reverse order */
    GArray *meta;      /* struct vmdk_span, ascending, apart; NULL: not open for writing */
};

static inline bool vmdk_can_write(const struct vmdk_sparse *s)
{
    return !s->cowd && !s->streamed && (!s->compressed || s->markers);
}

struct vmdk_extent {
    enum vmdk_type type;
    const char *format; /* "SPARSE"; "" when the file is descriptor and extent */
    bool read_only;
    struct viv_node *file; /* NULL: zero */
    uint64_t start, len;   /* bytes of the disk */
    uint64_t flat;         /* flat: bytes, where it starts in the file */
    struct vmdk_sparse *sparse; /* NULL: none */
};

/* A grain table in memory. */
struct vmdk_page {
    struct vmdk_sparse *s;
    uint32_t table;
    uint32_t dirty_from, dirty_to; /* entries */
    GList lru;
    uint8_t data[];
};

struct vmdk {
    struct viv_node *node;
    struct vmdk_descriptor desc;
    bool desc_inside;  /* the only extent's file holds it */
    uint64_t desc_at;  /* bytes, in node->file */
    uint64_t cluster;  /* the first extent's grain; 0: it is flat */
    GArray *extents;   /* struct vmdk_extent, ascending */

    pthread_mutex_t lock; /* all below, and what the sparse extents say of it */
    GHashTable *pages;    /* by extent and table */
    GQueue lru;           /* of pages, the newest first */
    size_t bytes;         /* of pages */
    uint32_t dirty;       /* pages */
    bool writing;         /* the image has its new CID: data may change */
};

/* header.c. Reads and checks the header of a sparse extent; *out is to be freed by vmdk_sparse_free(). */
int vmdk_sparse_open(struct vmdk *v, struct viv_node *file, bool cowd, struct vmdk_sparse **out, struct viv_err *err);
/* Before writing: finds where the metadata lies. -EINVAL with err when parts of it overlap or lie outside of the file. */
int vmdk_sparse_prepare(struct vmdk_sparse *s, struct viv_err *err);
void vmdk_sparse_free(struct vmdk_sparse *s);

/* extents.c. From the descriptor's lines to extents with their files; sets node->size and granule. */
int vmdk_open_extents(struct vmdk *v, const struct viv_node_opts *o, struct viv_err *err);
/* The extent of a byte of the disk. */
struct vmdk_extent *vmdk_extent_at(struct vmdk *v, uint64_t offset);

/* --- tables (table.c); under v->lock --- */

/* Is there a table, by its directory? */
bool vmdk_table_ok(const struct vmdk_sparse *s, uint32_t sector);
static inline uint64_t vmdk_table_bytes(const struct vmdk_sparse *s)
{
    return s->gtes * 4ull;
}
/* The page of a table that the directory names. */
int vmdk_page_get(struct vmdk_sparse *s, uint32_t table, struct vmdk_page **out);
uint32_t vmdk_page_entry(const struct vmdk_page *p, uint32_t i);
void vmdk_page_set(struct vmdk_page *p, uint32_t i, uint32_t value);
/* Before changes: when so much is dirty that the cache is of no more use, it goes out. */
int vmdk_make_room(struct vmdk *v);
void vmdk_gd_dirty(struct vmdk_sparse *s, uint32_t table);
int vmdk_flush_locked(struct vmdk *v);
void vmdk_pages_free(struct vmdk *v);
/* Metadata's places; [first, first + sectors) must not hold any yet. */
void vmdk_meta_add(GArray *meta, uint64_t first, uint64_t sectors);
bool vmdk_meta_hit(const GArray *meta, uint64_t first, uint64_t sectors);
/* A grain of the extent lies in the file, and not on metadata as far as that is known. */
bool vmdk_grain_ok(const struct vmdk_sparse *s, uint32_t sector);

/* --- map.c --- */

/* A new table, copy included, in the memory's directory; the file has it, empty. */
int vmdk_new_table(struct vmdk_sparse *s, uint32_t table);
/* Room for one stored grain of so many bytes. */
int vmdk_take_room(struct vmdk_sparse *s, uint64_t bytes, uint64_t *at);
/* Before the first change since opening. -EROFS, -EIO. */
int vmdk_start_writing(struct vmdk *v);

/* parent.c */
int vmdk_check_backing(struct viv_node *n, struct viv_err *err);
int vmdk_keep_backing(struct viv_node *n, struct viv_err *err);
/* Another CID, of at most so many digits; under the lock. */
int vmdk_change_cid(struct vmdk *v, unsigned most);
int vmdk_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int vmdk_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int vmdk_commit(struct viv_node *n, const struct viv_alloc *a);
void vmdk_cancel(struct viv_node *n, const struct viv_alloc *a);

/* zero.c */
int vmdk_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int vmdk_discard(struct viv_node *n, uint64_t offset, uint64_t len);

/* grain.c: compressed ones */
int vmdk_read_special(struct viv_node *n, uint64_t granule, uint8_t *buf);
int vmdk_pack(struct viv_node *n, const uint8_t *data, size_t len, uint8_t *out, size_t *out_len);
int vmdk_write_packed(struct viv_node *n, uint64_t granule, const uint8_t *packed, size_t len);

/* create.c */
int vmdk_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
extern const struct viv_opt_def vmdk_create_opts[];
extern const char *const vmdk_create_shown[];

/* check.c; takes the lock */
int vmdk_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);

#endif
