/* Snapshots of all writable disks of a machine, for people. Device lock held. */
#ifndef VIV_BLOCK_DRIVE_SNAPSHOTS_H
#define VIV_BLOCK_DRIVE_SNAPSHOTS_H

#include "block/registry.h"

#include <glib.h>

/* What is on all disks, and what is on some only. */
int viv_drives_list_snapshots(GString *out, struct viv_err *err);

#endif
