/* All writable disks of a machine, which must be able to, under one snapshot's name. Device lock held (let go while a disk is worked on),
 * the machine stands still. */
#ifndef VIV_BLOCK_DRIVE_SNAPSHOTS_H
#define VIV_BLOCK_DRIVE_SNAPSHOTS_H

#include "block/registry.h"

#include <glib.h>

struct viv_node;

/* 0: all of them can, and there is one. */
int viv_drives_can_snapshot(struct viv_err *err);
/* Where a machine's state is kept: the first of them (viv_node_state_write). NULL: there is none. */
struct viv_drive *viv_drives_first(void);
struct viv_node *viv_drive_node(const struct viv_drive *d); /* borrowed */
/* Of all. The first one's takes `state` bytes that have been written as VM state. One of that name is replaced; if one disk fails those
 * before it are taken back. clock_ns: the guest's clock, for the list. */
int viv_drives_snapshot(const char *name, uint64_t state, uint64_t clock_ns, struct viv_err *err);
/* 0: all have it; *holder: the one with the machine's state, of *size bytes. */
int viv_drives_have_snapshot(const char *name, struct viv_drive **holder, uint64_t *size, struct viv_err *err);
int viv_drives_revert(const char *name, struct viv_err *err);
/* -ENOENT: none has it. */
int viv_drives_delete_snapshot(const char *name, struct viv_err *err);
/* For people: what is on all disks, and what is on some only. */
int viv_drives_list_snapshots(GString *out, struct viv_err *err);

#endif
