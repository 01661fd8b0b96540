/* What -drive and -blockdev take, as data, and nodes made from it. */
#ifndef VIV_BLOCK_OPTIONS_H
#define VIV_BLOCK_OPTIONS_H

#include "block/block.h"
#include "opt/opt.h"

/* -drive itself: viv_blk_open() reads what concerns the image; the rest (if, id, media, index, bus, unit, serial,
 * werror, rerror) is its reader's: the command. */
extern const struct viv_opt_def viv_drive_opts[];
/* Every node, beside its driver's own and the nodes below (build.c). */
extern const struct viv_opt_def viv_node_common_opts[];
extern const char *const viv_locking_values[], *const viv_aio_values[];

/* "-blockdev help" (NULL) and "-blockdev DRIVER,help" on stdout. False: there is no such driver. */
bool viv_node_print_help(const char *driver);
/* "Supported formats: blkdebug file qcow2 ..." on stdout: formats, sources and filters by the alphabet, a line that programs look for. */
void viv_blk_print_drivers(void);

/* "k=v,..." or JSON: what is -drive's, typed, and what is the image's (viv_raw_free). */
int viv_drive_parse(const char *what, const char *text, struct viv_opts **out, struct viv_raw_opts **image, struct viv_err *err);

/* -blockdev and blockdev-add: makes the named node and keeps it until viv_blockdev_del(). Blocking; under no lock. */
int viv_blockdev_add(const struct viv_raw_opts *opts, struct viv_err *err);
/* The same from "-blockdev TEXT": "driver,k=v,..." or JSON. */
int viv_blockdev_add_text(const char *text, struct viv_err *err);
/* -ENOENT; -EBUSY while somebody uses it. */
int viv_blockdev_del(const char *node_name, struct viv_err *err);
/* blockdev-reopen: `raw` is its list ("0.driver", "0.node-name", ...), whose pairs it takes. Loop thread, device lock held; the loop is served. */
int viv_blockdev_reopen(struct viv_raw_opts *raw, struct viv_err *err);
/* block_resize: its users are told. The same. */
struct viv_node;
int viv_block_resize(struct viv_node *n, uint64_t size, struct viv_err *err);
/* HMP's commit: what the disk's image holds goes into its backing file, which may be shorter, and the image is empty. The same. */
int viv_block_commit(struct viv_node *n, struct viv_err *err);
/* At exit, after the handles: flushes and closes all of them. */
int viv_blockdev_close_all(struct viv_err *err);
/* A handle on a named node, for a device's drive= (which wants WRITE: read-only nodes give a handle
 * that viv_blk_writable() denies). -ENOENT when there is none. */
int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user,
                        struct viv_blk **out, struct viv_err *err);

#endif
