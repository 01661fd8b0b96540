/* Which file on which server, and how the server is known: from options or from "ssh://[USER@]HOST[:PORT]/PATH". */
#include "block/proto/ssh/ssh_int.h"

#include <errno.h>
#include <string.h>

#define PATH_LEN_MAX 4096u

static const char *const modes[] = {"known_hosts", "hash", "none", NULL}; /* as enum ssh_key_check */
static const char *const types[] = {"md5", "sha1", "sha256", NULL};
static const enum ssh_publickey_hash_type type_of[] = {SSH_PUBLICKEY_HASH_MD5, SSH_PUBLICKEY_HASH_SHA1, SSH_PUBLICKEY_HASH_SHA256};

const struct viv_opt_def viv_ssh_opts[] = {
    {"filename", VIV_OPT_STR, "ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=...]"},
    {"server.host", VIV_OPT_STR, "host name or address"},
    {"server.port", VIV_OPT_INT, "port (22)", .min = 1, .max = 65535},
    {"host", VIV_OPT_STR, "as server.host"},
    {"port", VIV_OPT_INT, "as server.port", .min = 1, .max = 65535},
    {"path", VIV_OPT_STR, "of the file; a relative one counts from the user's folder"},
    {"user", VIV_OPT_STR, "who logs in (the one who runs this)"},
    {"host-key-check.mode", VIV_OPT_ENUM, "known_hosts, hash or none (known_hosts)", NULL, modes},
    {"host-key-check.type", VIV_OPT_ENUM, "mode=hash: md5, sha1 or sha256", NULL, types},
    {"host-key-check.hash", VIV_OPT_STR, "mode=hash: of the server's key, in hexadecimal"},
    {"host_key_check", VIV_OPT_STR, "the three in one: yes, no, md5:HASH, sha1:HASH or sha256:HASH"},
    VIV_OPT_END,
};

size_t viv_ssh_hash_len(enum ssh_publickey_hash_type type)
{
    return type == SSH_PUBLICKEY_HASH_MD5 ? 16 : type == SSH_PUBLICKEY_HASH_SHA1 ? 20 : 32;
}

const char *viv_ssh_hash_name(enum ssh_publickey_hash_type type)
{
    return type == SSH_PUBLICKEY_HASH_MD5 ? "md5" : type == SSH_PUBLICKEY_HASH_SHA1 ? "sha1" : "sha256";
}

void viv_ssh_target_fini(struct ssh_target *t)
{
    g_free(t->host);
    g_free(t->user);
    g_free(t->path);
    *t = (struct ssh_target){0};
}

char *viv_ssh_target_text(const struct ssh_target *t)
{
    g_autofree char *user = t->user ? g_uri_escape_string(t->user, NULL, FALSE) : NULL;
    g_autofree char *path = g_uri_escape_string(t->path, "/", FALSE);
    GString *s = g_string_new("ssh://");
    bool v6 = strchr(t->host, ':') != NULL;

    if (user)
        g_string_append_printf(s, "%s@", user);
    g_string_append_printf(s, v6 ? "[%s]" : "%s", t->host);
    if (t->port)
        g_string_append_printf(s, ":%u", t->port);
    g_string_append_printf(s, "%s%s", *t->path == '/' ? "" : "/~/", path);
    return g_string_free(s, FALSE);
}

/* "0a:1b:..." or "0a1b...". */
static bool parse_hash(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++, text += 2) {
        if (i && *text == ':')
            text++;
        if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
            return false;
        out[i] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
    }
    return !*text;
}

static int set_hash(struct ssh_target *t, const char *what, const char *type, const char *hash, struct viv_err *err)
{
    for (unsigned i = 0; types[i]; i++) {
        if (strcmp(types[i], type) != 0)
            continue;
        t->check = SSH_CHECK_HASH;
        t->hash_type = type_of[i];
        t->hash_len = viv_ssh_hash_len(t->hash_type);
        return parse_hash(hash, t->hash, t->hash_len)
                   ? 0
                   : viv_fail(err, EINVAL, "%s: '%.80s' is no %s hash: that is %zu hexadecimal digits, with colons between pairs or without",
                              what, hash, type, 2 * t->hash_len);
    }
    return viv_fail(err, EINVAL, "%s: '%.20s' is no kind of hash that works: md5, sha1, sha256", what, type);
}

/* yes, no, TYPE:HASH */
static int set_check(struct ssh_target *t, const char *what, const char *text, struct viv_err *err)
{
    const char *colon = strchr(text, ':');
    g_autofree char *type = colon ? g_strndup(text, colon - text) : NULL;

    if (colon)
        return set_hash(t, what, type, colon + 1, err);
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return viv_fail(err, EINVAL, "%s: host_key_check=%.80s: yes, no, md5:HASH, sha1:HASH or sha256:HASH work", what, text);
    t->check = strcmp(text, "yes") == 0 ? SSH_CHECK_KNOWN_HOSTS : SSH_CHECK_NONE;
    return 0;
}

/* --- the name --- */

bool viv_ssh_is_name(const char *name)
{
    return g_ascii_strncasecmp(name, "ssh:", 4) == 0;
}

static int parse_query(const char *query, const char *what, struct ssh_target *t, struct viv_err *err)
{
    GUriParamsIter i;
    char *key, *value;
    int ret = 0;

    g_uri_params_iter_init(&i, query, -1, "&", G_URI_PARAMS_NONE);
    while (!ret && g_uri_params_iter_next(&i, &key, &value, NULL)) {
        ret = strcmp(key, "host_key_check") == 0
                  ? set_check(t, what, value, err)
                  : viv_fail(err, EINVAL, "%s: unknown '%.40s=': host_key_check=... is all that may stand there", what, key);
        g_free(key);
        g_free(value);
    }
    return ret;
}

static int check_path(const struct ssh_target *t, const char *what, struct viv_err *err)
{
    if (!t->path || !*t->path || t->path[strlen(t->path) - 1] == '/')
        return viv_fail(err, EINVAL, "%s: the path of a file is missing", what);
    if (strlen(t->path) > PATH_LEN_MAX)
        return viv_fail(err, ENAMETOOLONG, "%s: the path is longer than %u bytes", what, PATH_LEN_MAX);
    return 0;
}

int viv_ssh_target_parse(const char *url, struct ssh_target *t, struct viv_err *err)
{
    GUriFlags flags = G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_QUERY;
    g_autofree char *password = NULL, *query = NULL, *fragment = NULL, *what = NULL;
    g_autoptr(GError) e = NULL;
    int port = -1, ret;

    if (!g_uri_split_with_user(url, flags, NULL, &t->user, &password, NULL, &t->host, &port, &t->path, &query, &fragment, &e))
        return viv_fail(err, EINVAL, "not a name of the form ssh://[USER@]HOST[:PORT]/PATH: %s", e->message);
    if (password) /* not repeated */
        return viv_fail(err, EINVAL, "ssh://...: passwords are not taken; logging in works with keys (ssh-agent, ~/.ssh)");
    if (!t->host || !*t->host || !t->path)
        return viv_fail(err, EINVAL, "'%.200s' is not of the form ssh://[USER@]HOST[:PORT]/PATH", url);
    what = g_strdup_printf("'%.200s'", url);
    t->port = port > 0 ? port : 0;
    ret = check_path(t, what, err);
    if (!ret && port == 0)
        ret = viv_fail(err, EINVAL, "%s: there is no port 0", what);
    if (!ret && fragment)
        ret = viv_fail(err, EINVAL, "%s: a # in a file's name is written %%23", what);
    return !ret && query ? parse_query(query, what, t, err) : ret;
}

/* --- options --- */

static int exclude(struct viv_opts *o, const char *a, const char *b, struct viv_err *err)
{
    if (viv_opts_given(o, a) && viv_opts_given(o, b))
        return viv_fail(err, EINVAL, "%s: %s and %s exclude each other", viv_opts_what(o), a, b);
    return 0;
}

static int read_check(struct viv_opts *o, struct ssh_target *t, struct viv_err *err)
{
    const char *mode = viv_opts_str(o, "host-key-check.mode"), *all = viv_opts_str(o, "host_key_check");
    const char *type = viv_opts_str(o, "host-key-check.type"), *hash = viv_opts_str(o, "host-key-check.hash");
    const char *what = viv_opts_what(o);

    if (all)
        return mode || type || hash ? viv_fail(err, EINVAL, "%s: host_key_check and host-key-check.* exclude each other", what)
                                    : set_check(t, what, all, err);
    if (mode && strcmp(mode, "hash") == 0)
        return type && hash ? set_hash(t, what, type, hash, err)
                            : viv_fail(err, EINVAL, "%s: host-key-check.mode=hash needs host-key-check.type and host-key-check.hash", what);
    if (type || hash)
        return viv_fail(err, EINVAL, "%s: host-key-check.type and .hash need host-key-check.mode=hash", what);
    t->check = mode && strcmp(mode, "none") == 0 ? SSH_CHECK_NONE : SSH_CHECK_KNOWN_HOSTS;
    return 0;
}

static int read_name(struct viv_opts *o, const char *name, struct ssh_target *t, struct viv_err *err)
{
    for (const struct viv_opt_def *d = viv_ssh_opts; d->name; d++)
        if (strcmp(d->name, "filename") != 0 && viv_opts_given(o, d->name))
            return viv_fail(err, EINVAL, "%s: '%s' is for driver=ssh without a file name", viv_opts_what(o), d->name);
    return viv_ssh_is_name(name) ? viv_ssh_target_parse(name, t, err)
                                 : viv_fail(err, EINVAL, "%s: '%s' is no ssh:// address", viv_opts_what(o), name);
}

int viv_ssh_target_read(struct viv_opts *o, struct ssh_target *t, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "filename"), *host = viv_opts_str(o, "server.host");
    int ret;

    if (name)
        return read_name(o, name, t, err);
    ret = exclude(o, "server.host", "host", err);
    if (!ret)
        ret = exclude(o, "server.port", "port", err);
    if (ret)
        return ret;
    t->host = g_strdup(host ? host : viv_opts_str(o, "host"));
    t->port = viv_opts_given(o, "server.port") ? viv_opts_int(o, "server.port") : viv_opts_int(o, "port");
    t->user = g_strdup(viv_opts_str(o, "user"));
    t->path = g_strdup(viv_opts_str(o, "path"));
    if (!t->host || !*t->host)
        return viv_fail(err, EINVAL, "%s: which server? server.host=HOST (and server.port=PORT) or filename=ssh://HOST/PATH",
                        viv_opts_what(o));
    ret = check_path(t, viv_opts_what(o), err);
    return ret ? ret : read_check(o, t, err);
}
