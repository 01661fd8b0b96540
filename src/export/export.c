/* The exports there are, whatever their type. */
#include "export/export_int.h"

#include "base/log.h"
#include "block/graph.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

static const struct viv_export_type *const types[] = {&viv_export_nbd, &viv_export_vhost_user_blk, &viv_export_fuse};

static struct viv_export *exports;
static uint64_t serials;
static void (*on_deleted)(const char *id);

void viv_export_on_deleted(void (*fn)(const char *id))
{
    on_deleted = fn;
}

static struct viv_export **find(const char *id)
{
    struct viv_export **p = &exports;

    while (*p && strcmp((*p)->id, id) != 0)
        p = &(*p)->next;
    return p;
}

const struct viv_opt_def *viv_export_type_opts(unsigned i, const char **name)
{
    if (i >= G_N_ELEMENTS(types))
        return NULL;
    *name = types[i]->name;
    return types[i]->opts;
}

bool viv_export_at(unsigned i, struct viv_export_info *out)
{
    const struct viv_export *x = exports;

    while (x && i--)
        x = x->next;
    if (x)
        *out = (struct viv_export_info){x->id, x->type->name, x->node_name};
    return x != NULL;
}

/* --- adding --- */

static int find_type(const char *name, const struct viv_export_type **out, struct viv_err *err)
{
    if (!name)
        return viv_fail(err, EINVAL, "Parameter 'type' is missing (nbd, vhost-user-blk, fuse)");
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        if (strcmp(types[i]->name, name) == 0) {
            *out = types[i];
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "Parameter 'type' does not accept value '%s' (nbd, vhost-user-blk and fuse work)", name);
}

static int check_new(struct viv_opts *o, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id");

    if (!viv_is_id(id))
        return viv_fail(err, EINVAL, "Invalid block export id");
    if (*find(id))
        return viv_fail(err, EEXIST, "Block export id '%s' is already in use", id);
    return 0;
}

/* An image on a bare file, so that what is exported is always a disk: whole sectors, holes, sizes. */
static int node_for(const char *name, bool write, struct viv_node **out, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(name);
    struct viv_node_opts no = {0};

    if (!n)
        return viv_fail(err, ENOENT, "Cannot find device='' nor node-name='%s'", name);
    if (n->drv->protocol && n->parents && !n->read_only)
        return viv_fail(err, EBUSY, "node '%s' is below an image that may write it: export that image's node", name);
    if (write && viv_node_wake_writable(n, err))
        return -EACCES;
    no.read_only = n->read_only;
    no.unmap = n->unmap;
    viv_node_get(n);
    if (n->drv->protocol)
        return viv_node_open_format(viv_blk_driver_find("raw"), n, &no, out, err);
    *out = n;
    return 0;
}

static int open_blk(struct viv_export *x, struct viv_opts *o, struct viv_err *err)
{
    unsigned all = VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE, perms = VIV_PERM_READ;
    g_autofree char *user = g_strdup_printf("%s export '%s'", x->type->name, x->id);
    struct viv_node *n = NULL;
    int ret;

    x->writable = viv_opts_bool(o, "writable");
    ret = node_for(x->node_name, x->writable, &n, err);
    if (ret)
        return ret;
    if (x->writable && n->read_only) {
        viv_node_put(&n);
        return viv_fail(err, EACCES, "Cannot export read-only node as writable");
    }
    if (x->writable)
        perms |= VIV_PERM_WRITE | (x->type->resizes ? VIV_PERM_RESIZE : 0);
    return viv_blk_new(n, perms, all, user, viv_opts_bool(o, "writethrough"), &x->blk, err);
}

static void free_export(struct viv_export *x)
{
    g_free(x->id);
    g_free(x->node_name);
    g_free(x);
}

static int add(const struct viv_export_type *type, struct viv_opts *o, struct viv_err *err)
{
    struct viv_export *x;
    int ret = check_new(o, err);

    if (ret)
        return ret;
    x = g_new0(struct viv_export, 1);
    x->type = type;
    x->id = g_strdup(viv_opts_str(o, "id"));
    x->node_name = g_strdup(viv_opts_str(o, "node-name"));
    x->serial = ++serials;
    ret = open_blk(x, o, err);
    if (!ret)
        ret = type->open(x, o, err);
    if (ret) {
        viv_blk_close(x->blk, NULL);
        free_export(x);
        return ret;
    }
    x->next = exports;
    exports = x;
    return 0;
}

int viv_export_add(struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(raw, "type");
    const struct viv_export_type *type = NULL;
    struct viv_opts *o = NULL;
    int ret = viv_graph_check_quiet(err);

    if (!ret)
        ret = find_type(name, &type, err);
    if (!ret)
        ret = viv_opts_from_raw(viv_raw_what(raw), type->opts, raw, &o, err);
    if (!ret)
        ret = add(type, o, err);
    viv_opts_free(o);
    return ret;
}

/* --- deleting --- */

/* Its threads may wait for a change of the graph to end, and that for a request of the guest whose answer takes the device lock. The list
 * is the loop thread's, which serves nothing meanwhile. */
static int del(struct viv_export **at, bool hard, struct viv_err *err)
{
    struct viv_export *x = *at;
    int ret, busy;

    *at = x->next;
    viv_dev_unlock();
    busy = x->type->close(x, hard);
    ret = busy ? 0 : viv_blk_close(x->blk, err);
    viv_dev_lock();
    if (busy) {
        *at = x;
        return viv_fail(err, -busy, "export '%s' still in use", x->id);
    }
    if (on_deleted)
        on_deleted(x->id);
    free_export(x);
    return ret;
}

int viv_export_del(const char *id, bool hard, struct viv_err *err)
{
    struct viv_export **at = find(id);

    return *at ? del(at, hard, err) : viv_fail(err, ENOENT, "Export '%s' is not found", id);
}

int viv_export_del_type(const struct viv_export_type *type, struct viv_err *err)
{
    struct viv_export **at = &exports;
    int ret = 0, r;

    while (*at) {
        if (type && (*at)->type != type) {
            at = &(*at)->next;
            continue;
        }
        r = del(at, true, ret ? NULL : err);
        ret = ret ? ret : r;
    }
    return ret;
}

int viv_exports_finish(struct viv_err *err)
{
    int ret = viv_export_del_type(NULL, err);

    if (viv_export_nbd_runs())
        viv_export_nbd_stop(NULL);
    return ret;
}

static void del_serial(void *opaque)
{
    uint64_t *serial = opaque;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_export **at = &exports;

    while (*at && (*at)->serial != *serial)
        at = &(*at)->next;
    if (*at && del(at, true, &err))
        viv_error("%s", err.text);
    g_free(serial);
}

void viv_export_ended(struct viv_export *x)
{
    viv_loop_call(del_serial, g_memdup2(&x->serial, sizeof(x->serial)));
}

/* --- help --- */

void viv_export_help(const char *type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autofree char *what = g_strdup_printf("--export %s", types[i]->name);

        if (!type)
            printf("%s\n", types[i]->name);
        else if (strcmp(type, types[i]->name) == 0)
            viv_opts_print_help(what, types[i]->opts, stdout);
    }
}
