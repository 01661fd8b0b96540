/* When a file is locked against others.
 *
 * A file that was opened for somebody who is to come (-blockdev, -drive) is only held to be read. Who then uses it, by way of raw or a filter,
 * says whether others may write (share-rw=on of a disk), and so do its locks from there on. A format on top of it keeps tables in memory: the
 * file is its own. So two machines may have one raw disk, when the devices of both share it, and no qcow2. */
#include "block/node_int.h"

#include <glib.h>

int viv_node_settle(struct viv_node *n, enum viv_sharing s, struct viv_err *err)
{
    int ret = 0;

    for (; n && viv_node_is_window(n) && !ret; n = n->file)
        for (unsigned i = 0; i < n->children && !ret; i++)
            ret = viv_node_settle(n->child[i], VIV_SHARING_ALONE, err);
    return !ret && n && n->drv->settle ? n->drv->settle(n, s, false, err) : ret;
}

static enum viv_sharing wanted_by(const struct viv_node *n)
{
    enum viv_sharing s = VIV_SHARING_IDLE;

    if (!viv_node_is_window(n) || n->parents || n->overlays)
        return VIV_SHARING_ALONE;
    pthread_mutex_lock(&viv_node_lock);
    for (const struct viv_node_user *u = n->users; u; u = u->next)
        s = MAX(s, u->shared & VIV_PERM_WRITE ? VIV_SHARING_SHARED : VIV_SHARING_ALONE);
    pthread_mutex_unlock(&viv_node_lock);
    return s;
}

int viv_node_settle_file(struct viv_node *n, struct viv_err *err)
{
    enum viv_sharing s = n->file ? wanted_by(n) : VIV_SHARING_IDLE;

    return s == VIV_SHARING_IDLE ? 0 : viv_node_settle(n->file, s, err);
}

/* Has nobody there a reason to keep writers away? viv_node_lock held. */
static bool is_shared_by_all(const struct viv_node *n)
{
    for (const struct viv_node_user *u = n->users; u; u = u->next)
        if (!(u->shared & VIV_PERM_WRITE))
            return false;
    return !n->overlays;
}

void viv_node_loosen(struct viv_node *n)
{
    bool shared = !n->parents;

    pthread_mutex_lock(&viv_node_lock);
    shared &= is_shared_by_all(n);
    while (shared && n && viv_node_is_window(n)) {
        n = n->children ? NULL : n->file;
        shared = n && n->parents == 1 && is_shared_by_all(n);
    }
    pthread_mutex_unlock(&viv_node_lock);
    if (shared && n->drv->settle)
        n->drv->settle(n, VIV_SHARING_SHARED, true, NULL);
}
