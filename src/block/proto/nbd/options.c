/* -blockdev driver=nbd,... and what nests in others: to a target. */
#include "block/proto/nbd/nbd.h"
#include "block/proto/nbd/wire.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const char *const server_types[] = {"inet", "unix", NULL};

const struct viv_opt_def viv_nbd_opts[] = {
    {"filename", VIV_OPT_STR, "nbd://HOST[:PORT]/NAME, nbd+unix:///NAME?socket=PATH"},
    {"server.type", VIV_OPT_ENUM, "inet or unix", NULL, server_types},
    {"server.host", VIV_OPT_STR, "host name or address"},
    {"server.port", VIV_OPT_STR, "port (10809)"},
    {"server.path", VIV_OPT_STR, "UNIX socket"},
    {"host", VIV_OPT_STR, "as server.host"},
    {"port", VIV_OPT_STR, "as server.port"},
    {"path", VIV_OPT_STR, "as server.path"},
    {"export", VIV_OPT_STR, "name of the export"},
    {"tls-creds", VIV_OPT_STR, "id of a tls-creds object"},
    {"tls-hostname", VIV_OPT_STR, "whose certificate the server must show"},
    {"x-dirty-bitmap", VIV_OPT_STR, "metadata context to ask in place of base:allocation"},
    {"reconnect-delay", VIV_OPT_INT, "seconds that requests wait for a lost server to come back", "0", .max = 86400},
    {"open-timeout", VIV_OPT_INT, "seconds to try again when the server is not there at first", "0", .max = 86400},
    VIV_OPT_END,
};

/* server.KEY, or KEY as older command lines have it. */
static int get_either(struct viv_opts *o, const char *name, const char **out, struct viv_err *err)
{
    g_autofree char *server = g_strdup_printf("server.%s", name);
    const char *a = viv_opts_str(o, server), *b = viv_opts_str(o, name);

    *out = a ? a : b;
    if (a && b)
        return viv_fail(err, EINVAL, "%s: %s and %s exclude each other", viv_opts_what(o), server, name);
    return 0;
}

static int read_address(struct viv_opts *o, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *type = viv_opts_str(o, "server.type"), *name = viv_opts_str(o, "export"), *host, *port, *path;
    int ret = get_either(o, "host", &host, err);

    if (!ret)
        ret = get_either(o, "port", &port, err);
    if (!ret)
        ret = get_either(o, "path", &path, err);
    if (ret)
        return ret;
    if (path && (host || port))
        return viv_fail(err, EINVAL, "%s: a UNIX socket (path) and an address (host, port) exclude each other",
                        viv_opts_what(o));
    if (!path && !host)
        return viv_fail(err, EINVAL, "%s: where is the server? server.type=inet,server.host=HOST,server.port=PORT or "
                        "server.type=unix,server.path=SOCKET", viv_opts_what(o));
    if (type && (strcmp(type, "unix") == 0) != (path != NULL))
        return viv_fail(err, EINVAL, "%s: server.type=%s wants %s", viv_opts_what(o), type,
                        path ? "a host and a port" : "a path");
    t->host = g_strdup(host);
    t->port = path ? NULL : g_strdup(port ? port : VIV_NBD_PORT);
    t->path = g_strdup(path);
    t->export_name = g_strdup(name ? name : "");
    return 0;
}

/* What the name says is not said again. */
static int parse_name(struct viv_opts *o, const char *name, struct viv_tls_creds *creds, struct viv_nbd_target *t,
                      struct viv_err *err)
{
    static const char *const in_name[] = {"server.type", "server.host", "server.port", "server.path", "host", "port", "path", "export"};

    for (unsigned i = 0; i < G_N_ELEMENTS(in_name); i++)
        if (viv_opts_given(o, in_name[i]))
            return viv_fail(err, EINVAL, "%s: '%s' is for driver=nbd without a file name", viv_opts_what(o), in_name[i]);
    return viv_nbd_is_name(name) ? viv_nbd_target_parse(name, creds, t, err)
                                 : viv_fail(err, EINVAL, "%s: '%s' is no nbd:// address", viv_opts_what(o), name);
}

static int read_target(struct viv_opts *o, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *file = viv_opts_str(o, "filename"), *id = viv_opts_str(o, "tls-creds");
    const char *host = viv_opts_str(o, "tls-hostname");
    struct viv_tls_creds *creds = NULL;
    int ret = id ? viv_tls_creds_get(id, false, &creds, err) : 0;

    if (!ret)
        ret = file ? parse_name(o, file, creds, t, err) : read_address(o, t, err);
    if (!ret && creds && !t->creds)
        t->creds = g_steal_pointer(&creds);
    viv_tls_creds_put(&creds);
    if (ret)
        return ret;
    t->context = g_strdup(viv_opts_str(o, "x-dirty-bitmap"));
    if (host) {
        g_free(t->tls_hostname);
        t->tls_hostname = g_strdup(host);
    }
    t->reconnect_delay = viv_opts_int(o, "reconnect-delay");
    t->open_timeout = viv_opts_int(o, "open-timeout");
    if (strlen(t->export_name) > VIV_NBD_MAX_STRING || (t->context && strlen(t->context) > VIV_NBD_MAX_STRING))
        return viv_fail(err, EINVAL, "%s: names are at most %u bytes long", viv_opts_what(o), VIV_NBD_MAX_STRING);
    if (host && !t->creds)
        return viv_fail(err, EINVAL, "%s: tls-hostname needs tls-creds", viv_opts_what(o));
    return 0;
}

int viv_nbd_open_source(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct viv_nbd_target t = {0};
    g_autofree char *text = NULL;
    const char *name = viv_opts_str(o->own, "filename");
    int ret = read_target(o->own, &t, err);

    if (ret) {
        viv_nbd_target_fini(&t);
        return ret;
    }
    text = name ? g_strdup(name) : viv_nbd_target_text(&t);
    return viv_nbd_open(&t, text, o, out, err);
}
