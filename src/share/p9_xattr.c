/* Extended attributes: read and written through fids of their own (Txattrwalk, Txattrcreate). */
#include "share/p9_int.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

/* Where the mapped models keep the guest's access control lists: the host must not act on them. */
#define MAPPED_ACL "user.virtfs."

static bool is_acl(const char *name)
{
    return !strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default");
}

/* Name on the host of the guest's attribute; NULL: it has none. */
static const char *host_name(const struct viv_p9 *p, const char *name, char buf[64])
{
    if (is_acl(name)) {
        if (!viv_share_mapped(&p->attrs))
            return name;
        g_snprintf(buf, 64, MAPPED_ACL "%s", name);
        return buf;
    }
    if (g_str_has_prefix(name, "user."))
        return p->attrs.model == VIV_SHARE_MAPPED_XATTR && g_str_has_prefix(name, "user.virtfs.") ? NULL : name;
    if (g_str_has_prefix(name, "security."))
        return p->attrs.model == VIV_SHARE_PASSTHROUGH ? name : NULL;
    return NULL;
}

/* The other way, for lists. */
static const char *guest_name(const struct viv_p9 *p, const char *name)
{
    char buf[64];

    if (viv_share_mapped(&p->attrs) && g_str_has_prefix(name, MAPPED_ACL) && is_acl(name + strlen(MAPPED_ACL)))
        return name + strlen(MAPPED_ACL);
    if (viv_share_mapped(&p->attrs) && is_acl(name))
        return NULL;
    return host_name(p, name, buf) ? name : NULL;
}

/* Links and devices of the host have no user.* attributes: the kernel's answer for them is EPERM. */
static ssize_t get_value(const char *path, const char *name, uint8_t *buf)
{
    ssize_t n = getxattr(path, name, buf, XATTR_MAX);

    return n < 0 ? -errno : n;
}

/* Names one after the other with their NULs, as listxattr(2) has them. */
static ssize_t get_list(const struct viv_p9 *p, const char *path, uint8_t *buf)
{
    ssize_t n = listxattr(path, (char *)buf, XATTR_MAX);
    size_t len = 0;

    if (n < 0)
        return -errno;
    for (ssize_t at = 0; at < n;) {
        const char *name = (char *)buf + at, *shown = guest_name(p, name);
        size_t size = strlen(name) + 1;

        if (shown) {
            size_t shown_size = strlen(shown) + 1;

            memmove(buf + len, shown, shown_size);
            len += shown_size;
        }
        at += (ssize_t)size;
    }
    return (ssize_t)len;
}

static ssize_t fetch(struct viv_p9 *p, struct viv_share_node *node, const char *name, uint8_t *buf)
{
    struct viv_share_path path;
    char host[64];
    ssize_t n = -EOPNOTSUPP;
    int fd = viv_share_use(p->tree, node);

    if (fd < 0)
        return fd;
    path = viv_share_path(fd);
    if (!*name)
        n = get_list(p, path.text, buf);
    else if ((name = host_name(p, name, host)))
        n = get_value(path.text, name, buf);
    viv_share_done(p->tree, node);
    return n;
}

/* The new fid, with what was read to be read from it. Takes `node` over. Another request may have found the fid before it has the
 * value, and opened it. */
static int add_reader(struct viv_p9 *p, uint32_t number, uint32_t uid, struct viv_share_node *node, const uint8_t *value, size_t size)
{
    struct fid *f;
    uint8_t *data;
    int rc = p9_fid_add(p, number, uid, node, &f);

    if (rc < 0)
        return rc;
    data = p9_xattr_alloc(p, size);
    pthread_mutex_lock(&f->lock);
    if (!data || f->kind != FID_PATH) {
        rc = data ? -EBADF : -ENOSPC;
    } else {
        memcpy(data, value, size);
        f->data = data;
        f->size = f->filled = size;
        f->kind = FID_XATTR_READ;
    }
    pthread_mutex_unlock(&f->lock);
    if (rc < 0) {
        if (data)
            p9_xattr_release(p, data, size);
        p9_fid_remove(p, f);
    }
    p9_fid_put(p, f);
    return rc;
}

int p9_xattrwalk(struct req *r)
{
    uint32_t number = p9_get32(&r->in), new_number = p9_get32(&r->in);
    const char *name = p9_get_str(&r->in);
    g_autofree uint8_t *buf = NULL;
    struct viv_share_node *node;
    struct fid *f;
    ssize_t n;
    int rc;

    if (r->in.bad || strlen(name) > XATTR_NAME_MAX)
        return -EINVAL;
    buf = g_try_malloc(XATTR_MAX);
    f = buf ? p9_fid_get(r->p, number) : NULL;
    if (!f)
        return buf ? -EBADF : -ENOMEM;
    node = p9_fid_node(r->p, f);
    n = fetch(r->p, node, name, buf);
    if (n < 0) {
        viv_share_unref(r->p->tree, node);
        rc = (int)n;
    } else {
        rc = add_reader(r->p, new_number, f->uid, node, buf, n);
    }
    p9_fid_put(r->p, f);
    if (!rc)
        p9_put64(&r->out, n);
    return rc;
}

int p9_xattrcreate(struct req *r)
{
    uint32_t number = p9_get32(&r->in), flags;
    const char *name = p9_get_str(&r->in);
    uint64_t size = p9_get64(&r->in);
    char host[64];
    uint8_t *data;
    struct fid *f;
    int rc = 0;

    flags = p9_get32(&r->in);
    if (r->in.bad || flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (strlen(name) > XATTR_NAME_MAX || size > XATTR_MAX)
        return size > XATTR_MAX ? -E2BIG : -ERANGE;
    if (!host_name(r->p, name, host))
        return -EOPNOTSUPP;
    f = p9_fid_get(r->p, number);
    data = f ? p9_xattr_alloc(r->p, size) : NULL;
    if (!data) {
        p9_fid_put(r->p, f);
        return f ? -ENOSPC : -EBADF;
    }
    pthread_mutex_lock(&f->lock);
    if (f->kind != FID_PATH) {
        rc = -EBADF;
    } else {
        f->kind = FID_XATTR_WRITE;
        f->data = data;
        f->size = size;
        f->xattr = g_strdup(host_name(r->p, name, host));
        f->flags = (int)flags;
    }
    pthread_mutex_unlock(&f->lock);
    if (rc < 0)
        p9_xattr_release(r->p, data, size);
    p9_fid_put(r->p, f);
    return rc;
}

/* What was written to the fid becomes the attribute; one of no length is taken away, for there is no other message for that. */
int p9_xattr_commit(struct viv_p9 *p, struct fid *f)
{
    struct viv_share_node *node;
    struct viv_share_path path;
    int fd, rc = 0;

    pthread_mutex_lock(&f->lock);
    if (f->kind != FID_XATTR_WRITE || f->gone) {
        pthread_mutex_unlock(&f->lock);
        return 0;
    }
    node = viv_share_ref(p->tree, f->node);
    fd = viv_share_use(p->tree, node);
    if (fd < 0) {
        rc = fd;
    } else {
        path = viv_share_path(fd);
        if (f->filled < f->size)
            rc = -EINVAL;
        else if ((f->size ? setxattr(path.text, f->xattr, f->data, f->size, f->flags) : removexattr(path.text, f->xattr)) < 0)
            rc = -errno;
        viv_share_done(p->tree, node);
    }
    pthread_mutex_unlock(&f->lock);
    viv_share_unref(p->tree, node);
    return rc;
}
