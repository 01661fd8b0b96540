/* Block handles by name: what -drive and -blockdev made, for -device drive=ID to find.
 *
 * One device per drive: claimed at realize, released at unplug. Device lock held, or before threads. */
#ifndef VIV_BLOCK_REGISTRY_H
#define VIV_BLOCK_REGISTRY_H

#include "block/block.h"
#include "opt/opt.h"

/* What to do about a failed request. AUTO: the device's default (report reads, enospc for writes). */
enum viv_drive_error {
    VIV_DRIVE_ERROR_AUTO,
    VIV_DRIVE_ERROR_REPORT,
    VIV_DRIVE_ERROR_IGNORE,
    VIV_DRIVE_ERROR_ENOSPC, /* stop the VM when the host has no space, else report */
    VIV_DRIVE_ERROR_STOP,
};

/* One of "report", "ignore", "enospc", "stop"; "auto" or NULL: AUTO. Checked against a schema before. */
enum viv_drive_error viv_drive_error_parse(const char *text);

struct viv_drive {
    char *id;
    struct viv_blk *blk;  /* NULL: an empty removable drive */
    struct viv_blk_counters *counters; /* of all media that it has had (stats.h) */
    struct viv_throttle *limits; /* what held its last medium's requests holds the next one's; NULL: there is a medium, or no limit */
    char *serial;         /* from -drive serial=, or NULL */
    enum viv_drive_error rerror, werror;
    char *user;           /* who claimed it, or NULL */
    char *node;           /* it is a device's handle on the block node of this name; NULL: a drive of its own */
    bool cd;              /* -drive media=cdrom: a device that can be either is a CD drive */
    bool in_state;        /* its contents are part of that one's saved state (flash chips) */
    struct viv_drive *next;
};

/* Takes ownership of blk. -EEXIST when the id is in use. */
int viv_drive_add(const char *id, struct viv_blk *blk, struct viv_drive **out, struct viv_err *err);
struct viv_drive *viv_drive_find(const char *id); /* NULL: none */
struct viv_drive *viv_drive_next(struct viv_drive *d); /* NULL starts and ends the walk */
/* As -drive: opens the image (none at all: an empty drive) and adds it. `what` opens errors. Blocks. */
int viv_drive_open(const char *what, struct viv_opts *o, const struct viv_raw_opts *image, const char *id, struct viv_err *err);
/* Finds and claims for `user` (named in the error of a second one). `share`: others may write its image, too. */
int viv_drive_claim(const char *id, const char *user, bool share, struct viv_drive **out, struct viv_err *err);
void viv_drive_release(struct viv_drive *d);
/* A medium, for a drive that has none. */
void viv_drive_put_medium(struct viv_drive *d, struct viv_blk *blk);
/* Closes its image and forgets it. Blocks. */
int viv_drive_remove(struct viv_drive *d, struct viv_err *err);
/* Closes all (flushing). Blocks; the first error is kept in err, if any. */
int viv_drive_free_all(struct viv_err *err);

#endif
