/* Who is whose parent ("The Descriptor File"): an image has a content ID that changes when its content does, and a child notes its
 * parent's. Digits are written over digits, so that no other byte of the text moves. */
#include "block/fmt/vmdk/vmdk_int.h"

#include <errno.h>
#include <stdio.h>

static int write_digits(struct vmdk *v, size_t at, unsigned digits, uint32_t value)
{
    char text[16];
    int ret;

    snprintf(text, sizeof(text), "%0*x", (int)digits, value);
    ret = viv_node_pwrite(v->node->file, v->desc_at + at, text, digits);
    return ret ? ret : viv_node_flush(v->node->file);
}

/* A new CID, durable before anything else changes. */
int vmdk_change_cid(struct vmdk *v, unsigned most)
{
    unsigned digits = v->desc.cid_digits;
    uint32_t cid;
    int ret;

    if (v->node->read_only)
        return -EROFS;
    if (!digits) {
        v->writing = true;
        return 0;
    }
    do
        ret = vmdk_new_cid(MIN(digits, most), &cid);
    while (!ret && cid == v->desc.cid);
    if (!ret)
        ret = write_digits(v, v->desc.cid_at, digits, cid);
    if (ret)
        return ret;
    v->desc.cid = cid;
    v->writing = true;
    return 0;
}

int vmdk_check_backing(struct viv_node *n, struct viv_err *err)
{
    struct vmdk *v = n->state, *parent = n->backing->state;

    if (n->backing->drv != &viv_blk_vmdk)
        return viv_fail(err, EINVAL, "'%s': the parent of a VMDK image is one, and '%s' is %s", n->filename,
                        n->backing->filename, n->backing->drv->name);
    if (parent->desc.cid == v->desc.parent_cid)
        return 0;
    return viv_fail(err, EINVAL,
                    "'%s': its parent '%s' is not what it was when this image was made: it was written since, or replaced "
                    "(CID %08x, and this image was made on %08x). Bring the old parent back; only if nothing but its "
                    "identity differs, write parentCID=%08x into this image's descriptor",
                    n->filename, n->backing->filename, parent->desc.cid, v->desc.parent_cid, parent->desc.cid);
}

/* The parent's new CID, then the child's note of it: between the two barriers alone they do not fit. */
int vmdk_keep_backing(struct viv_node *n, struct viv_err *err)
{
    struct vmdk *v = n->state, *parent = n->backing->state;
    int ret = vmdk_check_backing(n, err);

    if (ret || !v->desc.parent_digits)
        return ret;
    pthread_mutex_lock(&parent->lock);
    ret = vmdk_change_cid(parent, v->desc.parent_digits);
    pthread_mutex_unlock(&parent->lock);
    if (!ret)
        ret = write_digits(v, v->desc.parent_at, v->desc.parent_digits, parent->desc.cid);
    if (ret)
        return viv_fail_os(err, -ret, "Could not note in '%s' that its parent changes", n->filename);
    v->desc.parent_cid = parent->desc.cid;
    return 0;
}
