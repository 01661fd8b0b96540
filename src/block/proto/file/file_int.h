/* Between file.c and file_new.c. */
#ifndef VIV_BLOCK_PROTO_FILE_FILE_INT_H
#define VIV_BLOCK_PROTO_FILE_FILE_INT_H

#include "block/proto/file/file.h"

/* A node on an open descriptor, with its locks. Consumes fd, also on failure. */
int viv_file_from_fd(int fd, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                     struct viv_err *err);
/* "its file system does not take O_DIRECT": -EINVAL */
int viv_file_direct_error(const char *path, struct viv_err *err);

#endif
