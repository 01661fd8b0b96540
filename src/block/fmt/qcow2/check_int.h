/* What check.c counts and repair.c mends. */
#ifndef VIV_BLOCK_FMT_QCOW2_CHECK_INT_H
#define VIV_BLOCK_FMT_QCOW2_CHECK_INT_H

#include "block/fmt/qcow2/qcow2_int.h"

struct qcow2_checker {
    struct qcow2 *q;
    struct viv_check *c;
    uint32_t *refs;    /* references found, per cluster of the file */
    uint64_t clusters; /* entries of refs */
    uint64_t mendable; /* corruptions that right refcounts mend */
    bool rebuild;      /* the refcount structure itself is unusable */
    uint64_t next;     /* expected host offset of the next data cluster, for fragmentation */
};

/* Counts [offset, offset + bytes) once more. False: it lies outside the file (and was reported). */
bool qcow2_check_count(struct qcow2_checker *k, const char *what, uint64_t offset, uint64_t bytes);

/* repair.c: sets on-disk refcounts to what was counted, where c->fix allows. */
int qcow2_repair_refcounts(struct qcow2_checker *k);
/* A new refcount table and blocks from the counts, behind everything else. */
int qcow2_repair_rebuild(struct qcow2_checker *k);

#endif
