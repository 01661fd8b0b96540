/* Folders to share, by id: -fsdev local. Before threads start, or device lock held. */
#ifndef VIV_SHARE_FSDEV_H
#define VIV_SHARE_FSDEV_H

#include "base/err.h"
#include "opt/opt.h"
#include "share/attr.h"

enum viv_share_multidevs { VIV_SHARE_REMAP, VIV_SHARE_FORBID, VIV_SHARE_WARN };

struct viv_fsdev {
    char *id, *path;
    enum viv_share_model model;
    enum viv_share_multidevs multidevs;
    mode_t fmode, dmode;
    bool readonly;
    const void *user; /* the device that serves it; NULL: none */
};

/* Without the driver; "id" as in -fsdev. */
extern const struct viv_opt_def viv_fsdev_opts[];
int viv_fsdev_add(struct viv_raw_opts *r, struct viv_err *err);
struct viv_fsdev *viv_fsdev_find(const char *id); /* NULL: there is none */
unsigned viv_fsdev_count(void);
void viv_fsdev_free_all(void);

#endif
