/* Stored dirty bitmaps, for the verbs that take them along. */
#ifndef VIV_CMD_IMG_BITMAPS_H
#define VIV_CMD_IMG_BITMAPS_H

#include "cmd/img.h"

/* Can all bitmaps of `from` go to an image of format `to`? Ones that were in use when their writer died cannot: refused, or, with
 * `skip_broken`, left out. Before the target is touched. */
int img_bitmaps_check_copy(struct viv_node *from, const struct viv_blk_driver *to, bool skip_broken, struct viv_err *err);
/* Copies them, with a warning for each that is left out. */
int img_bitmaps_copy(struct viv_node *from, struct viv_node *to, bool skip_broken, struct viv_err *err);

#endif
