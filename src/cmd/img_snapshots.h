/* Internal snapshots, for the verbs that tell or read them. */
#ifndef VIV_CMD_IMG_SNAPSHOTS_H
#define VIV_CMD_IMG_SNAPSHOTS_H

#include "cmd/img.h"

/* None for formats without them. The list: viv_snapshot_free(). */
int img_snapshots_list(struct viv_node *n, struct viv_snapshot **out, unsigned *count, struct viv_err *err);
/* "Snapshot list:" and a line each; nothing without any. */
void img_snapshots_print(const struct viv_snapshot *s, unsigned count);
/* "snapshots": [...], indented by `in`. */
void img_snapshots_json(const struct viv_snapshot *s, unsigned count, const char *in);

/* img_open() with the format and options in `common`; `param` (an id, a name, or snapshot.id=..,snapshot.name=..; NULL: the
 * disk as it is) chooses a snapshot. */
int img_open_snapshot(const struct img_common *common, const char *name, const char *param, struct viv_node **out,
                      struct viv_err *err);

#endif
