#include "block/fmt/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
    return len >= 8 && memcmp(head, "QFI\xfb\0\0\0", 7) == 0 && head[7] >= 2 ? 100 : 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    return viv_fail(err, ENOTSUP, "'%s': qcow2 images are not implemented yet; raw images work",
                    n->filename);
}

void viv_qcow2_backing(struct viv_node *n, const char **name, const char **format)
{
    *name = *format = NULL;
}

const struct viv_blk_driver viv_blk_qcow2 = {.name = "qcow2", .probe = probe, .open = open_image};
