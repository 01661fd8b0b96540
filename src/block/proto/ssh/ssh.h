/* Files on ssh servers: SFTP, through libssh. */
#ifndef VIV_BLOCK_PROTO_SSH_SSH_H
#define VIV_BLOCK_PROTO_SSH_SSH_H

#include "block/node.h"

extern const struct viv_blk_driver viv_blk_ssh;

bool viv_ssh_is_name(const char *name); /* "ssh:..." */
/* An empty file of this name, whatever was there before. */
int viv_ssh_create(const char *name, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);

#endif
