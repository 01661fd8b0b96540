/* What says where the file is and how to get it. */
#include "block/proto/curl/curl_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <string.h>

const struct viv_opt_def viv_curl_opts[] = {
    {"filename", VIV_OPT_STR, "as url"},
    {"url", VIV_OPT_STR, "where the file is"},
    {"readahead", VIV_OPT_SIZE, "small reads fetch so many bytes at once", "256k", .min = 512, .max = 16 << 20},
    {"timeout", VIV_OPT_INT, "seconds without a byte after which a transfer is given up", "5", .min = 1, .max = 10000},
    {"sslverify", VIV_OPT_BOOL, "https, ftps: the server's certificate must be right", "on"},
    {"username", VIV_OPT_STR, "user name"},
    {"password-secret", VIV_OPT_STR, "id of the -object secret with the password"},
    {"proxy-username", VIV_OPT_STR, "user name for the proxy"},
    {"proxy-password-secret", VIV_OPT_STR, "id of the -object secret with the proxy's password"},
    {"cookie", VIV_OPT_STR, "http, https: cookies, \"NAME=CONTENT; NAME=CONTENT\""},
    {"cookie-secret", VIV_OPT_STR, "http, https: id of the -object secret with the cookies"},
    VIV_OPT_END,
};

static char *get(struct viv_opts *o, const char *name)
{
    return g_strdup(viv_opts_str(o, name));
}

static int get_secret(struct viv_opts *o, const char *name, char **out, struct viv_err *err)
{
    const char *id = viv_opts_str(o, name);

    return id ? viv_secret_get_text(id, out, err) : 0;
}

static void wipe(char **text)
{
    viv_secret_free_text(*text);
    *text = NULL;
}

void viv_curl_config_fini(struct viv_curl_config *c)
{
    wipe(&c->password);
    wipe(&c->proxy_password);
    wipe(&c->cookie);
    g_free(c->url);
    g_free(c->username);
    g_free(c->proxy_username);
    *c = (struct viv_curl_config){0};
}

static int read_config(struct viv_opts *o, struct viv_curl_config *c, struct viv_err *err)
{
    const char *url = viv_opts_str(o, "url"), *name = viv_opts_str(o, "filename"), *what = viv_opts_what(o);
    int ret;

    c->url = g_strdup(url ? url : name);
    c->readahead = viv_opts_size(o, "readahead");
    c->timeout = viv_opts_int(o, "timeout");
    c->no_verify = !viv_opts_bool(o, "sslverify");
    c->username = get(o, "username");
    c->proxy_username = get(o, "proxy-username");
    if (!c->url || (url && name))
        return viv_fail(err, EINVAL, c->url ? "%s: filename and url exclude each other" : "%s: url is missing", what);
    if (viv_opts_given(o, "cookie") && viv_opts_given(o, "cookie-secret"))
        return viv_fail(err, EINVAL, "%s: cookie and cookie-secret exclude each other", what);
    ret = get_secret(o, "password-secret", &c->password, err);
    if (!ret)
        ret = get_secret(o, "proxy-password-secret", &c->proxy_password, err);
    if (!ret)
        ret = get_secret(o, "cookie-secret", &c->cookie, err);
    if (!ret && !c->cookie)
        c->cookie = get(o, "cookie");
    if (!ret && (c->password && !c->username))
        ret = viv_fail(err, EINVAL, "%s: password-secret needs username", what);
    if (!ret && (c->proxy_password && !c->proxy_username))
        ret = viv_fail(err, EINVAL, "%s: proxy-password-secret needs proxy-username", what);
    return ret;
}

int viv_curl_open_opts(const struct viv_blk_driver *drv, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    struct viv_curl_config c = {0};
    int ret = read_config(o->own, &c, err);

    if (ret) {
        viv_curl_config_fini(&c);
        return ret;
    }
    return viv_curl_open(&c, drv, o, out, err);
}
