/* What -drive and -blockdev take, as data, and nodes made from it. */
#ifndef VIV_BLOCK_OPTIONS_H
#define VIV_BLOCK_OPTIONS_H

#include "block/block.h"
#include "opt/opt.h"

/* -drive: viv_blk_open() reads what concerns the image; the rest (if, id, media, index, bus, unit, serial,
 * werror, rerror) is its reader's: the command. */
extern const struct viv_opt_def viv_drive_opts[];

/* -blockdev and blockdev-add: viv_blockdev_add(). Nested nodes ("file.filename") to the depth that the schema
 * lists; deeper chains name their nodes. */
extern const struct viv_opt_def viv_blockdev_opts[];

/* Makes the named node and keeps it until viv_blockdev_del(). Blocking; under no lock. */
int viv_blockdev_add(struct viv_opts *opts, struct viv_err *err);
/* -ENOENT; -EBUSY while somebody uses it. */
int viv_blockdev_del(const char *node_name, struct viv_err *err);
/* At exit, after the handles: flushes and closes all of them. */
int viv_blockdev_close_all(struct viv_err *err);
/* A handle on a named node, for a device's drive= (which wants WRITE: read-only nodes give a handle
 * that viv_blk_writable() denies). -ENOENT when there is none. */
int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user,
                        struct viv_blk **out, struct viv_err *err);

#endif
