/* Sources of random bytes, by name: the host kernel's, or a file that somebody named.
 *
 * Loop thread, device lock held (or before threads start). */
#ifndef VIV_HOST_RANDOM_H
#define VIV_HOST_RANDOM_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

struct viv_random;

/* `path` NULL: getrandom(2). Else a character device or a FIFO, opened without blocking. */
int viv_random_add(const char *id, const char *path, struct viv_err *err);
int viv_random_del(const char *id, struct viv_err *err); /* -EBUSY while somebody uses it */
/* To use one; NULL: there is none of that name. */
struct viv_random *viv_random_get(const char *id);
void viv_random_put(struct viv_random **r); /* NULL inside allowed */

/* Up to len bytes at once: how many there were, -EAGAIN when none are there now, -ENODATA at the end of a FIFO
 * or file, or another negative errno. `r` NULL: getrandom(2), which always gives all. Any thread. */
ssize_t viv_random_read(struct viv_random *r, void *buf, size_t len);
/* To wait on after -EAGAIN; -1 when it never comes to that. */
int viv_random_fd(const struct viv_random *r);
const char *viv_random_name(const struct viv_random *r); /* for messages; r NULL allowed */

#endif
