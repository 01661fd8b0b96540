/* Parallels' insides, for this folder only. Spec: the Parallels expandable image file format; little-endian on disk.
 *
 * The block allocation table (BAT) lies behind the 64 bytes of the header: an entry a guest cluster, 0 for none, else
 * its place in the file: in clusters with the magic "WithouFreSpacExt", in sectors with "WithoutFreeSpace". Clusters
 * are any number of sectors long: nothing here may shift where it has to divide.
 *
 * p->lock protects all of struct parallels; functions named here expect it held, unless they say otherwise. What is
 * written when: flush in parallels.c, and docs/block.md. */
#ifndef VIV_BLOCK_FMT_PARALLELS_PARALLELS_INT_H
#define VIV_BLOCK_FMT_PARALLELS_PARALLELS_INT_H

#include "block/fmt/parallels/parallels.h"
#include "block/image.h"

#include "base/checked.h"

#include <glib.h>
#include <pthread.h>

/* Byte offsets of the header's fields. */
enum {
    PRL_H_MAGIC = 0,
    PRL_H_VERSION = 16,
    PRL_H_HEADS = 20,
    PRL_H_CYLINDERS = 24,
    PRL_H_TRACKS = 28, /* cluster size in sectors */
    PRL_H_ENTRIES = 32,
    PRL_H_SECTORS = 36,
    PRL_H_IN_USE = 44,
    PRL_H_DATA_OFF = 48, /* sectors */
    PRL_H_FLAGS = 52,
    PRL_H_EXT_OFF = 56, /* sectors */
    PRL_H_LENGTH = 64,
};

#define PRL_MAGIC       "WithoutFreeSpace"
#define PRL_MAGIC_EXT   "WithouFreSpacExt"
#define PRL_VERSION     2u
#define PRL_IN_USE      0x746f6e59u
#define PRL_SECTOR      512u
#define PRL_CLUSTER_MAX (1u << 30) /* bytes: a first write to a cluster writes all of it */
#define PRL_ENTRIES_MAX (64u << 20)
#define PRL_BAT_PAGE    1024u /* entries that are written together */

struct parallels {
    pthread_mutex_t lock;
    struct viv_node *node, *file; /* borrowed */
    uint64_t cluster;             /* bytes */
    uint64_t unit;                /* bytes that 1 in the BAT stands for */
    uint64_t data_off;            /* bytes: no cluster lies below */
    uint64_t first;               /* bytes: clusters are allocated at first + k * cluster */
    bool was_in_use;              /* not closed by its last writer */
    bool in_use;                  /* the header says so because of us */
    bool extension;               /* clusters that only the format extension knows */

    uint32_t *bat;
    uint64_t entries; /* what the disk's size needs */
    uint8_t *dirty;   /* a byte a page of the BAT */
    bool any_dirty;

    uint64_t end;  /* of the file: where the next cluster goes */
    GArray *spare; /* clusters below `end` that were given back */
    bool broken;   /* nothing is written any more */
};

static inline uint64_t prl_host(const struct parallels *p, uint32_t entry)
{
    return entry * p->unit;
}

/* header.c */
int prl_read_header(struct parallels *p, struct viv_err *err);
int prl_set_in_use(struct parallels *p, bool in_use); /* durable when it returns */
/* May a cluster lie there? Its last bytes may be missing in the file. */
bool prl_data_ok(const struct parallels *p, uint64_t host);
int prl_corrupt(struct parallels *p, const char *why,
                uint64_t offset); /* says so once, returns -EIO */
void prl_bat_dirty(struct parallels *p, uint64_t index);
int prl_flush_all(struct parallels *p);

/* alloc.c: the driver's operations; take the lock */
int prl_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int prl_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int prl_commit(struct viv_node *n, const struct viv_alloc *a);
void prl_cancel(struct viv_node *n, const struct viv_alloc *a);
int prl_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags);
int prl_discard(struct viv_node *n, uint64_t offset, uint64_t len);

/* create.c */
int prl_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
extern const struct viv_opt_def prl_create_opts[];
extern const char *const prl_create_shown[];

/* check.c; takes the lock */
int prl_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);

#endif
