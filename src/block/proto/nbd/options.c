/* -blockdev driver=nbd,... and what nests in others: to a target. */
#include "block/proto/nbd/nbd.h"
#include "block/proto/nbd/wire.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

const char *const viv_nbd_server_types[] = {"inet", "unix", NULL};

struct reader {
    struct viv_opts *o;
    const char *prefix;
};

static const char *get(const struct reader *r, const char *name)
{
    char key[64];

    g_snprintf(key, sizeof(key), "%s%s", r->prefix, name);
    return viv_opts_str(r->o, key);
}

static unsigned get_seconds(const struct reader *r, const char *name)
{
    char key[64];

    g_snprintf(key, sizeof(key), "%s%s", r->prefix, name);
    return viv_opts_int(r->o, key);
}

/* server.KEY, or KEY as older command lines have it. */
static int get_either(const struct reader *r, const char *name, const char **out, struct viv_err *err)
{
    g_autofree char *server = g_strdup_printf("server.%s", name);
    const char *a = get(r, server), *b = get(r, name);

    *out = a ? a : b;
    if (a && b)
        return viv_fail(err, EINVAL, "%s: %s%s and %s%s exclude each other", viv_opts_what(r->o), r->prefix, server,
                        r->prefix, name);
    return 0;
}

static int read_address(const struct reader *r, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *type = get(r, "server.type"), *host, *port, *path;
    int ret = get_either(r, "host", &host, err);

    if (!ret)
        ret = get_either(r, "port", &port, err);
    if (!ret)
        ret = get_either(r, "path", &path, err);
    if (ret)
        return ret;
    if (path && (host || port))
        return viv_fail(err, EINVAL, "%s: a UNIX socket (path) and an address (host, port) exclude each other",
                        viv_opts_what(r->o));
    if (!path && !host)
        return viv_fail(err, EINVAL, "%s: where is the server? %sserver.type=inet,%sserver.host=HOST,%sserver.port=PORT or "
                        "%sserver.type=unix,%sserver.path=SOCKET", viv_opts_what(r->o), r->prefix, r->prefix, r->prefix,
                        r->prefix, r->prefix);
    if (type && (strcmp(type, "unix") == 0) != (path != NULL))
        return viv_fail(err, EINVAL, "%s: %sserver.type=%s wants %s", viv_opts_what(r->o), r->prefix, type,
                        path ? "a host and a port" : "a path");
    t->host = g_strdup(host);
    t->port = path ? NULL : g_strdup(port ? port : VIV_NBD_PORT);
    t->path = g_strdup(path);
    return 0;
}

static int read_target(const struct reader *r, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *name = get(r, "export"), *creds = get(r, "tls-creds");
    int ret = read_address(r, t, err);

    t->export_name = g_strdup(name ? name : "");
    t->context = g_strdup(get(r, "x-dirty-bitmap"));
    t->tls_hostname = g_strdup(get(r, "tls-hostname"));
    t->reconnect_delay = get_seconds(r, "reconnect-delay");
    t->open_timeout = get_seconds(r, "open-timeout");
    if (!ret && (strlen(t->export_name) > VIV_NBD_MAX_STRING || (t->context && strlen(t->context) > VIV_NBD_MAX_STRING)))
        ret = viv_fail(err, EINVAL, "%s: names are at most %u bytes long", viv_opts_what(r->o), VIV_NBD_MAX_STRING);
    if (!ret && creds)
        ret = viv_tls_creds_get(creds, false, &t->creds, err);
    if (!ret && t->tls_hostname && !t->creds)
        ret = viv_fail(err, EINVAL, "%s: tls-hostname needs tls-creds", viv_opts_what(r->o));
    return ret;
}

int viv_nbd_open_opts(struct viv_opts *opts, const char *prefix, const struct viv_node_opts *o, struct viv_node **out,
                      struct viv_err *err)
{
    struct reader r = {opts, prefix};
    struct viv_nbd_target t = {0};
    g_autofree char *text = NULL;
    int ret = read_target(&r, &t, err);

    if (ret) {
        viv_nbd_target_fini(&t);
        return ret;
    }
    text = viv_nbd_target_text(&t);
    return viv_nbd_open(&t, text, o, out, err);
}

int viv_nbd_refuse_opts(struct viv_opts *opts, const char *prefix, struct viv_err *err)
{
    static const struct viv_opt_def ours[] = {VIV_NBD_OPTS("")};

    for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++) {
        char key[64];

        g_snprintf(key, sizeof(key), "%s%s", prefix, ours[i].name);
        if (viv_opts_given(opts, key))
            return viv_fail(err, EINVAL, "%s: '%s' is for %sdriver=nbd without a file name", viv_opts_what(opts), key, prefix);
    }
    return 0;
}
