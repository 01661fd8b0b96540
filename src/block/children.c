/* The other files of an image: extents, data files. Names come from the image, so an image may not name itself. */
#include "block/node.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

void viv_node_add_child(struct viv_node *n, struct viv_node *child_take)
{
    child_take->parents++;
    n->child = g_renew(struct viv_node *, n->child, n->children + 1);
    n->child[n->children++] = child_take;
}

/* Is the file at `path` one that this image has open? */
static bool is_own_file(const struct viv_node *n, const char *path)
{
    struct stat st, own;
    bool found = false;

    if (stat(path, &st))
        return false;
    for (unsigned i = 0; i <= n->children && !found; i++)
        found = stat(i ? n->child[i - 1]->filename : n->file->filename, &own) == 0 && own.st_dev == st.st_dev &&
                own.st_ino == st.st_ino;
    return found;
}

static bool is_child(const struct viv_node *n, const struct viv_node *c)
{
    bool found = c == n->file;

    for (unsigned i = 0; i < n->children && !found; i++)
        found = n->child[i] == c;
    return found;
}

int viv_node_open_child(struct viv_node *n, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                        struct viv_err *err)
{
    struct viv_node_opts co = {.read_only = o->read_only,
                               .direct = o->direct,
                               .no_flush = o->no_flush,
                               .force_share = o->force_share,
                               .share_write = o->share_write,
                               .unmap = o->unmap,
                               .locking = o->locking};
    g_autofree char *full = viv_blk_backing_path(n->filename, path);
    struct viv_node *c = NULL;
    int ret;

    for (unsigned i = 0; i < o->made_count && !c; i++)
        if (strcmp(o->made[i]->filename, full) == 0)
            c = o->made[i];
    /* Before opening: our own lock would be found and blamed on another. */
    if (c ? is_child(n, c) : is_own_file(n, full))
        return viv_fail(err, EINVAL, "'%s' names '%s' as one more of its files, and that is in use by this image already",
                        n->filename, full);
    if (c)
        viv_node_get(c);
    else if ((ret = viv_node_open_file(full, &co, &c, err)) != 0)
        return ret;
    viv_node_add_child(n, c);
    *out = c;
    return 0;
}
