/* Descriptors that somebody gave this process for good: by number when it was started, later by a name (QMP's getfd). Loop thread,
 * device lock held. */
#ifndef VIV_HOST_FDNAME_H
#define VIV_HOST_FDNAME_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Takes fd, also on failure. Another one of that name is closed. */
int viv_fdname_add(const char *name, int fd_take, struct viv_err *err);
/* The caller's from now on; its name is forgotten. -ENOENT. */
int viv_fdname_take(const char *name, struct viv_err *err);
/* fd=TEXT of an option `key`: a number, of one that was inherited and that nobody has taken yet, or a name. The caller's, with
 * O_CLOEXEC, from now on. */
int viv_fdname_take_any(const char *key, const char *text, struct viv_err *err);
/* Was the process started with it? Those that it opens have O_CLOEXEC, all of them. */
bool viv_fd_inherited(int64_t fd);

#endif
