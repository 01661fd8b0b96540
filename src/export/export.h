/* Block exports: a named node for users outside of this process: over NBD, as a vhost-user device, as a file.
 *
 * Main thread, device lock held, for all calls; they may block: what an export does for its users happens in threads of its
 * own. */
#ifndef VIV_EXPORT_EXPORT_H
#define VIV_EXPORT_EXPORT_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>

struct viv_export_info {
    const char *id, *type, *node_name; /* borrowed */
};

/* The keys of QMP's block-export-add, and of --export. */
int viv_export_add(struct viv_raw_opts *raw, struct viv_err *err);
/* -EBUSY while somebody uses it, unless `hard`: then its users are cut off, and what they have under way is waited for. An
 * export that is gone may still report that its last writes failed. */
int viv_export_del(const char *id, bool hard, struct viv_err *err);
/* Newest first, from 0; false: there are no more. */
bool viv_export_at(unsigned i, struct viv_export_info *out);
/* Called after an export has gone, whoever ended it. */
void viv_export_on_deleted(void (*fn)(const char *id));
/* The options of type i; NULL: there are no more. */
const struct viv_opt_def *viv_export_type_opts(unsigned i, const char **name);
/* What "--export help" prints; a type's options. */
void viv_export_help(const char *type);

/* The server that NBD exports are on: the keys of --nbd-server (addr.type, addr.path ...); those of nbd-server-start
 * (addr.data.path) too. One at a time. */
int viv_export_nbd_start(struct viv_raw_opts *raw, struct viv_err *err);
/* Deletes the exports on it too. -ENOENT when there is none. */
int viv_export_nbd_stop(struct viv_err *err);
bool viv_export_nbd_runs(void);
/* The end of the program: all exports, and the server. The first error. */
int viv_exports_finish(struct viv_err *err);

#endif
