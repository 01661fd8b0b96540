/* Image locks that other programs respect: see lock.c. */
#ifndef VIV_BLOCK_PROTO_FILE_LOCK_H
#define VIV_BLOCK_PROTO_FILE_LOCK_H

#include "base/err.h"

#include <stdbool.h>

/* Takes the locks for `perms` held and `shared` granted to others (VIV_PERM_*); all or none. -EAGAIN: err
 * names who holds what. -ENOTSUP: this file system has no such locks. They go when the last descriptor
 * of this open file is closed. */
int viv_file_lock(int fd, const char *path, unsigned perms, unsigned shared, struct viv_err *err);
/* The same in addition to what is held, which stays if it fails. */
int viv_file_lock_more(int fd, const char *path, unsigned perms, unsigned shared, struct viv_err *err);
/* From some rights to others; on failure it has the ones it had. */
struct viv_file_rights {
    unsigned perms, shared;
};
int viv_file_relock(int fd, const char *path, const struct viv_file_rights *was, const struct viv_file_rights *now, struct viv_err *err);
/* Of the permissions only that to read stays; what is granted to others stays as it is. */
void viv_file_unlock_writes(int fd);
/* All of them, where the descriptor is not the last one of its open file. */
void viv_file_unlock(int fd);

#endif
