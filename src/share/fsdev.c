#include "share/fsdev.h"

#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const models[] = {"passthrough", "none", "mapped-xattr", "mapped-file", "mapped", NULL};
static const char *const multidevs[] = {"remap", "forbid", "warn", NULL};

const struct viv_opt_def viv_fsdev_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for fsdev= of a virtio-9p device"},
    {.name = "path", .type = VIV_OPT_STR, .required = true, .help = "the folder to share"},
    {.name = "security_model", .type = VIV_OPT_ENUM, .values = models,
     .help = "whose the files are: mapped (attributes of the guest kept beside the host's), mapped-file, passthrough (as root), none"},
    {.name = "readonly", .type = VIV_OPT_BOOL, .values = (const char *const[]){"on", NULL}, .help = "the guest cannot write"},
    {.name = "writeout", .type = VIV_OPT_REFUSED, .help = "what the guest writes is in the host's cache when it is answered; leave it out"},
    {.name = "fmode", .type = VIV_OPT_STR, .help = "mode on the host of new files, in octal, in the mapped models (default: 0600)"},
    {.name = "dmode", .type = VIV_OPT_STR, .help = "mode on the host of new folders, in the mapped models (default: 0700)"},
    {.name = "multidevs", .type = VIV_OPT_ENUM, .values = multidevs, .def = "remap",
     .help = "file systems mounted below path: remap (inode numbers made unique), forbid (not shown), warn (as they are)"},
    {.name = "sock_fd", .type = VIV_OPT_REFUSED, .help = "it is of -fsdev proxy; use -fsdev local"},
    {.name = "socket", .type = VIV_OPT_REFUSED, .help = "it is of -fsdev proxy; use -fsdev local"},
    {.name = "throttling.bps-total", .type = VIV_OPT_REFUSED, .help = "there are no limits on shared folders yet"},
    {.name = "throttling.iops-total", .type = VIV_OPT_REFUSED, .help = "there are no limits on shared folders yet"},
    VIV_OPT_END,
};

static GPtrArray *all; /* of struct viv_fsdev */

static void fsdev_free(gpointer p)
{
    struct viv_fsdev *f = p;

    g_free(f->id);
    g_free(f->path);
    g_free(f);
}

struct viv_fsdev *viv_fsdev_find(const char *id)
{
    for (guint i = 0; all && i < all->len; i++) {
        struct viv_fsdev *f = g_ptr_array_index(all, i);

        if (!strcmp(f->id, id))
            return f;
    }
    return NULL;
}

unsigned viv_fsdev_count(void)
{
    return all ? all->len : 0;
}

void viv_fsdev_free_all(void)
{
    g_clear_pointer(&all, g_ptr_array_unref);
}

static int octal(struct viv_opts *o, const char *key, bool mapped, mode_t def, mode_t *out, struct viv_err *err)
{
    const char *text = viv_opts_str(o, key);
    char *end;
    gint64 v;

    *out = def;
    if (!text)
        return 0;
    if (!mapped)
        return viv_fail(err, EINVAL, "%s: %s= is for the mapped security models only: in the others the guest sets the mode",
                        viv_opts_what(o), key);
    v = g_ascii_strtoll(text, &end, 8);
    if (*end || end == text || v < 0 || v > 0777)
        return viv_fail(err, EINVAL, "%s: %s=%.40s is no mode; it is octal, from 0 to 0777", viv_opts_what(o), key, text);
    *out = (mode_t)v;
    return 0;
}

static int take_model(struct viv_opts *o, struct viv_fsdev *f, struct viv_err *err)
{
    const char *model = viv_opts_str(o, "security_model");

    if (!model)
        return viv_fail(err, EINVAL, "%s: security_model= is missing: 'mapped' for a folder of the guest's own, 'none' to see the host's "
                        "files as they are, 'passthrough' for the same as root", viv_opts_what(o));
    for (unsigned i = 0; models[i]; i++) {
        if (!strcmp(models[i], model))
            f->model = i == 4 ? VIV_SHARE_MAPPED_XATTR : (enum viv_share_model)i;
    }
    return 0;
}

static int fill(struct viv_fsdev *f, struct viv_opts *o, struct viv_err *err)
{
    int rc = take_model(o, f, err);
    bool mapped = f->model >= VIV_SHARE_MAPPED_XATTR;
    struct stat st;

    if (!rc)
        rc = octal(o, "fmode", mapped, 0600, &f->fmode, err);
    if (!rc)
        rc = octal(o, "dmode", mapped, 0700, &f->dmode, err);
    if (rc < 0)
        return rc;
    f->id = g_strdup(viv_opts_str(o, "id"));
    f->path = g_strdup(viv_opts_str(o, "path"));
    f->readonly = viv_opts_bool(o, "readonly");
    for (unsigned i = 0; multidevs[i]; i++) {
        if (!strcmp(multidevs[i], viv_opts_str(o, "multidevs")))
            f->multidevs = (enum viv_share_multidevs)i;
    }
    if (viv_fsdev_find(f->id))
        return viv_fail(err, EEXIST, "%s: there is an fsdev '%.60s' already", viv_opts_what(o), f->id);
    if (stat(f->path, &st) < 0)
        return viv_fail_os(err, errno, "%s: path=%.200s", viv_opts_what(o), f->path);
    if (!S_ISDIR(st.st_mode))
        return viv_fail(err, ENOTDIR, "%s: path=%.200s is no folder", viv_opts_what(o), f->path);
    return 0;
}

/* What the driver is, and what other drivers of QEMU's are said to be. */
static int check_driver(const char *what, struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *driver = viv_raw_take(r, "fsdriver");

    if (!driver)
        return viv_fail(err, EINVAL, "%s: it begins with the driver: %s local,...", what, what);
    if (!strcmp(driver, "proxy") || !strcmp(driver, "synth"))
        return viv_fail(err, ENOTSUP, "%s %s: there is 'local' only", what, driver);
    if (strcmp(driver, "local"))
        return viv_fail(err, EINVAL, "%s %.60s: there is no such driver; 'local' shares a folder", what, driver);
    return 0;
}

int viv_fsdev_add(struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("%s local", viv_raw_what(r));
    struct viv_fsdev *f;
    struct viv_opts *o;
    int rc = check_driver(viv_raw_what(r), r, err);

    if (!rc)
        rc = viv_opts_from_raw(what, viv_fsdev_opts, r, &o, err);
    if (rc < 0)
        return rc;
    f = g_new0(struct viv_fsdev, 1);
    rc = fill(f, o, err);
    viv_opts_free(o);
    if (rc < 0) {
        fsdev_free(f);
        return rc;
    }
    if (!all)
        all = g_ptr_array_new_with_free_func(fsdev_free);
    g_ptr_array_add(all, f);
    viv_sandbox_share(f->path, f->readonly);
    return 0;
}
