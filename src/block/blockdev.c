/* -blockdev: nodes that have a name and live until they are deleted. */
#include "block/blk.h"
#include "block/build.h"
#include "block/graph.h"
#include "block/options.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* The nodes that -blockdev made, each with a reference of ours. Main thread only. */
static GPtrArray *blockdevs;

/* A wish of the root's, whose options are read by the builder alone. */
static int read_switch(const struct viv_raw_opts *r, const char *key, bool *out, struct viv_err *err)
{
    const char *v = viv_raw_get(r, key);
    struct viv_err why = VIV_ERR_INIT;

    *out = false;
    return v && viv_parse_bool(v, out, &why) ? viv_fail(err, EINVAL, "%s: %s: %s", viv_raw_what(r), key, why.text) : 0;
}

/* auto-read-only: a file by itself is read until somebody wants to write it (viv_node_wake_writable), so that those who only read it
 * do not keep others off it. */
static int read_rights(const struct viv_raw_opts *r, bool *read_only, struct viv_err *err)
{
    const char *driver = viv_raw_get(r, "driver");
    bool automatic = false;
    int ret = read_switch(r, "read-only", read_only, err);

    if (!ret)
        ret = read_switch(r, "auto-read-only", &automatic, err);
    if (automatic && driver && (!strcmp(driver, "file") || !strcmp(driver, "host_device")))
        *read_only = true;
    return ret;
}

int viv_blockdev_add(const struct viv_raw_opts *r, struct viv_err *err)
{
    struct viv_node_opts no = {.loose = true};
    struct viv_node *n = NULL;
    int ret = viv_graph_check_quiet(err);

    if (!ret)
        ret = read_rights(r, &no.read_only, err);
    if (!ret && !viv_raw_get(r, "driver"))
        ret = viv_fail(err, EINVAL, "%s: driver is missing (raw, qcow2, file ...)", viv_raw_what(r));
    if (!ret && !viv_raw_get(r, "node-name"))
        ret = viv_fail(err, EINVAL, "%s: node-name is missing", viv_raw_what(r));
    if (!ret)
        ret = viv_node_build_auto(r, NULL, false, &no, &n, err);
    if (ret)
        return ret;
    if (!blockdevs)
        blockdevs = g_ptr_array_new();
    g_ptr_array_add(blockdevs, n);
    return 0;
}

int viv_blockdev_add_text(const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r = NULL;
    int ret = viv_raw_parse("-blockdev", "driver", text, &r, err);

    if (!ret)
        ret = viv_blockdev_add(r, err);
    viv_raw_free(r);
    return ret;
}

int viv_blockdev_del(const char *node_name, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(node_name);
    int ret = viv_graph_check_quiet(err);

    if (ret)
        return ret;
    if (!n || !blockdevs || !g_ptr_array_find(blockdevs, n, NULL))
        return viv_fail(err, ENOENT, "there is no block node '%s'", node_name);
    if (n->users || n->refs > 1)
        return viv_fail(err, EBUSY, "block node '%s' is in use by %s", node_name,
                        n->users ? n->users->name : "another node");
    g_ptr_array_remove(blockdevs, n);
    ret = viv_node_put(&n);
    return ret ? viv_fail_os(err, -ret, "block node '%s' could not be written completely",
                             node_name)
               : 0;
}

int viv_blockdev_close_all(struct viv_err *err)
{
    int ret = 0;

    /* Newest first: what stands on a node was made after it. */
    while (blockdevs && blockdevs->len) {
        struct viv_node *n = g_ptr_array_remove_index(blockdevs, blockdevs->len - 1);
        char *name = g_strdup(n->name);
        int r = viv_node_put(&n);

        if (r && !ret)
            ret = viv_fail_os(err, -r, "block node '%s' could not be written completely", name);
        g_free(name);
    }
    return ret;
}

int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user,
                        struct viv_blk **out, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(node_name);
    int ret = viv_graph_check_quiet(err);

    if (ret)
        return ret;
    if (!n)
        return viv_fail(err, ENOENT, "there is no block node '%s'", node_name);
    if (n->drv->protocol && !n->drv->filter)
        return viv_fail(err, EINVAL, "block node '%s' is a bare file: put driver=raw on top of it",
                        node_name);
    if (n->read_only)
        perms &= ~(VIV_PERM_WRITE | VIV_PERM_RESIZE);
    viv_node_get(n);
    return viv_blk_new(n, perms, shared, user, false, out, err);
}
