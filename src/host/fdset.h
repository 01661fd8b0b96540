/* Descriptors that somebody passed (add-fd, -add-fd), in numbered sets: the name /dev/fdset/N opens one of set N, whose access mode is
 * the one asked for. Any thread. */
#ifndef VIV_HOST_FDSET_H
#define VIV_HOST_FDSET_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define VIV_FDSET_NEW (-1) /* the first number that is free */

/* Takes fd, also on failure. *set: where it is now; opaque (NULL allowed) is copied. */
int viv_fdset_add(int fd_take, int64_t *set, const char *opaque, struct viv_err *err);
/* One of a set, or all (fd -1); what was opened by its name stays open. A set without descriptors is gone. -ENOENT. */
int viv_fdset_remove(int64_t set, int fd, struct viv_err *err);
/* Each descriptor, set by set. fn must not call this file. */
void viv_fdset_each(void (*fn)(void *opaque, int64_t set, int fd, const char *text), void *opaque);

bool viv_fdset_is_name(const char *path);
/* viv_open() for such names: a descriptor of one's own, at the start of the file, with the flags asked for. They are flags of the open
 * file, which whoever passed it may share. */
int viv_fdset_open(const char *path, int flags, struct viv_err *err);

#endif
