/* NBD exports as disks: the client. */
#ifndef VIV_BLOCK_PROTO_NBD_NBD_H
#define VIV_BLOCK_PROTO_NBD_NBD_H

#include "block/node.h"
#include "block/proto/nbd/target.h"

extern const struct viv_blk_driver viv_blk_nbd;

/* Takes what the target holds, also on failure. `filename`: for people. */
int viv_nbd_open(struct viv_nbd_target *t_take, const char *filename, const struct viv_node_opts *o,
                 struct viv_node **out, struct viv_err *err);

/* As o->own says: server.type and so on, or host, port, path; or a name that viv_nbd_is_name() knows. */
int viv_nbd_open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);
extern const struct viv_opt_def viv_nbd_opts[];

#endif
