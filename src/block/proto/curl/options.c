/* What says where the file is and how to get it. */
#include "block/proto/curl/curl_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <string.h>

struct reader {
    struct viv_opts *o;
    const char *prefix;
};

static const char *key_of(const struct reader *r, const char *name, char key[64])
{
    g_snprintf(key, 64, "%s%s", r->prefix, name);
    return key;
}

static char *get(const struct reader *r, const char *name)
{
    char key[64];

    return g_strdup(viv_opts_str(r->o, key_of(r, name, key)));
}

static int get_secret(const struct reader *r, const char *name, char **out, struct viv_err *err)
{
    char key[64];
    const char *id = viv_opts_str(r->o, key_of(r, name, key));

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

static int read_config(const struct reader *r, struct viv_curl_config *c, struct viv_err *err)
{
    char key[64];
    int ret;

    c->url = get(r, "url");
    c->readahead = viv_opts_size(r->o, key_of(r, "readahead", key));
    c->timeout = viv_opts_int(r->o, key_of(r, "timeout", key));
    c->no_verify = !viv_opts_bool(r->o, key_of(r, "sslverify", key));
    c->username = get(r, "username");
    c->proxy_username = get(r, "proxy-username");
    if (!c->url)
        return viv_fail(err, EINVAL, "%s: %surl is missing", viv_opts_what(r->o), r->prefix);
    if (viv_opts_given(r->o, key_of(r, "cookie", key)) && viv_opts_given(r->o, key_of(r, "cookie-secret", key)))
        return viv_fail(err, EINVAL, "%s: %scookie and %scookie-secret exclude each other", viv_opts_what(r->o), r->prefix, r->prefix);
    ret = get_secret(r, "password-secret", &c->password, err);
    if (!ret)
        ret = get_secret(r, "proxy-password-secret", &c->proxy_password, err);
    if (!ret)
        ret = get_secret(r, "cookie-secret", &c->cookie, err);
    if (!ret && !c->cookie)
        c->cookie = get(r, "cookie");
    if (!ret && (c->password && !c->username))
        ret = viv_fail(err, EINVAL, "%s: %spassword-secret needs %susername", viv_opts_what(r->o), r->prefix, r->prefix);
    if (!ret && (c->proxy_password && !c->proxy_username))
        ret = viv_fail(err, EINVAL, "%s: %sproxy-password-secret needs %sproxy-username", viv_opts_what(r->o), r->prefix, r->prefix);
    return ret;
}

int viv_curl_open_opts(struct viv_opts *opts, const char *driver, const char *prefix, const struct viv_node_opts *o,
                       struct viv_node **out, struct viv_err *err)
{
    struct viv_curl_config c = {0};
    int ret = read_config(&(struct reader){opts, prefix}, &c, err);

    if (ret) {
        viv_curl_config_fini(&c);
        return ret;
    }
    return viv_curl_open(&c, viv_blk_driver_find(driver), o, out, err);
}

int viv_curl_open_name(const char *url, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    static const struct viv_opt_def defaults[] = {VIV_CURL_OPTS(""), VIV_OPT_END};
    g_autofree char *driver = g_ascii_strdown(url, strstr(url, "://") - url);
    struct viv_opts *opts = viv_opts_new(url, defaults);
    int ret = viv_opts_set(opts, "url", url, err);

    if (!ret)
        ret = viv_curl_open_opts(opts, driver, "", o, out, err);
    viv_opts_free(opts);
    return ret;
}

int viv_curl_refuse_opts(struct viv_opts *opts, const char *prefix, struct viv_err *err)
{
    static const struct viv_opt_def ours[] = {VIV_CURL_OPTS("")};
    const struct reader r = {opts, prefix};
    char key[64];

    for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++)
        if (viv_opts_given(opts, key_of(&r, ours[i].name, key)))
            return viv_fail(err, EINVAL, "%s: '%s' is for %sdriver=http, https, ftp or ftps with %surl", viv_opts_what(opts), key,
                            prefix, prefix);
    return 0;
}
