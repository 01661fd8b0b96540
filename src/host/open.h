/* The one call that opens host files: a sandboxed process has them opened by its broker (host/broker.h). Nothing else in src/ calls
 * open(2) on a path that a person or a guest named. */
#ifndef VIV_HOST_OPEN_H
#define VIV_HOST_OPEN_H

#include "base/err.h"

#include <sys/types.h>

/* open(2) with O_CLOEXEC added; /dev/fdset/N is one of a set of passed descriptors (fdset.h). Returns the descriptor or
 * a negative errno, `err` naming path and reason. May block; any thread. */
int viv_open(const char *path, int flags, mode_t mode, struct viv_err *err);
/* A new file beside `path` (flags gets O_CREAT and O_EXCL), ".NAME.xxxxxx.part", to be given that name when it is whole: the sandbox takes it
 * for `path` (broker_policy.c). *part is g_free'd by the caller; a negative errno: NULL. */
int viv_open_part(const char *path, int flags, mode_t mode, char **part);
/* The open file `fd` once more, with other flags. The error is the reason alone. */
int viv_open_again(int fd, int flags, struct viv_err *err);

#endif
