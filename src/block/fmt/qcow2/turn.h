/* A turn: active L1, snapshots and all refcounts change at once (snapshot.c, amend.c).
 *
 * A snapshot that comes or goes changes the refcounts of most clusters, and with them the COPIED flags of the active
 * tables. Whatever the order of such writes, a power cut between them leaves tables that contradict each other. So
 * nothing that the disk has is written over: new L1, new copies of the L2 tables whose flags change, a new snapshot table and
 * a whole new refcount structure go to free clusters; behind a barrier one write of the header's first sector, which
 * holds all their addresses, makes them the image. Before it the image is the old one, after it the new one. */
#ifndef VIV_BLOCK_FMT_QCOW2_TURN_H
#define VIV_BLOCK_FMT_QCOW2_TURN_H

#include "block/fmt/qcow2/qcow2_int.h"

#include <glib.h>

#define QCOW2_SECTOR 512

struct qcow2_turn {
    struct qcow2 *q;
    int32_t *delta; /* by which each cluster's refcount is going to change */
    uint64_t deltas;
    uint64_t file_clusters;       /* what the image names must lie below */
    struct qcow2_array l1;        /* the new active table; entry NULL: it stays */
    bool keeps_l1;                /* the old one becomes a snapshot's */
    struct qcow2_array rt;        /* the new refcount table */
    unsigned refcount_order;      /* of the new blocks */
    struct qcow2_snapshot *snapshots; /* the new list, borrowed until the turn is done; NULL: it stays */
    uint32_t snapshot_count;
    bool snapshots_change;
    GArray *taken; /* struct qcow2_free: allocated so far, given back when it fails */
    GArray *freed; /* struct qcow2_free: free afterwards, for discards */
    uint8_t head[QCOW2_SECTOR];
};

/* All with q->lock. After begin() always end(). -EUCLEAN: tables and refcounts contradict each other; -EOVERFLOW: the
 * refcounts are too narrow. */
int qcow2_turn_begin(struct qcow2_turn *t, struct qcow2 *q);
/* All that an L1 table leads to (not the table itself) gains or loses a reference. */
int qcow2_turn_count_l1(struct qcow2_turn *t, const uint64_t *entry, uint32_t count, int by);
/* `bytes` of metadata lose their only reference. */
int qcow2_turn_drop(struct qcow2_turn *t, uint64_t offset, uint64_t bytes);
/* After all counting: `used` of `entry` become the active table of `size` entries. */
int qcow2_turn_set_active(struct qcow2_turn *t, const uint64_t *entry, uint32_t used, uint32_t size);
/* `count` entries become the snapshots (none is changed by the turn; moved into q by commit). */
int qcow2_turn_set_snapshots(struct qcow2_turn *t, struct qcow2_snapshot *s, uint32_t count);
int qcow2_turn_alloc(struct qcow2_turn *t, uint64_t bytes, uint64_t *offset);
/* Writes it all and switches over. What fails before the switch leaves the image as it was. */
int qcow2_turn_commit(struct qcow2_turn *t);
void qcow2_turn_end(struct qcow2_turn *t);

/* shadow.c: writes a refcount structure with the changed counts; t->rt is where. */
int qcow2_turn_write_refcounts(struct qcow2_turn *t);
int qcow2_turn_add(struct qcow2_turn *t, uint64_t cluster, int by);
/* The refcount that a cluster is going to have. */
int qcow2_turn_refcount(struct qcow2_turn *t, uint64_t cluster, uint64_t *out);

#endif
