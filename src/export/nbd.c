/* NBD exports, and the one server they are on. */
#include "export/export_int.h"

#include "base/log.h"
#include "block/graph.h"
#include "host/listen.h"
#include "host/lock.h"
#include "host/loop.h"
#include "nbd/server.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct viv_nbd_server *server; /* NULL: it does not run */
    struct viv_export_listen listen;
    struct viv_watch *watch[VIV_EXPORT_LISTEN_MAX];
    unsigned max; /* clients; 0: any number */
} nbd;

/* --- the server --- */

static const struct viv_opt_def server_opts[] = {
    VIV_EXPORT_ADDR_OPTS,
    {.name = "tls-creds", .type = VIV_OPT_STR, .help = "id of an --object tls-creds-x509 or tls-creds-psk"},
    {.name = "tls-authz", .type = VIV_OPT_STR, .help = "id of an --object authz-simple or authz-list-file: who may come, by certificate"},
    {.name = "max-connections", .type = VIV_OPT_INT, .min = 0, .max = UINT32_MAX, .help = "0: any number", .def = "0"},
    VIV_OPT_END,
};

static bool has_room(void)
{
    return !nbd.max || viv_nbd_server_clients(nbd.server) < nbd.max;
}

static void watch_again(void *unused)
{
    for (unsigned i = 0; nbd.server && i < nbd.listen.count; i++)
        viv_watch_set_events(nbd.watch[i], has_room() ? POLLIN : 0);
}

/* From its thread. */
static void client_ended(void *unused, bool negotiated)
{
    viv_loop_call(watch_again, NULL);
}

static void on_client(void *unused, int fd, short revents)
{
    struct viv_err err = VIV_ERR_INIT;
    int conn = has_room() ? viv_accept(fd, 0) : -1;

    if (conn >= 0 && viv_nbd_server_serve(nbd.server, conn, NULL, &err))
        viv_warn("cannot serve an NBD client: %s", err.text);
    watch_again(NULL);
}

bool viv_export_nbd_runs(void)
{
    return nbd.server != NULL;
}

/* nbd-server-start's addresses are one level deeper. */
static void flatten(struct viv_raw_opts *raw)
{
    static const char *const keys[] = {"path", "host", "port", "str", "abstract", "tight", "to", "numeric", "ipv4", "ipv6",
                                       "keep-alive", "mptcp"};

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *from = g_strdup_printf("addr.data.%s", keys[i]), *to = g_strdup_printf("addr.%s", keys[i]);
        g_autofree char *value = viv_raw_take(raw, from);

        if (value)
            viv_raw_set(raw, to, value);
    }
}

static int start(struct viv_opts *o, struct viv_err *err)
{
    struct viv_nbd_server_opts so = {.ended = client_ended};
    int ret = 0;

    if (viv_opts_str(o, "tls-creds"))
        ret = viv_tls_creds_get(viv_opts_str(o, "tls-creds"), true, &so.creds, err);
    if (!ret && viv_opts_str(o, "tls-authz"))
        ret = viv_authz_get(viv_opts_str(o, "tls-authz"), so.creds, &so.authz, err);
    if (!ret)
        ret = viv_export_listen(o, 128, &nbd.listen, err);
    if (!ret) {
        nbd.max = viv_opts_int(o, "max-connections");
        nbd.server = viv_nbd_server_new(&so);
        for (unsigned i = 0; i < nbd.listen.count; i++)
            nbd.watch[i] = viv_watch_new(nbd.listen.fds[i], POLLIN, on_client, NULL);
    }
    viv_tls_creds_put(&so.creds);
    viv_authz_put(&so.authz);
    return ret;
}

int viv_export_nbd_start(struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_opts *o = NULL;
    int ret;

    if (nbd.server)
        return viv_fail(err, EBUSY, "NBD server already running");
    flatten(raw);
    ret = viv_opts_from_raw(viv_raw_what(raw), server_opts, raw, &o, err);
    if (!ret)
        ret = start(o, err);
    viv_opts_free(o);
    return ret;
}

int viv_export_nbd_stop(struct viv_err *err)
{
    struct viv_nbd_server *server;
    int ret;

    if (!nbd.server)
        return viv_fail(err, ENOENT, "NBD server not running");
    for (unsigned i = 0; i < nbd.listen.count; i++)
        viv_watch_free(nbd.watch[i]);
    viv_export_listen_fini(&nbd.listen);
    ret = viv_export_del_type(&viv_export_nbd, err);
    server = g_steal_pointer(&nbd.server);
    viv_dev_unlock(); /* as in export.c: its clients may wait for who waits for the lock */
    viv_nbd_server_free(server);
    viv_dev_lock();
    return ret;
}

/* --- an export --- */

static const struct viv_opt_def export_opts[] = {
    VIV_EXPORT_OPTS,
    {.name = "name", .type = VIV_OPT_STR, .help = "what clients ask for; absent: the node-name"},
    {.name = "description", .type = VIV_OPT_STR, .help = "a sentence for people"},
    {.name = "bitmap", .type = VIV_OPT_STR, .help = "a dirty bitmap to offer as qemu:dirty-bitmap:NAME"},
    {.name = "bitmaps", .type = VIV_OPT_LIST, .help = "dirty bitmaps to offer"},
    {.name = "allocation-depth", .type = VIV_OPT_BOOL, .help = "offer qemu:allocation-depth"},
    VIV_OPT_END,
};

static int open_export(struct viv_export *x, struct viv_opts *o, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "name"), *bitmaps[VIV_NBD_BITMAPS_MAX + 1];
    struct viv_nbd_export_spec spec = {.name = name ? name : x->node_name,
                                       .description = viv_opts_str(o, "description"),
                                       .size = UINT64_MAX,
                                       .writable = x->writable,
                                       .multi_conn = true, /* all connections share the handle */
                                       .allocation_depth = viv_opts_bool(o, "allocation-depth"),
                                       .bitmaps = bitmaps};
    struct viv_nbd_export *e = NULL;
    size_t count = viv_opts_list_len(o, "bitmaps");
    int ret;

    if (!nbd.server)
        return viv_fail(err, ENOTCONN, "NBD server not running");
    if (viv_opts_str(o, "bitmap"))
        bitmaps[spec.bitmap_count++] = viv_opts_str(o, "bitmap");
    if (spec.bitmap_count + count > VIV_NBD_BITMAPS_MAX)
        return viv_fail(err, EINVAL, "an export offers %d bitmaps at most", VIV_NBD_BITMAPS_MAX);
    for (size_t i = 0; i < count; i++)
        bitmaps[spec.bitmap_count++] = viv_opts_list_item(o, "bitmaps", i);
    viv_graph_enter(); /* it reads bitmaps along the chain, which a job may close and open again */
    ret = viv_nbd_export_new(x->blk, &spec, &e, err);
    viv_graph_leave();
    if (!ret)
        ret = viv_nbd_server_add(nbd.server, e, err);
    if (ret == -EEXIST) {
        viv_err_clear(err);
        return viv_fail(err, EEXIST, "NBD server already has export named '%s'", spec.name);
    }
    x->state = e; /* the server's */
    return ret;
}

static int close_export(struct viv_export *x, bool hard)
{
    return viv_nbd_server_remove(nbd.server, x->state, hard, NULL);
}

const struct viv_export_type viv_export_nbd = {
    .name = "nbd",
    .opts = export_opts,
    .open = open_export,
    .close = close_export,
};
