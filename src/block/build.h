/* From one tree of options to nodes: see build.c. */
#ifndef VIV_BLOCK_BUILD_H
#define VIV_BLOCK_BUILD_H

#include "block/node.h"
#include "opt/opt.h"

/* The node that `r` describes, and all below it. `image`: without driver= the format is probed; else the file name says the
 * driver. `wish`: what its user wants, of which options may change cache, discard, detect-zeroes, force-share and names. */
int viv_node_build(const struct viv_raw_opts *r, bool image, const struct viv_node_opts *wish, struct viv_node **out,
                   struct viv_err *err);
/* The same for the root of a tree, where options must say something ("Must specify either driver or file"), `format` (NULL
 * allowed) is a driver= from elsewhere, and bare bytes get an image on top of them. */
int viv_node_build_root(const struct viv_raw_opts *r, const char *format, const struct viv_node_opts *wish,
                        struct viv_node **out, struct viv_err *err);
/* That (`wrap`) or the node itself. auto-read-only=on in it: what may not be written is opened again to be read. */
int viv_node_build_auto(const struct viv_raw_opts *r, const char *format, bool wrap, const struct viv_node_opts *wish, struct viv_node **out,
                        struct viv_err *err);

/* discard= and detect-zeroes=, of any schema that has them. */
bool viv_node_opt_discard(struct viv_opts *o, bool otherwise);
int viv_node_opt_zeroes(struct viv_opts *o, struct viv_node_opts *no, struct viv_err *err);

/* All that a node of this driver takes; g_free. */
struct viv_opt_def *viv_node_schema(const struct viv_blk_driver *drv);

/* --- for the builder, by factory.c --- */

#define VIV_NODES_MAX 2000 /* of one image, over all branches of its tree; the builder and what it calls both count */

/* What a node's options mean for what stands below it. */
struct viv_node_opts viv_node_file_wish(const struct viv_node_opts *o);

/* Whose bytes are these? */
int viv_node_probe(struct viv_node *file, const struct viv_blk_driver **drv, struct viv_err *err);
/* -ENOTSUP: no driver has names like this. */
const char *viv_blk_instead(const char *driver); /* what to do without a driver that is not there; NULL: nothing special */
int viv_node_refuse_name(const char *path, struct viv_err *err);

#endif
