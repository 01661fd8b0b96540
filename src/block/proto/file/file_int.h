/* Between file.c and file_new.c. */
#ifndef VIV_BLOCK_PROTO_FILE_FILE_INT_H
#define VIV_BLOCK_PROTO_FILE_FILE_INT_H

#include "block/proto/file/file.h"

/* A node on an open descriptor, with its locks. Consumes fd, also on failure. */
int viv_file_from_fd(int fd, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                     struct viv_err *err);
/* Around what may make the file of the node longer, up to viv_file_grew(): nobody sets its length meanwhile. What `lock` returns is for
 * `unlock`. */
bool viv_file_tail_lock(struct viv_node *n, uint64_t end);
void viv_file_tail_unlock(struct viv_node *n, bool locked);
/* "its file system does not take O_DIRECT": -EINVAL */
int viv_file_direct_error(const char *path, struct viv_err *err);

#endif
