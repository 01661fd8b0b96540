#include "host/datadir.h"

#include "base/units.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where Debian's packages seabios, qemu-system-data, ovmf and ipxe-qemu put theirs. */
static const char *const folders[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/OVMF", "/usr/lib/ipxe/qemu"};

static const struct {
    const char *prefix, *package;
} packages[] = {
    {"bios", "seabios"}, {"vgabios", "seabios"}, {"efi-", "ipxe-qemu"}, {"pxe-", "ipxe-qemu"}, {"OVMF", "ovmf"},
};

static GPtrArray *added;

void viv_datadir_add(const char *dir)
{
    if (!added)
        added = g_ptr_array_new();
    g_ptr_array_add(added, g_strdup(dir));
}

const char **viv_datadir_list(void)
{
    GPtrArray *all = g_ptr_array_new();

    for (guint i = 0; added && i < added->len; i++)
        g_ptr_array_add(all, added->pdata[i]);
    for (size_t i = 0; i < VIV_ARRAY_SIZE(folders); i++)
        g_ptr_array_add(all, (gpointer)folders[i]);
    g_ptr_array_add(all, NULL);
    return (const char **)g_ptr_array_free(all, FALSE);
}

static void not_found(const char *name, const char *const *dirs, struct viv_err *err)
{
    g_autofree char *where = g_strjoinv(", ", (char **)dirs);
    const char *package = NULL;

    for (size_t i = 0; i < VIV_ARRAY_SIZE(packages); i++) {
        if (g_str_has_prefix(name, packages[i].prefix))
            package = packages[i].package;
    }
    viv_fail(err, ENOENT, "there is no file '%s' here nor in %s%s%s%s", name, where, package ? "; Debian's package " : "",
             package ? package : "", package ? " has the usual ones, -L names another folder" : "");
}

char *viv_datadir_find(const char *name, struct viv_err *err)
{
    g_autofree const char **dirs = NULL;

    if (strchr(name, '/') || access(name, R_OK) == 0)
        return g_strdup(name);
    dirs = viv_datadir_list();
    for (const char **d = dirs; *d; d++) {
        char *path = g_build_filename(*d, name, NULL);

        if (access(path, F_OK) == 0)
            return path;
        g_free(path);
    }
    not_found(name, dirs, err);
    return NULL;
}

static int read_all(int fd, uint8_t *p, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, p + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int read_open(int fd, const char *path, size_t max, uint8_t **data, size_t *len, struct viv_err *err)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "cannot look at '%s'", path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return viv_fail(err, EINVAL, "'%s' is %s", path, S_ISREG(st.st_mode) ? "empty" : "not a regular file");
    if ((uint64_t)st.st_size > max)
        return viv_fail(err, EFBIG, "'%s' has %lld bytes, %zu are the most", path, (long long)st.st_size, max);
    *len = (size_t)st.st_size;
    *data = g_malloc(*len);
    r = read_all(fd, *data, *len);
    if (r < 0) {
        g_free(*data);
        return viv_fail_os(err, -r, "cannot read '%s'", path);
    }
    return 0;
}

int viv_datadir_read(const char *name, size_t max, uint8_t **data, size_t *len, struct viv_err *err)
{
    g_autofree char *path = viv_datadir_find(name, err);
    int fd, r;

    if (!path)
        return -ENOENT;
    fd = viv_open(path, O_RDONLY | O_NONBLOCK, 0, err);
    if (fd < 0)
        return fd;
    r = read_open(fd, path, max, data, len, err);
    close(fd);
    return r;
}
