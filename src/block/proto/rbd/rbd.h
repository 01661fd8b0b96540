/* RBD images of a Ceph cluster, through librbd. */
#ifndef VIV_BLOCK_PROTO_RBD_RBD_H
#define VIV_BLOCK_PROTO_RBD_RBD_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_rbd;

bool viv_rbd_is_name(const char *name); /* "rbd:..." */
/* A new image of this name, without any room yet, of objects of `object` bytes (0: as the cluster is set); -EEXIST: there is one. */
int viv_rbd_create(const char *name, uint64_t object, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);

#endif
