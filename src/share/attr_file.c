/* security_model=mapped-file. */
#include "share/attr_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 512 };

/* The folder of attributes of what is in `dir`. */
static int open_meta_dir(int dir, bool make)
{
    const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, META_DIR, flags);

    if (fd < 0 && errno == ENOENT && make) {
        if (mkdirat(dir, META_DIR, 0700) < 0 && errno != EEXIST)
            return -errno;
        fd = openat(dir, META_DIR, flags);
    }
    return fd < 0 ? -errno : fd;
}

/* The shared folder's own attributes lie in it, those of the rest in a folder beside them. */
static int open_place(const struct viv_share_file *f, bool make, const char **name)
{
    int fd;

    *name = *f->name ? f->name : META_ROOT;
    if (*f->name)
        return open_meta_dir(f->dir, make);
    fd = openat(f->dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void parse_line(const char *line, struct viv_share_meta *m)
{
    static const struct {
        const char *key;
        unsigned part;
    } keys[] = {
        {"virtfs.uid=", VIV_SHARE_UID}, {"virtfs.gid=", VIV_SHARE_GID}, {"virtfs.mode=", VIV_SHARE_MODE}, {"virtfs.rdev=", VIV_SHARE_RDEV},
    };
    uint32_t *const words[] = {&m->uid, &m->gid, &m->mode};

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        size_t n = strlen(keys[i].key);
        uint64_t v;

        if (strncmp(line, keys[i].key, n) || !g_ascii_isdigit(line[n]))
            continue;
        v = strtoull(line + n, NULL, 10);
        if (keys[i].part == VIV_SHARE_RDEV)
            m->rdev = v;
        else if (v > UINT32_MAX)
            continue;
        else
            *words[i] = (uint32_t)v;
        m->parts |= keys[i].part;
    }
}

int viv_share_meta_read(const struct viv_share_file *f, struct viv_share_meta *m)
{
    char text[TEXT_MAX + 1], *line, *rest;
    struct stat st;
    const char *name;
    int place = f->name ? open_place(f, false, &name) : -ENOENT, fd;
    ssize_t n;

    if (place < 0)
        return place == -ENOENT ? 0 : place;
    /* O_NONBLOCK: it may be a FIFO, if the folder was prepared by somebody. */
    fd = openat(place, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    n = fd < 0 ? -errno : 0;
    close(place);
    if (fd < 0)
        return n == -ENOENT ? 0 : (int)n;
    n = !fstat(fd, &st) && S_ISREG(st.st_mode) ? read(fd, text, TEXT_MAX) : 0;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        parse_line(line, m);
    return 0;
}

/* In place, not by rename: other names of the file share its attributes as a hard link. */
int viv_share_meta_write(const struct viv_share_file *f, const struct viv_share_meta *m)
{
    char text[TEXT_MAX];
    int n = 0, rc = 0, place, fd;
    const char *name;
    struct stat st;

    if (!f->name)
        return 0;
    if (m->parts & VIV_SHARE_UID)
        n += snprintf(text + n, sizeof(text) - n, "virtfs.uid=%" PRIu32 "\n", m->uid);
    if (m->parts & VIV_SHARE_GID)
        n += snprintf(text + n, sizeof(text) - n, "virtfs.gid=%" PRIu32 "\n", m->gid);
    if (m->parts & VIV_SHARE_MODE)
        n += snprintf(text + n, sizeof(text) - n, "virtfs.mode=%" PRIu32 "\n", m->mode);
    if (m->parts & VIV_SHARE_RDEV)
        n += snprintf(text + n, sizeof(text) - n, "virtfs.rdev=%" PRIu64 "\n", m->rdev);
    place = open_place(f, true, &name);
    if (place < 0)
        return place;
    fd = openat(place, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : 0;
    close(place);
    if (rc < 0)
        return rc;
    errno = EIO; /* of a write that is cut short */
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (!S_ISREG(st.st_mode)) /* a device, if the folder was shared in another model before */
        rc = -EINVAL;
    else if (pwrite(fd, text, n, 0) != n)
        rc = -errno;
    else if (ftruncate(fd, n) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* ---- names ---- */

void viv_share_forget(struct viv_share_attrs *a, int dir, const char *name)
{
    int place = a->model == VIV_SHARE_MAPPED_FILE ? open_meta_dir(dir, false) : -1;

    if (place < 0)
        return;
    unlinkat(place, name, 0);
    close(place);
}

int viv_share_attr_link(struct viv_share_attrs *a, const struct viv_share_file *f, int to, const char *new_name)
{
    int here, there, rc = 0;

    if (a->model != VIV_SHARE_MAPPED_FILE || !f->name)
        return 0;
    here = open_meta_dir(f->dir, false);
    if (here < 0)
        return here == -ENOENT ? 0 : here;
    if (faccessat(here, f->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        close(here);
        viv_share_forget(a, to, new_name); /* one that was left over */
        return 0;
    }
    there = open_meta_dir(to, true);
    if (there < 0) {
        rc = there;
    } else {
        unlinkat(there, new_name, 0);
        if (linkat(here, f->name, there, new_name, 0) < 0)
            rc = -errno;
        close(there);
    }
    close(here);
    return rc;
}

int viv_share_attr_move(struct viv_share_attrs *a, int from, const char *name, int to, const char *new_name)
{
    int here, there, rc = 0;

    if (a->model != VIV_SHARE_MAPPED_FILE)
        return 0;
    here = open_meta_dir(from, false);
    if (here < 0 || faccessat(here, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        if (here >= 0)
            close(here);
        viv_share_forget(a, to, new_name);
        return 0;
    }
    there = open_meta_dir(to, true);
    if (there < 0 || renameat(here, name, there, new_name) < 0)
        rc = there < 0 ? there : -errno;
    if (there >= 0)
        close(there);
    close(here);
    return rc;
}

/* Attributes of what is not there any more: the host removed it, or a crash came between. `dir` has them in `meta`. */
static void sweep(int dir, int meta)
{
    int fd = openat(meta, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && faccessat(dir, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            unlinkat(meta, e->d_name, 0);
    }
    closedir(d);
}

int viv_share_attr_rmdir(struct viv_share_attrs *a, int dir, const char *name)
{
    int fd, meta, rc;

    if (a->model != VIV_SHARE_MAPPED_FILE)
        return 0;
    fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = unlinkat(fd, META_DIR, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
    meta = rc == -ENOTEMPTY || rc == -EEXIST ? open_meta_dir(fd, false) : -1;
    if (meta >= 0) {
        sweep(fd, meta);
        close(meta);
        rc = unlinkat(fd, META_DIR, AT_REMOVEDIR) < 0 ? -errno : 0;
    }
    close(fd);
    return rc;
}
