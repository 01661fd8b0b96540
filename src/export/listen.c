/* Addresses of exports: QMP's SocketAddress, with dots. */
#include "export/export_int.h"

#include "host/listen.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

static int wants(struct viv_opts *o, const char *key, struct viv_err *err)
{
    return viv_opts_str(o, key) ? 0 : viv_fail(err, EINVAL, "%s: addr.type=%s needs %s", viv_opts_what(o),
                                               viv_opts_str(o, "addr.type"), key);
}

/* What belongs to another type. */
static int unwanted(struct viv_opts *o, const char *const *keys, struct viv_err *err)
{
    for (; *keys; keys++)
        if (viv_opts_given(o, *keys))
            return viv_fail(err, EINVAL, "%s: %s does not go with addr.type=%s", viv_opts_what(o), *keys,
                            viv_opts_str(o, "addr.type"));
    return 0;
}

static int listen_path(struct viv_opts *o, int backlog, struct viv_export_listen *out, struct viv_err *err)
{
    static const char *const others[] = {"addr.host", "addr.port", "addr.str", NULL};
    const char *path = viv_opts_str(o, "addr.path");
    int ret = unwanted(o, others, err);

    if (!ret)
        ret = wants(o, "addr.path", err);
    if (!ret)
        ret = viv_listen_unix(path, backlog, err);
    if (ret < 0)
        return ret;
    out->fds[0] = ret;
    out->count = 1;
    /* A daemon leaves this directory. */
    out->path = g_canonicalize_filename(path, NULL);
    return 0;
}

static int listen_inet(struct viv_opts *o, int backlog, struct viv_export_listen *out, struct viv_err *err)
{
    static const char *const others[] = {"addr.path", "addr.str", NULL};
    int ret = unwanted(o, others, err);

    if (!ret)
        ret = wants(o, "addr.host", err);
    if (!ret)
        ret = wants(o, "addr.port", err);
    if (!ret)
        ret = viv_check_port(viv_opts_str(o, "addr.port"), err);
    if (!ret)
        ret = viv_listen_tcp(*viv_opts_str(o, "addr.host") ? viv_opts_str(o, "addr.host") : NULL, viv_opts_str(o, "addr.port"),
                             backlog, out->fds, VIV_EXPORT_LISTEN_MAX, err);
    out->count = MAX(ret, 0);
    return MIN(ret, 0);
}

static int listen_fd(struct viv_opts *o, struct viv_export_listen *out, struct viv_err *err)
{
    static const char *const others[] = {"addr.host", "addr.port", "addr.path", NULL};
    int64_t fd = -1;
    int ret = unwanted(o, others, err);

    if (!ret)
        ret = wants(o, "addr.str", err);
    if (!ret && (viv_parse_i64(viv_opts_str(o, "addr.str"), &fd, NULL) || fd < 0 || fd > INT32_MAX))
        return viv_fail(err, EINVAL, "%s: addr.str is the number of an open socket, not '%s' (getfd is not implemented yet)",
                        viv_opts_what(o), viv_opts_str(o, "addr.str"));
    if (!ret)
        ret = viv_listen_handed(fd, err);
    if (ret < 0)
        return ret;
    out->fds[0] = ret;
    out->count = 1;
    return 0;
}

int viv_export_listen(struct viv_opts *o, int backlog, struct viv_export_listen *out, struct viv_err *err)
{
    const char *type = viv_opts_str(o, "addr.type");

    *out = (struct viv_export_listen){0};
    if (strcmp(type, "unix") == 0)
        return listen_path(o, backlog, out, err);
    if (strcmp(type, "inet") == 0)
        return listen_inet(o, backlog, out, err);
    if (strcmp(type, "fd") == 0)
        return listen_fd(o, out, err);
    return viv_fail(err, EINVAL, "%s: addr.type=%s is unknown here; unix, inet and fd work", viv_opts_what(o), type);
}

void viv_export_listen_fini(struct viv_export_listen *l)
{
    for (unsigned i = 0; i < l->count; i++)
        close(l->fds[i]);
    if (l->path)
        unlink(l->path);
    g_clear_pointer(&l->path, g_free);
    l->count = 0;
}
