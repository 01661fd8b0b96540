/* security_model=mapped-xattr. */
#include "share/attr_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <sys/xattr.h>

/* 1: it is there; 0: it is not, or has another length. */
static int get(const char *path, const char *name, void *buf, size_t len)
{
    ssize_t n = getxattr(path, name, buf, len);

    if (n < 0)
        return errno == ENODATA || errno == ERANGE || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
    return (size_t)n == len;
}

static int get32(const char *path, const char *name, unsigned part, uint32_t *v, struct viv_share_meta *m)
{
    uint8_t b[4];
    int rc = get(path, name, b, sizeof(b));

    if (rc > 0) {
        *v = viv_ld_le32(b);
        m->parts |= part;
    }
    return rc < 0 ? rc : 0;
}

int viv_share_xattr_read(int fd, struct viv_share_meta *m)
{
    struct viv_share_path p = viv_share_path(fd);
    uint8_t rdev[8];
    int rc = get32(p.text, "user.virtfs.uid", VIV_SHARE_UID, &m->uid, m);

    if (!rc)
        rc = get32(p.text, "user.virtfs.gid", VIV_SHARE_GID, &m->gid, m);
    if (!rc)
        rc = get32(p.text, "user.virtfs.mode", VIV_SHARE_MODE, &m->mode, m);
    if (rc < 0 || !(m->parts & VIV_SHARE_MODE) || !(S_ISCHR(m->mode) || S_ISBLK(m->mode)))
        return rc;
    rc = get(p.text, "user.virtfs.rdev", rdev, sizeof(rdev));
    if (rc > 0) {
        m->rdev = viv_ld_le64(rdev);
        m->parts |= VIV_SHARE_RDEV;
    }
    return rc < 0 ? rc : 0;
}

static int set32(const char *path, const char *name, uint32_t v)
{
    uint8_t b[4];

    viv_st_le32(b, v);
    return setxattr(path, name, b, sizeof(b), 0) < 0 ? -errno : 0;
}

int viv_share_xattr_write(int fd, const struct viv_share_meta *m)
{
    struct viv_share_path p = viv_share_path(fd);
    uint8_t rdev[8];
    int rc = 0;

    if (m->parts & VIV_SHARE_UID)
        rc = set32(p.text, "user.virtfs.uid", m->uid);
    if (!rc && m->parts & VIV_SHARE_GID)
        rc = set32(p.text, "user.virtfs.gid", m->gid);
    if (!rc && m->parts & VIV_SHARE_MODE)
        rc = set32(p.text, "user.virtfs.mode", m->mode);
    viv_st_le64(rdev, m->rdev);
    if (!rc && m->parts & VIV_SHARE_RDEV && setxattr(p.text, "user.virtfs.rdev", rdev, sizeof(rdev), 0) < 0)
        rc = -errno;
    return rc;
}
