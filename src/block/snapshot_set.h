/* Snapshots of several disks under one name. Device lock held (let go while a disk is worked on); but for removing them the machine stands still. */
#ifndef VIV_BLOCK_SNAPSHOT_SET_H
#define VIV_BLOCK_SNAPSHOT_SET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_blk;
struct viv_node;

/* Which disks: what snapshot-save and its kin are told. Where a NULL stands instead of one: all writable disks of the machine (savevm). */
struct viv_snapshot_wish {
    const char *vmstate; /* the node that gets, or has, the machine's state; NULL: none is asked for */
    const char *const *devices; /* node names, to a NULL; what stands there twice counts once */
};

struct viv_snapshot_disk {
    struct viv_node *node;
    char *name;                /* for people */
    const struct viv_blk *blk; /* the guest's handle, borrowed: good until the loop is served; NULL: the guest has none */
};

struct viv_snapshot_set {
    struct viv_snapshot_disk *disk;
    unsigned count;
    unsigned holder; /* the one with the machine's state */
    bool named;      /* there was a wish */
    uint64_t moment; /* that was found: each disk's snapshot of the name is the one of this moment */
};

/* Another command is changing nodes: until it has ended these fail. */
bool viv_snapshot_set_must_wait(void);
/* 0: there is one disk at least, and all of them can. To be looked at again when the loop was served. */
int viv_snapshot_set_init(struct viv_snapshot_set *s, const struct viv_snapshot_wish *w, struct viv_err *err);
/* Those of the machine that hold snapshots, if any: the others are left out. */
int viv_snapshot_set_init_able(struct viv_snapshot_set *s, struct viv_err *err);
void viv_snapshot_set_fini(struct viv_snapshot_set *s); /* twice is once */
/* 0: none of them has one of this name, else -EEXIST. */
int viv_snapshot_set_check_new(struct viv_snapshot_set *s, const char *name, struct viv_err *err);
/* The holder's takes `state` bytes that have been written as VM state. One of that name is replaced; if one disk fails those before it are
 * taken back. clock_ns: the guest's clock, for the list. */
int viv_snapshot_set_create(struct viv_snapshot_set *s, const char *name, uint64_t state, uint64_t clock_ns, struct viv_err *err);
/* 0: all have it, of one moment (the newest that all of them have: a savevm over an older one may have been cut short), and the holder (the machine's disks: it is found) has *size bytes of state with it. */
int viv_snapshot_set_find(struct viv_snapshot_set *s, const char *name, uint64_t *size, struct viv_err *err);
/* From the state that was found. */
int viv_snapshot_set_read(struct viv_snapshot_set *s, const char *name, uint64_t pos, void *buf, size_t len, struct viv_err *err);
/* `state` bytes of VM state that the holder's node has, with no snapshot of it or with one: they are not needed any more. That they take
 * room if this fails is all. */
void viv_snapshot_set_drop_state(struct viv_snapshot_set *s, uint64_t state);
int viv_snapshot_set_revert(struct viv_snapshot_set *s, const char *name, struct viv_err *err);
/* All of that name. *any: there was one. */
int viv_snapshot_set_remove(struct viv_snapshot_set *s, const char *name, bool *any, struct viv_err *err);

#endif
