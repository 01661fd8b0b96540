/* Whole trees: where options come from outside, and what stands on top. */
#include "block/build.h"
#include "block/options.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static bool is_permission(int ret)
{
    return ret == -EACCES || ret == -EROFS || ret == -EPERM;
}

static bool is_on(const struct viv_raw_opts *r, const char *key)
{
    const char *v = viv_raw_get(r, key);
    struct viv_err ignored = VIV_ERR_INIT;
    bool on = false;

    return v && !viv_parse_bool(v, &on, &ignored) && on;
}

/* Bare bytes are no disk: an image on top of them. */
static int wrap_bytes(struct viv_node *n, const struct viv_node_opts *wish, struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts top = *wish;

    if (!n->drv->protocol || n->drv->filter) {
        *out = n;
        return 0;
    }
    top.node_name = NULL;
    return viv_node_open_format(viv_blk_driver_find("raw"), n, &top, out, err);
}

int viv_node_build_root(const struct viv_raw_opts *r, const char *format, const struct viv_node_opts *wish,
                        struct viv_node **out, struct viv_err *err)
{
    const char *driver = viv_raw_get(r, "driver");
    struct viv_raw_opts *all = viv_raw_copy(r), *file = viv_raw_take_below(all, "file", "file");
    struct viv_node *n = NULL;
    int ret = 0;

    viv_raw_free(all);
    if (!driver && !file && !viv_raw_get(r, "file"))
        ret = viv_fail(err, EINVAL, "Must specify either driver or file");
    else if (driver && format && strcmp(driver, format) != 0)
        ret = viv_fail(err, EINVAL, "the options say driver=%s, and the format asked for is %s", driver, format);
    viv_raw_free(file);
    if (ret)
        return ret;
    all = viv_raw_copy(r);
    if (!driver && format)
        viv_raw_set(all, "driver", format);
    ret = viv_node_build(all, true, wish, &n, err);
    viv_raw_free(all);
    return ret ? ret : wrap_bytes(n, wish, out, err);
}

int viv_node_build_auto(const struct viv_raw_opts *r, const char *format, bool wrap, const struct viv_node_opts *wish,
                        struct viv_node **out, struct viv_err *err)
{
    bool automatic = is_on(r, "auto-read-only") || is_on(r, "file.auto-read-only");
    struct viv_node_opts o = *wish;
    int ret = wrap ? viv_node_build_root(r, format, &o, out, err) : viv_node_build(r, true, &o, out, err);

    if (!is_permission(ret) || o.read_only || !(automatic || o.auto_read_only))
        return ret;
    viv_err_clear(err);
    o.read_only = true;
    return wrap ? viv_node_build_root(r, format, &o, out, err) : viv_node_build(r, true, &o, out, err);
}

int viv_node_open_options(const char *what, const char *text, const char *format, const struct viv_node_opts *wish,
                          struct viv_node **out, struct viv_err *err)
{
    struct viv_raw_opts *r = NULL;
    int ret = viv_raw_parse(what, NULL, text, &r, err);

    if (!ret)
        ret = viv_node_build_root(r, format, wish, out, err);
    viv_raw_free(r);
    return ret;
}

bool viv_node_print_help(const char *driver)
{
    const struct viv_blk_driver *d = driver ? viv_blk_driver_find(driver) : NULL;
    g_autofree struct viv_opt_def *schema = d ? viv_node_schema(d) : NULL;
    g_autofree char *formats = viv_blk_driver_names(false), *files = viv_blk_driver_names(true);
    g_autofree char *what = g_strdup_printf("-blockdev %s", driver ? driver : "");

    if (driver && !d)
        return false;
    viv_opts_print_help(d ? what : "-blockdev", d ? schema : viv_node_common_opts, stdout);
    if (!d)
        printf("and the driver's own, which -blockdev DRIVER,help lists; formats: %s; files and filters: %s\n", formats, files);
    return true;
}
