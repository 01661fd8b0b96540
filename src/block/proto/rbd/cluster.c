/* A connection to a Ceph cluster. */
#include "block/proto/rbd/rbd_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <string.h>

static int set(struct rbd_cluster *c, const char *name, const char *key, const char *value, struct viv_err *err)
{
    int ret = rados_conf_set(c->cluster, key, value);

    return ret < 0 ? viv_fail_os(err, -ret, "'%s': Ceph does not take the option '%s'", name, key) : 0;
}

/* Ceph has keys in base64; a secret holds the bytes. */
static int set_key(struct rbd_cluster *c, const char *name, const char *secret, struct viv_err *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    char *text;
    int ret = viv_secret_get(secret, &bytes, &len, err);

    if (ret)
        return ret;
    text = g_base64_encode(bytes, len);
    ret = set(c, name, "key", text, err);
    viv_secret_free_text(text);
    viv_secret_free(bytes, len);
    return ret;
}

/* The file first, then what was said here. Without a file of that name Ceph's built-in defaults count: all may be said here. */
static int configure(struct rbd_cluster *c, const struct rbd_target *t, const char *name, bool cached, struct viv_err *err)
{
    int ret = rados_conf_read_file(c->cluster, t->conf);

    if (ret < 0 && t->conf)
        return viv_fail_os(err, -ret, "'%s': Ceph's configuration file '%s' cannot be read", name, t->conf);
    ret = t->key_secret ? set_key(c, name, t->key_secret, err) : 0;
    if (!ret && !cached)
        ret = set(c, name, "rbd_cache", "false", err);
    for (size_t i = 0; t->config && i < viv_raw_count(t->config) && !ret; i++) {
        const char *key, *value;

        viv_raw_at(t->config, i, &key, &value);
        ret = set(c, name, key, value, err);
    }
    return ret;
}

int viv_rbd_connect(const struct rbd_target *t, const char *name, bool cached, struct rbd_cluster *c, struct viv_err *err)
{
    int ret = viv_rbd_load(err);

    *c = (struct rbd_cluster){0};
    if (ret)
        return ret;
    ret = rados_create(&c->cluster, t->user);
    if (ret < 0) {
        c->cluster = NULL;
        return viv_fail_os(err, -ret, "'%s': Ceph's library does not start", name);
    }
    ret = configure(c, t, name, cached, err);
    if (!ret && (ret = rados_connect(c->cluster)) < 0)
        ret = viv_fail_os(err, -ret, "'%s': no connection to the Ceph cluster as client.%s (monitors, key: conf=, server.N.host, user=, "
                          "key-secret=)", name, t->user ? t->user : "admin");
    if (!ret && (ret = rados_ioctx_create(c->cluster, t->pool, &c->io)) < 0) {
        c->io = NULL;
        ret = viv_fail_os(err, -ret, "'%s': the pool '%s' cannot be used", name, t->pool);
    }
    if (!ret && t->space)
        rados_ioctx_set_namespace(c->io, t->space);
    if (ret)
        viv_rbd_disconnect(c);
    return ret;
}

void viv_rbd_disconnect(struct rbd_cluster *c)
{
    if (c->io)
        rados_ioctx_destroy(c->io);
    if (c->cluster)
        rados_shutdown(c->cluster);
    *c = (struct rbd_cluster){0};
}
