/* Compressed targets: a chunk of data is packed cluster by cluster in the thread that read it, then written in turn. */
#ifndef VIV_CMD_IMG_PACK_H
#define VIV_CMD_IMG_PACK_H

#include "block/node.h"

struct img_packer;

/* For chunks of up to `chunk` bytes that go to `target`; NULL: no memory. */
struct img_packer *img_packer_new(struct viv_node *target, size_t chunk);
void img_packer_free(struct img_packer *p); /* NULL allowed */
/* Can `target` hold compressed clusters? err says why not. */
int img_packer_check(struct viv_node *target, struct viv_err *err);
/* Compresses the clusters that lie wholly in [offset, offset + len); those that are as in `old` (NULL: nothing) and, with
 * `sparse`, those of zeroes are left out. Several threads at once, each with a packer of its own. */
int img_packer_pack(struct img_packer *p, uint64_t offset, const uint8_t *data, const uint8_t *old, size_t len, bool sparse);
/* Writes a part of that chunk: what was packed, and as it is what does not shrink or is not a whole cluster. */
int img_packer_write(struct img_packer *p, uint64_t offset, const uint8_t *data, size_t len);

#endif
