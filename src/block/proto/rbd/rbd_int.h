/* Inside proto/rbd. */
#ifndef VIV_BLOCK_PROTO_RBD_RBD_INT_H
#define VIV_BLOCK_PROTO_RBD_RBD_INT_H

#include "block/proto/rbd/rbd.h"
#include "block/proto/rbd/rbd_api.h"
#include "opt/opt.h"

#include <glib.h>

/* Which image of which cluster, and who asks. */
struct rbd_target {
    char *pool, *space, *image, *snapshot; /* space, snapshot: NULL: none */
    char *user, *conf;                     /* NULL: Ceph's defaults */
    char *key_secret;                      /* id of a secret; NULL: none */
    struct viv_raw_opts *config;           /* Ceph's own options, last of all; NULL: none */
};
extern const struct viv_opt_def viv_rbd_opts[];
extern const char *const viv_rbd_lists[];
int viv_rbd_parse_name(const char *name, struct viv_raw_opts *out, struct viv_err *err);
int viv_rbd_target_read(struct viv_opts *o, const struct viv_raw_opts *lists, struct rbd_target *t, struct viv_err *err);
int viv_rbd_target_parse(const char *name, struct rbd_target *t, struct viv_err *err);
void viv_rbd_target_fini(struct rbd_target *t);
char *viv_rbd_target_text(const struct rbd_target *t); /* a name that means the same, without keys; g_free */

/* A connection to the cluster, and the pool's context. */
struct rbd_cluster {
    rados_t cluster;
    rados_ioctx_t io;
};
int viv_rbd_connect(const struct rbd_target *t, const char *name, bool cached, struct rbd_cluster *c, struct viv_err *err);
void viv_rbd_disconnect(struct rbd_cluster *c);

#endif
