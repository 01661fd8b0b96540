/* Which image: from options, or from "rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...]", where a backslash makes a plain character of
 * one that parts. Of the keys, `id` is the user and `conf` Ceph's configuration file; all others are options of that file. */
#include "block/proto/rbd/rbd_int.h"

#include <errno.h>
#include <string.h>

const struct viv_opt_def viv_rbd_opts[] = {
    {"filename", VIV_OPT_STR, "rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:id=USER][:conf=FILE][:KEY=VALUE...]"},
    {"pool", VIV_OPT_STR, "the pool"},
    {"namespace", VIV_OPT_STR, "of the pool"},
    {"image", VIV_OPT_STR, "the image's name"},
    {"snapshot", VIV_OPT_STR, "the image as this snapshot has it; needs read-only=on"},
    {"conf", VIV_OPT_STR, "Ceph's configuration file (where Ceph looks for it)"},
    {"user", VIV_OPT_STR, "who asks, without \"client.\" (admin)"},
    {"key-secret", VIV_OPT_STR, "id of the -object secret (format=base64) with the user's key"},
    {"encrypt.format", VIV_OPT_REFUSED, "encryption by librbd is not implemented; driver=luks on top of the image encrypts"},
    {"encrypt.key-secret", VIV_OPT_REFUSED, "encryption by librbd is not implemented; driver=luks on top of the image encrypts"},
    VIV_OPT_END,
};

/* server.N.host, server.N.port; auth-client-required.N; config.KEY: what a name says by :KEY=VALUE. */
const char *const viv_rbd_lists[] = {"server", "auth-client-required", "config", NULL};

void viv_rbd_target_fini(struct rbd_target *t)
{
    g_free(t->pool);
    g_free(t->space);
    g_free(t->image);
    g_free(t->snapshot);
    g_free(t->user);
    g_free(t->conf);
    g_free(t->key_secret);
    viv_raw_free(t->config);
    *t = (struct rbd_target){0};
}

bool viv_rbd_is_name(const char *name)
{
    return g_str_has_prefix(name, "rbd:");
}

/* --- the name --- */

/* Up to the first of `ends` that has no backslash; *end becomes what stopped it, 0 at the end. */
static char *next_part(const char **at, const char *ends, char *end)
{
    GString *s = g_string_new(NULL);
    const char *p = *at;

    for (; *p && !strchr(ends, *p); p++) {
        if (*p == '\\' && p[1])
            p++;
        g_string_append_c(s, *p);
    }
    *end = *p;
    *at = *p ? p + 1 : p;
    return g_string_free(s, FALSE);
}

static int parse_pairs(const char *name, const char *at, struct viv_raw_opts *out, struct viv_err *err)
{
    char end = ':';

    while (end == ':') {
        g_autofree char *key = next_part(&at, "=:", &end), *value = NULL, *full = NULL;

        if (end != '=' || !*key)
            return viv_fail(err, EINVAL, "'%s': '%s' stands where KEY=VALUE is expected (\\: is a colon in a name)", name, key);
        value = next_part(&at, ":", &end);
        full = strcmp(key, "id") == 0 ? g_strdup("user") : strcmp(key, "conf") == 0 ? g_strdup("conf") : g_strdup_printf("config.%s", key);
        viv_raw_set(out, full, value);
    }
    return 0;
}

int viv_rbd_parse_name(const char *name, struct viv_raw_opts *out, struct viv_err *err)
{
    const char *at = name + strlen("rbd:");
    char end;
    g_autofree char *pool = next_part(&at, "/", &end), *image = NULL;

    if (end != '/' || !*pool)
        return viv_fail(err, EINVAL, "'%s' is not of the form rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...]", name);
    viv_raw_set(out, "driver", "rbd");
    viv_raw_set(out, "pool", pool);
    image = next_part(&at, "/@:", &end);
    if (end == '/') {
        viv_raw_set(out, "namespace", image);
        g_free(image);
        image = next_part(&at, "@:", &end);
    }
    if (!*image)
        return viv_fail(err, EINVAL, "'%s': the image's name is missing", name);
    viv_raw_set(out, "image", image);
    if (end == '@') {
        g_autofree char *snapshot = next_part(&at, ":", &end);

        if (!*snapshot)
            return viv_fail(err, EINVAL, "'%s': the snapshot's name is missing", name);
        viv_raw_set(out, "snapshot", snapshot);
    }
    return end == ':' ? parse_pairs(name, at, out, err) : 0;
}

/* `ends`: what would end the part that is written. */
static void append(GString *s, const char *before, const char *part, const char *ends)
{
    if (!part)
        return;
    g_string_append(s, before);
    for (; *part; part++) {
        if (*part == '\\' || strchr(ends, *part))
            g_string_append_c(s, '\\');
        g_string_append_c(s, *part);
    }
}

char *viv_rbd_target_text(const struct rbd_target *t)
{
    GString *s = g_string_new("rbd:");

    append(s, "", t->pool, "/");
    append(s, "/", t->space, "/@:");
    append(s, "/", t->image, "/@:");
    append(s, "@", t->snapshot, ":");
    append(s, ":id=", t->user, ":");
    append(s, ":conf=", t->conf, ":");
    for (size_t i = 0; t->config && i < viv_raw_count(t->config); i++) {
        const char *key, *value;

        viv_raw_at(t->config, i, &key, &value);
        if (strcmp(key, "key") == 0)
            continue;
        append(s, ":", key, ":=");
        append(s, "=", value, ":");
    }
    return g_string_free(s, FALSE);
}

/* --- lists --- */

static void set_config(struct rbd_target *t, const char *key, const char *value)
{
    if (!t->config)
        t->config = viv_raw_new("rbd");
    viv_raw_set(t->config, key, value);
}

/* The items of one list, ".N" or ".N.member", by number: 0 and on without a gap. NULL: no such item. */
static const char *item(const struct viv_raw_opts *lists, const char *list, unsigned i, const char *member)
{
    g_autofree char *key = g_strdup_printf("%s.%u%s", list, i, member);

    return viv_raw_get(lists, key);
}

static int read_servers(const struct viv_raw_opts *lists, const char *what, struct rbd_target *t, unsigned *used, struct viv_err *err)
{
    g_autoptr(GString) s = g_string_new(NULL);

    for (unsigned i = 0;; i++) {
        const char *host = item(lists, "server", i, ".host"), *port = item(lists, "server", i, ".port");

        if (!host && !port)
            break;
        if (!host || !port || !*host || !*port)
            return viv_fail(err, EINVAL, "%s: a server has both server.%u.host and server.%u.port", what, i, i);
        g_string_append_printf(s, strchr(host, ':') ? "%s[%s]:%s" : "%s%s:%s", i ? "," : "", host, port);
        *used += 2;
    }
    if (s->len)
        set_config(t, "mon_host", s->str);
    return 0;
}

static int read_auth(const struct viv_raw_opts *lists, const char *what, struct rbd_target *t, unsigned *used, struct viv_err *err)
{
    g_autoptr(GString) s = g_string_new(NULL);
    const char *how;

    for (unsigned i = 0; (how = item(lists, "auth-client-required", i, "")) != NULL; i++) {
        if (strcmp(how, "cephx") != 0 && strcmp(how, "none") != 0)
            return viv_fail(err, EINVAL, "%s: auth-client-required.%u=%s: cephx and none work", what, i, how);
        g_string_append_printf(s, "%s%s", i ? ";" : "", how);
        ++*used;
    }
    if (s->len)
        set_config(t, "auth_client_required", s->str);
    return 0;
}

static int read_lists(const struct viv_raw_opts *lists, const char *what, struct rbd_target *t, struct viv_err *err)
{
    unsigned used = 0;
    int ret = read_servers(lists, what, t, &used, err);

    if (!ret)
        ret = read_auth(lists, what, t, &used, err);
    for (size_t i = 0; i < viv_raw_count(lists) && !ret; i++) {
        const char *key, *value;

        viv_raw_at(lists, i, &key, &value);
        if (!g_str_has_prefix(key, "config."))
            continue;
        set_config(t, key + strlen("config."), value);
        used++;
    }
    if (!ret && used != viv_raw_count(lists))
        ret = viv_fail(err, EINVAL, "%s: of lists there are server.N.host, server.N.port and auth-client-required.N, each N one more "
                       "than the last, and config.KEY; something else is among them", what);
    return ret;
}

/* --- options --- */

int viv_rbd_target_read(struct viv_opts *o, const struct viv_raw_opts *lists, struct rbd_target *t, struct viv_err *err)
{
    const char *what = viv_opts_what(o);

    if (viv_opts_str(o, "filename"))
        return viv_fail(err, EINVAL, "%s: filename=rbd:POOL/IMAGE works without driver=rbd; with it pool=POOL and image=IMAGE do", what);
    t->pool = g_strdup(viv_opts_str(o, "pool"));
    t->space = g_strdup(viv_opts_str(o, "namespace"));
    t->image = g_strdup(viv_opts_str(o, "image"));
    t->snapshot = g_strdup(viv_opts_str(o, "snapshot"));
    t->user = g_strdup(viv_opts_str(o, "user"));
    t->conf = g_strdup(viv_opts_str(o, "conf"));
    t->key_secret = g_strdup(viv_opts_str(o, "key-secret"));
    if (t->space && !*t->space)
        g_clear_pointer(&t->space, g_free);
    if (!t->pool || !*t->pool || !t->image || !*t->image)
        return viv_fail(err, EINVAL, "%s: which image? pool=POOL and image=IMAGE say it", what);
    return lists ? read_lists(lists, what, t, err) : 0;
}

int viv_rbd_target_parse(const char *name, struct rbd_target *t, struct viv_err *err)
{
    struct viv_raw_opts *r = viv_raw_new(name), *config = NULL;
    int ret = viv_rbd_parse_name(name, r, err);

    if (!ret) {
        t->pool = viv_raw_take(r, "pool");
        t->space = viv_raw_take(r, "namespace");
        t->image = viv_raw_take(r, "image");
        t->snapshot = viv_raw_take(r, "snapshot");
        t->user = viv_raw_take(r, "user");
        t->conf = viv_raw_take(r, "conf");
        config = viv_raw_take_below(r, "config", name);
    }
    t->config = config;
    viv_raw_free(r);
    return ret;
}
