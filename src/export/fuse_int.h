/* Inside the FUSE export. */
#ifndef VIV_EXPORT_FUSE_INT_H
#define VIV_EXPORT_FUSE_INT_H

#include "export/export_int.h"
#include "export/fuse_api.h"

#include <pthread.h>

#define VIV_FUSE_THREADS 4
#define VIV_FUSE_IO_MAX  (1u << 20) /* bytes of a request */

struct viv_fuse {
    struct viv_export *x;
    struct fuse_session *session;
    char *path;
    bool mounted, growable;
    int stop; /* eventfd */
    pthread_t thread[VIV_FUSE_THREADS];
    unsigned threads;
    bool gone; /* atomic: somebody unmounted it */

    pthread_mutex_t lock; /* what follows, and changes of size */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    unsigned opens;
};

/* fuse_ops.c: what the kernel asks for; user data is a struct viv_fuse. From any of its threads. */
extern const struct fuse_lowlevel_ops viv_fuse_ops;

#endif
