/* The drivers: open, read. */
#include "block/iov.h"
#include "block/proto/curl/curl_int.h"
#include "host/sandbox.h"

#include <errno.h>
#include <string.h>

static const struct {
    const struct viv_blk_driver *drv;
    const char *allow; /* of a redirect: never from a checked server to one that is not */
} schemes[] = {
    {&viv_blk_http, "http,https"},
    {&viv_blk_https, "https"},
    {&viv_blk_ftp, "ftp"},
    {&viv_blk_ftps, "ftps"},
};

static int find_scheme(const char *name, size_t len)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(schemes); i++)
        if (strlen(schemes[i].drv->name) == len && g_ascii_strncasecmp(schemes[i].drv->name, name, len) == 0)
            return i;
    return -1;
}

static bool is_name(const struct viv_blk_driver *drv, const char *name)
{
    const char *colon = strstr(name, "://");

    return colon && find_scheme(name, colon - name) == find_scheme(drv->name, strlen(drv->name));
}

/* Passwords are not for messages. NULL: it is no url. */
static char *without_password(const char *url)
{
    CURLU *u = curl_url();
    char *text = NULL, *copy = NULL;

    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) &&
        !curl_url_get(u, CURLUPART_URL, &text, 0))
        copy = g_strdup(text);
    curl_free(text);
    curl_url_cleanup(u);
    return copy;
}

static size_t chunk_bytes(const struct viv_curl *c, uint64_t index)
{
    return MIN(c->conf.readahead, c->size - index * c->conf.readahead);
}

static int load(void *opaque, uint64_t index, uint8_t *out, size_t len)
{
    struct viv_curl *c = opaque;

    return viv_curl_fetch(c, index * c->conf.readahead, out, len);
}

static int close_file(struct viv_node *n)
{
    viv_curl_free(n->state);
    n->state = NULL;
    return 0;
}

int viv_curl_open(struct viv_curl_config *conf, const struct viv_blk_driver *drv, const struct viv_node_opts *o,
                  struct viv_node **out, struct viv_err *err)
{
    int scheme = find_scheme(drv->name, strlen(drv->name)), ret = viv_curl_load(err);
    g_autofree char *shown = ret ? NULL : without_password(conf->url);
    size_t len = strlen(drv->name);
    struct viv_curl *c;
    struct viv_node *n;

    viv_sandbox_need(VIV_SANDBOX_NETWORK);
    ret = ret      ? ret
          : !shown ? viv_fail(err, EINVAL, "'%s' is not a URL", conf->url)
          : g_ascii_strncasecmp(conf->url, drv->name, len) != 0 || strncmp(conf->url + len, "://", 3) != 0
              ? viv_fail(err, EINVAL, "'%s' is not a %s:// URL, as driver=%s needs", shown, drv->name, drv->name)
          : conf->readahead % 512 ? viv_fail(err, EINVAL, "'%s': readahead must be a multiple of 512", shown)
          : !o->read_only         ? viv_fail(err, EROFS, "'%s': %s files can only be read (read-only=on)", shown, drv->name)
                                  : 0;
    if (ret) {
        viv_curl_config_fini(conf);
        return ret;
    }
    c = viv_curl_new(conf);
    c->shown = g_steal_pointer(&shown);
    c->http = g_str_has_prefix(drv->name, "http");
    c->allow = schemes[scheme].allow;
    viv_chunks_init(&c->chunks, load, c);
    c->chunks.limit = CURL_CACHE_BYTES;
    ret = viv_curl_look(c, err);
    if (ret) {
        viv_curl_free(c);
        return ret;
    }
    n = viv_node_new(drv, c->shown);
    n->state = c;
    n->size = c->size;
    n->read_only = true;
    *out = n;
    return 0;
}

/* Of one piece of `readahead` bytes, or more than that at once; returns how many bytes, or a negative errno. */
static ssize_t read_some(struct viv_curl *c, uint64_t offset, uint8_t *buf, size_t len)
{
    uint64_t unit = c->conf.readahead, index = offset / unit;
    size_t skip = offset % unit, bytes;
    int ret;

    if (len >= unit) {
        ret = viv_curl_fetch(c, offset, buf, len);
        return ret ? ret : (ssize_t)len;
    }
    bytes = chunk_bytes(c, index);
    len = MIN(len, bytes - skip);
    ret = viv_chunks_read(&c->chunks, index, bytes, 0, skip, buf, len);
    return ret ? ret : (ssize_t)len;
}

static int read_flat(struct viv_curl *c, uint64_t offset, uint8_t *buf, size_t len)
{
    size_t there = offset >= c->size ? 0 : MIN(len, c->size - offset);

    memset(buf + there, 0, len - there);
    while (there) {
        ssize_t got = read_some(c, offset, buf, there);

        if (got < 0)
            return got;
        offset += got;
        buf += got;
        there -= got;
    }
    return 0;
}

static int curl_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    struct viv_curl *c = n->state;
    uint8_t *flat;
    int ret;

    if (cnt == 1)
        return read_flat(c, offset, iov->iov_base, len);
    flat = g_try_malloc(len);
    if (!flat)
        return -ENOMEM;
    ret = read_flat(c, offset, flat, len);
    if (!ret)
        viv_iov_put(iov, cnt, 0, flat, len);
    g_free(flat);
    return ret;
}

#define DRIVER(scheme)                                                                                                 \
    static bool is_##scheme(const char *name)                                                                          \
    {                                                                                                                  \
        return is_name(&viv_blk_##scheme, name);                                                                       \
    }                                                                                                                  \
    static int open_##scheme(const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)                \
    {                                                                                                                  \
        return viv_curl_open_opts(&viv_blk_##scheme, o, out, err);                                                     \
    }                                                                                                                  \
    const struct viv_blk_driver viv_blk_##scheme = {                                                                   \
        .name = #scheme, .protocol = true, .open_opts = viv_curl_opts, .is_name = is_##scheme,                         \
        .open_source = open_##scheme, .close = close_file, .preadv = curl_preadv}

DRIVER(http);
DRIVER(https);
DRIVER(ftp);
DRIVER(ftps);
