/* doc/uri.md of the NBD project; the nbd:... forms are older than that. */
#include "block/proto/nbd/target.h"
#include "block/proto/nbd/wire.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct scheme {
    const char *name;
    bool unix_socket, tls;
} schemes[] = {
    {"nbd", false, false},     {"nbd+tcp", false, false},  {"nbds", false, true},
    {"nbds+tcp", false, true}, {"nbd+unix", true, false}, {"nbds+unix", true, true},
};

static const struct scheme *scheme_of(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(schemes); i++) {
        size_t len = strlen(schemes[i].name);

        if (g_ascii_strncasecmp(name, schemes[i].name, len) == 0 && strncmp(name + len, "://", 3) == 0)
            return &schemes[i];
    }
    return NULL;
}

bool viv_nbd_is_name(const char *name)
{
    return scheme_of(name) || strncmp(name, "nbd:", 4) == 0;
}

/* -EINVAL: a broken %XX, or a NUL byte, which no name of ours may hold. */
static int unescape(const char *text, size_t len, char **out, struct viv_err *err)
{
    *out = g_uri_unescape_segment(text, text + len, NULL);
    return *out ? 0 : viv_fail(err, EINVAL, "'%.*s' is not valid in a URI", (int)MIN(len, 200), text);
}

static int parse_query_item(const char *key, size_t key_len, const char *value, size_t value_len, bool unix_socket,
                            struct viv_nbd_target *t, struct viv_err *err)
{
    if (key_len == 6 && strncmp(key, "socket", 6) == 0) {
        if (!unix_socket)
            return viv_fail(err, EINVAL, "socket= is for nbd+unix://");
        g_free(t->path);
        return unescape(value, value_len, &t->path, err);
    }
    if (key_len == 12 && strncmp(key, "tls-hostname", 12) == 0) {
        g_free(t->tls_hostname);
        return unescape(value, value_len, &t->tls_hostname, err);
    }
    return viv_fail(err, EINVAL, "unknown parameter '%.*s' (socket and tls-hostname work; credentials: tls-creds=ID in "
                    "--image-opts form)", (int)MIN(key_len, 100), key);
}

static int parse_query(const char *q, bool unix_socket, struct viv_nbd_target *t, struct viv_err *err)
{
    int ret = 0;

    while (*q && !ret) {
        size_t len = strcspn(q, "&;");
        const char *eq = memchr(q, '=', len);
        size_t key = eq ? (size_t)(eq - q) : len;

        if (len)
            ret = parse_query_item(q, key, eq ? eq + 1 : q + len, eq ? len - key - 1 : 0, unix_socket, t, err);
        q += len;
        if (*q)
            q++;
    }
    return ret;
}

/* [user@]host[:port], [user@][v6][:port] */
static int parse_authority(const char *text, size_t len, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *at = memchr(text, '@', len), *end = text + len, *port;

    if (at)
        return viv_fail(err, EINVAL, "a user in the address is not supported: give username= to tls-creds-psk");
    if (len && *text == '[') {
        const char *close = memchr(text, ']', len);

        if (!close)
            return viv_fail(err, EINVAL, "']' is missing in the address");
        t->host = g_strndup(text + 1, close - text - 1);
        port = close + 1;
        if (port < end && *port != ':')
            return viv_fail(err, EINVAL, "what follows ']' is no port");
    } else {
        port = memchr(text, ':', len);
        port = port ? port : end;
        if (unescape(text, port - text, &t->host, err))
            return -EINVAL;
    }
    if (!*t->host) {
        g_free(t->host);
        t->host = g_strdup("localhost");
    }
    t->port = port + 1 < end ? g_strndup(port + 1, end - port - 1) : g_strdup(VIV_NBD_PORT);
    return 0;
}

static int parse_uri(const char *uri, const struct scheme *s, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *auth = uri + strlen(s->name) + 3;
    size_t auth_len = strcspn(auth, "/?#"), path_len;
    const char *path = auth + auth_len, *query;
    int ret = 0;

    if (*path == '/')
        path++;
    path_len = strcspn(path, "?#");
    query = path + path_len;
    ret = unescape(path, path_len, &t->export_name, err);
    if (!ret && s->unix_socket && auth_len)
        ret = viv_fail(err, EINVAL, "a host does not go with %s", s->name);
    if (!ret && !s->unix_socket)
        ret = parse_authority(auth, auth_len, t, err);
    if (!ret && *query == '?')
        ret = parse_query(query + 1, s->unix_socket, t, err);
    if (!ret && s->unix_socket && (!t->path || !*t->path))
        ret = viv_fail(err, EINVAL, "?socket=PATH is missing");
    return ret;
}

/* nbd:HOST:PORT[:exportname=NAME]: the name goes to the end, whatever it holds. */
static int parse_legacy(const char *text, struct viv_nbd_target *t, struct viv_err *err)
{
    const char *mark = strstr(text, ":exportname=");
    size_t len = mark ? (size_t)(mark - text) : strlen(text);
    g_autofree char *where = g_strndup(text, len);

    t->export_name = g_strdup(mark ? mark + strlen(":exportname=") : "");
    if (g_str_has_prefix(where, "unix:")) {
        t->path = g_strdup(where + 5);
        return *t->path ? 0 : viv_fail(err, EINVAL, "the socket's path is missing");
    }
    if (strrchr(where, ':') == where || !viv_split_host_port(where, &t->host, &t->port))
        return viv_fail(err, EINVAL, "nbd:HOST:PORT is expected, or a URI: nbd://HOST/NAME");
    return 0;
}

int viv_nbd_target_parse(const char *name, struct viv_tls_creds *creds, struct viv_nbd_target *t, struct viv_err *err)
{
    const struct scheme *s = scheme_of(name);
    int ret;

    *t = (struct viv_nbd_target){0};
    ret = s ? parse_uri(name, s, t, err) : parse_legacy(name + 4, t, err);
    if (!ret && strlen(t->export_name) > VIV_NBD_MAX_STRING)
        ret = viv_fail(err, EINVAL, "the export's name is longer than %u bytes", VIV_NBD_MAX_STRING);
    if (!ret && creds)
        t->creds = viv_tls_creds_ref(creds);
    else if (!ret && s && s->tls)
        ret = viv_tls_creds_system(&t->creds, err);
    if (ret) {
        viv_err_prefix(err, "'%s'", name);
        viv_nbd_target_fini(t);
    }
    return ret;
}

void viv_nbd_target_fini(struct viv_nbd_target *t)
{
    g_free(t->host);
    g_free(t->port);
    g_free(t->path);
    g_free(t->full);
    g_free(t->export_name);
    g_free(t->context);
    g_free(t->tls_hostname);
    viv_tls_creds_put(&t->creds);
    *t = (struct viv_nbd_target){0};
}

char *viv_nbd_target_text(const struct viv_nbd_target *t)
{
    const char *tls = t->creds ? "s" : "";

    if (t->path && *t->export_name)
        return g_strdup_printf("nbd%s+unix:///%s?socket=%s", tls, t->export_name, t->path);
    if (t->path)
        return g_strdup_printf("nbd%s+unix://?socket=%s", tls, t->path);
    return g_strdup_printf(strchr(t->host, ':') ? "nbd%s://[%s]:%s%s%s" : "nbd%s://%s:%s%s%s", tls, t->host, t->port,
                           *t->export_name ? "/" : "", t->export_name);
}
