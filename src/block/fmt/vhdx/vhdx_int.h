/* VHDX, inside this folder. [MS-VHDX] is quoted by section. All numbers are little-endian.
 *
 * The first MiB: file identifier, two headers that take turns (the only thing that is not changed through the log), two copies of the
 * region table. The header names the log, the region table names the BAT and the metadata; all of them, and the blocks, lie at whole MiB.
 * A block of the disk has a BAT entry: state and MiB of the file. After each `ratio` entries one of a sector bitmap follows, which only
 * images with a parent use.
 *
 * v->lock protects what stands below it; functions here expect it held unless they are a driver's operation. What is written when:
 * vhdx.c, log.c and docs/block.md. */
#ifndef VIV_BLOCK_FMT_VHDX_VHDX_INT_H
#define VIV_BLOCK_FMT_VHDX_VHDX_INT_H

#include "block/fmt/entries/entries.h"
#include "block/fmt/vhdx/vhdx.h"
#include "block/image.h"

#include "base/units.h"

#include <glib.h>
#include <pthread.h>

#define VHDX_SIGNATURE  "vhdxfile"
#define VHDX_HEADER_AT  (64u << 10) /* the second one: twice that */
#define VHDX_HEADER_LEN 4096u
#define VHDX_TABLE_AT   (192u << 10)
#define VHDX_TABLE_LEN  (64u << 10)
#define VHDX_TABLE_MAX  2047u /* entries of a region or metadata table */
#define VHDX_LOG_SECTOR 4096u
#define VHDX_LOG_MAX    (64u << 20) /* bytes of a log that is replayed: it is read into memory */
#define VHDX_BATCH      64u         /* sectors that one log entry of ours changes */
#define VHDX_BLOCK_MAX  (256u << 20)
#define VHDX_SIZE_MAX   (64ull << 40) /* bytes of a disk */
#define VHDX_FILE_MAX   (256ull << 40) /* bytes of a file that is written: a bit a MiB finds what is free */

/* 2.2.2, header */
enum {
    VHDX_H_SIGNATURE = 0, /* "head" */
    VHDX_H_SUM = 4,
    VHDX_H_SEQUENCE = 8,
    VHDX_H_FILE_GUID = 16,
    VHDX_H_DATA_GUID = 32,
    VHDX_H_LOG_GUID = 48, /* 0: the log holds nothing */
    VHDX_H_LOG_VERSION = 64,
    VHDX_H_VERSION = 66,
    VHDX_H_LOG_LEN = 68,
    VHDX_H_LOG_AT = 72,
};

/* 2.3.1.1, log entry header */
enum {
    VHDX_L_SIGNATURE = 0, /* "loge" */
    VHDX_L_SUM = 4,
    VHDX_L_LENGTH = 8,
    VHDX_L_TAIL = 12,
    VHDX_L_SEQUENCE = 16,
    VHDX_L_COUNT = 24,
    VHDX_L_GUID = 32,
    VHDX_L_FLUSHED = 48,
    VHDX_L_LAST = 56,
    VHDX_L_DESC = 64,
};

/* 2.3.1.2, 2.3.1.3, descriptors */
enum {
    VHDX_D_SIGNATURE = 0, /* "desc", "zero" */
    VHDX_D_TRAILING = 4,
    VHDX_D_LEADING = 8, /* "zero": bytes */
    VHDX_D_OFFSET = 16,
    VHDX_D_SEQUENCE = 24,
    VHDX_D_LEN = 32,
};

/* 2.6.2, metadata items */
enum { VHDX_FIXED = 1, VHDX_HAS_PARENT = 2 }; /* file parameters */

/* 2.5.1.1, states of a payload block */
enum {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_PRESENT = 6,
    VHDX_PARTIAL = 7, /* needs a parent */
    VHDX_STATE = 7,   /* mask */
};
#define VHDX_PLACE (~0ull << 20) /* mask: MiB of the file, shifted so that it counts bytes */

struct vhdx_area {
    uint64_t at, len; /* bytes */
};

struct vhdx {
    struct viv_node *node, *file;
    struct vhdx_area log, bat_area, meta;
    GArray *areas; /* struct vhdx_area: log and all regions; no block lies on one */
    uint32_t block, sector; /* bytes */
    uint32_t blocks, ratio;
    uint32_t flags;
    uint64_t size_at; /* of the disk's size in the file */
    bool replayed;    /* the log was, when the image was opened */

    pthread_mutex_t lock; /* all below */
    uint8_t header[VHDX_HEADER_LEN]; /* the current one */
    unsigned slot;                   /* which of the two it is */
    struct viv_entries bat;
    bool scanned; /* opened for writing, and each block has its own place */
    bool writing; /* the header tells other programs that contents change */
    uint64_t next;   /* byte of the file where the next block goes */
    uint64_t virgin; /* the file never held anything from here on */
    GArray *spare;   /* uint64_t: free places below `next` */

    uint8_t log_guid[16];
    bool log_live; /* the header has log_guid */
    uint32_t log_next; /* byte of the log */
    uint64_t log_sequence;
};

/* 4 KiB at a multiple of 4 KiB of the file. */
struct vhdx_sector {
    uint64_t at;
    const uint8_t *data;
};

static inline uint32_t vhdx_entry(const struct vhdx *v, uint32_t block)
{
    return block + block / v->ratio;
}

static inline uint64_t vhdx_mib_up(uint64_t bytes)
{
    return (bytes + VIV_MIB - 1) / VIV_MIB * VIV_MIB;
}

/* guid.c: the names that the specification gives, as they lie in the file */
extern const uint8_t vhdx_guid_bat[16], vhdx_guid_metadata[16], vhdx_guid_parameters[16], vhdx_guid_size[16],
    vhdx_guid_disk_id[16], vhdx_guid_logical[16], vhdx_guid_physical[16], vhdx_guid_parent[16];
int vhdx_guid_new(uint8_t guid[16]);
bool vhdx_guid_is_zero(const uint8_t guid[16]);
char *vhdx_guid_text(const uint8_t guid[16]); /* g_free */

/* header.c */
int vhdx_corrupt(const struct vhdx *v, struct viv_err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void vhdx_seal(uint8_t *data, size_t len); /* the sum of a structure that has it at byte 4 */
bool vhdx_sealed(const uint8_t *data, size_t len);
int vhdx_read_header(struct vhdx *v, struct viv_err *err);
/* Writes `changed` (VHDX_HEADER_LEN bytes; sequence number and sum are set here) in the older header's place, then a barrier. */
int vhdx_write_header(struct vhdx *v, uint8_t *changed);
/* Before the first change since opening: new identities of file and data. */
int vhdx_begin_writing(struct vhdx *v);
int vhdx_set_log_guid(struct vhdx *v, const uint8_t guid[16]);

/* region.c: region table, metadata */
int vhdx_read_regions(struct vhdx *v, struct viv_err *err);
int vhdx_read_metadata(struct vhdx *v, struct viv_err *err);
bool vhdx_on_area(const struct vhdx *v, uint64_t at, uint64_t len);

/* log.c: one entry of at most VHDX_BATCH sectors, made durable; then all sectors are written in place, without a barrier behind.
 * What the entry's predecessor wrote in place is durable, and so is the file's length `stable`. */
int vhdx_log_commit(struct vhdx *v, const struct vhdx_sector *s, unsigned count, uint64_t stable);

/* replay.c: at open. Read-only: n->file becomes a node that shows the file as it were if the log had been replayed. */
int vhdx_replay(struct vhdx *v, struct viv_err *err);

/* log_find.c: the log's entries that have to be replayed, found in a copy of the log. */
struct vhdx_ring {
    uint8_t *data; /* twice the log, so that no entry wraps */
    uint32_t len;  /* of the log */
    const uint8_t *guid;
    int8_t *known;   /* a sector: begins an entry 1, does not -1, not looked at 0 */
    uint64_t budget; /* bytes to sum yet: headers that lie about their lengths end there */
};
/* *count 0: the log holds no whole entry. */
int vhdx_log_find(struct vhdx_ring *r, uint32_t *first, uint32_t *count);
static inline uint32_t vhdx_desc_bytes(uint32_t count) /* entry header and descriptors */
{
    return ((uint64_t)VHDX_L_DESC + (uint64_t)count * VHDX_D_LEN + VHDX_LOG_SECTOR - 1) / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR;
}

/* log_view.c. Takes `data`, where all ops point into. */
struct vhdx_op {
    uint64_t at, len;
    const uint8_t *data; /* NULL: zeroes */
};
struct viv_node *vhdx_view_new(struct viv_node *file, GArray *ops_take, uint8_t *data_take, uint64_t size);

/* bat.c: the driver's operations take the lock */
int vhdx_flush_locked(struct vhdx *v);
int vhdx_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int vhdx_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int vhdx_commit(struct viv_node *n, const struct viv_alloc *a);
void vhdx_cancel(struct viv_node *n, const struct viv_alloc *a);
int vhdx_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int vhdx_discard(struct viv_node *n, uint64_t offset, uint64_t len);

/* check.c */
/* At open for writing: finds where blocks end and what is free. -EINVAL with err: two blocks overlap, or one lies where it cannot. */
int vhdx_scan(struct vhdx *v, struct viv_err *err);
bool vhdx_place_ok(const struct vhdx *v, uint32_t block, uint64_t at);
int vhdx_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);

/* create.c */
int vhdx_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
extern const struct viv_opt_def vhdx_create_opts[];
extern const char *const vhdx_create_shown[];

#endif
