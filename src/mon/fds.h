/* Descriptors that getfd has named. Loop thread, device lock held. */
#ifndef VIV_MON_FDS_H
#define VIV_MON_FDS_H

#include "base/err.h"

/* The caller's from now on; its name is forgotten. -ENOENT. */
int viv_mon_take_fd(const char *name, struct viv_err *err);

#endif
