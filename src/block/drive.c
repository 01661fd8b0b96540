/* -drive: a drive's options and, in one list with them, those of its image. */
#include "block/blk.h"
#include "block/build.h"
#include "block/options.h"
#include "block/overlay.h"
#include "block/registry.h"
#include "block/stats.h"
#include "block/throttle.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define INTERVALS_MAX 64

static bool some_node_takes(const char *key)
{
    bool found = strchr(key, '.') || !strcmp(key, "driver"); /* of a node below, or refused when its node is made */

    for (size_t i = 0; viv_blk_drivers[i] && !found; i++) {
        g_autofree struct viv_opt_def *schema = viv_node_schema(viv_blk_drivers[i]);

        for (const struct viv_opt_def *d = schema; d->name; d++)
            found |= !strcmp(d->name, key);
    }
    return found;
}

/* What is neither the drive's nor any node's is a slip of the pen in the drive's, if it is near one. */
static int check_spelling(const char *what, const struct viv_raw_opts *image, struct viv_err *err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (const struct viv_opt_def *d = viv_drive_opts; d->name; d++)
        g_ptr_array_add(names, (void *)d->name);
    g_ptr_array_add(names, NULL);
    for (size_t i = 0; i < viv_raw_count(image); i++) {
        const char *key, *value, *near;

        viv_raw_at(image, i, &key, &value);
        near = some_node_takes(key) ? NULL : viv_nearest(key, (const char *const *)names->pdata);
        if (near)
            return viv_fail(err, EINVAL, "%s: unknown option '%.80s'; did you mean '%s'?", what, key, near);
    }
    return 0;
}

int viv_drive_parse(const char *what, const char *text, struct viv_opts **out, struct viv_raw_opts **image, struct viv_err *err)
{
    struct viv_raw_opts *all = NULL, *mine;
    int ret = viv_raw_parse(what, NULL, text, &all, err);

    if (ret)
        return ret;
    mine = viv_raw_take_known(all, viv_drive_opts);
    ret = viv_opts_from_raw(what, viv_drive_opts, mine, out, err);
    viv_raw_free(mine);
    if (!ret && (ret = check_spelling(what, all, err)) != 0) {
        viv_opts_free(*out);
        *out = NULL;
    }
    if (ret)
        viv_raw_free(all);
    else
        *image = all;
    return ret;
}

static void read_cache(struct viv_opts *o, struct viv_node_opts *no, bool *writethrough)
{
    const char *mode = viv_opts_str(o, "cache");

    no->direct = viv_opts_given(o, "cache.direct") ? viv_opts_bool(o, "cache.direct")
                                                   : strcmp(mode, "none") == 0 || strcmp(mode, "directsync") == 0;
    no->no_flush = viv_opts_given(o, "cache.no-flush") ? viv_opts_bool(o, "cache.no-flush") : strcmp(mode, "unsafe") == 0;
    *writethrough = viv_opts_given(o, "cache.writeback")
                        ? !viv_opts_bool(o, "cache.writeback")
                        : strcmp(mode, "writethrough") == 0 || strcmp(mode, "directsync") == 0;
}

static int read_wish(struct viv_opts *o, unsigned perms, unsigned shared, struct viv_node_opts *no, struct viv_err *err)
{
    const char *locking = viv_opts_str(o, "locking"), *aio = viv_opts_str(o, "aio");
    bool by_option = viv_opts_bool(o, "readonly") | viv_opts_bool(o, "read-only");

    no->read_only = by_option || !(perms & (VIV_PERM_WRITE | VIV_PERM_RESIZE));
    no->copy_on_read = viv_opts_bool(o, "copy-on-read");
    no->auto_read_only = viv_opts_bool(o, "auto-read-only");
    no->share_write = !no->loose && (shared & VIV_PERM_WRITE);
    no->force_share = viv_opts_bool(o, "force-share");
    no->node_name = viv_opts_str(o, "node-name");
    no->unmap = viv_node_opt_discard(o, false);
    no->locking = strcmp(locking, "on") == 0 ? VIV_LOCKING_ON : strcmp(locking, "off") == 0 ? VIV_LOCKING_OFF : VIV_LOCKING_AUTO;
    if (no->copy_on_read && no->read_only)
        return viv_fail(err, EINVAL, "%s: copy-on-read=on writes into the image, and that is read-only", viv_opts_what(o));
    if (no->force_share && !no->read_only)
        return viv_fail(err, EINVAL, "%s: force-share=on needs read-only=on", viv_opts_what(o));
    viv_aio_parse(aio, &no->aio); /* one of viv_aio_values */
    return viv_node_opt_zeroes(o, no, err);
}

/* file=NAME: a description, or the file under the image. */
static int add_file(struct viv_opts *o, struct viv_raw_opts *r, struct viv_err *err)
{
    const char *file = viv_opts_str(o, "file");
    struct viv_raw_opts *json;
    int ret;

    if (!file)
        return 0;
    if (viv_raw_get(r, "file.filename"))
        return viv_fail(err, EINVAL, "%s: file and file.filename exclude each other", viv_opts_what(o));
    if (!g_str_has_prefix(file, "json:")) {
        viv_raw_set(r, "file.filename", file);
        return 0;
    }
    ret = viv_raw_parse(viv_opts_what(o), NULL, file + 5, &json, err);
    if (ret)
        return ret;
    viv_raw_add_absent(r, json);
    viv_raw_free(json);
    return 0;
}

/* format= and driver= are one; absent: probed. */
static int add_format(struct viv_opts *o, struct viv_raw_opts *r, struct viv_err *err)
{
    const char *format = viv_opts_str(o, "format");
    const struct viv_blk_driver *drv = format ? viv_blk_driver_find(format) : NULL;
    g_autofree char *names = NULL;

    if (!format)
        return 0;
    if (viv_raw_get(r, "driver"))
        return viv_fail(err, EINVAL, "%s: format and driver exclude each other", viv_opts_what(o));
    if (drv && !drv->protocol) {
        viv_raw_set(r, "driver", format);
        return 0;
    }
    if (viv_blk_instead(format))
        return viv_fail(err, ENOTSUP, "%s: format=%s: %s", viv_opts_what(o), format, viv_blk_instead(format));
    names = viv_blk_driver_names(false);
    return viv_fail(err, EINVAL, "%s: Unknown file format '%s'; formats that work: %s", viv_opts_what(o), format, names);
}

static int open_image(struct viv_opts *o, const struct viv_raw_opts *image, const struct viv_node_opts *no, struct viv_node **out,
                      struct viv_err *err)
{
    struct viv_raw_opts *r = viv_raw_copy(image);
    int ret = add_format(o, r, err);

    if (!ret)
        ret = add_file(o, r, err);
    if (!ret)
        ret = viv_node_build_auto(r, NULL, true, no, out, err);
    viv_raw_free(r);
    return ret;
}

/* snapshot=on: the image itself is only read. */
static int open_overlay(struct viv_opts *o, const struct viv_raw_opts *image, const struct viv_node_opts *no,
                        struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts base = *no;
    struct viv_node *n = NULL;
    int ret;

    base.read_only = true;
    base.unmap = false;
    base.copy_on_read = false;
    base.detect_zeroes = VIV_DETECT_OFF;
    base.node_name = NULL;
    ret = open_image(o, image, &base, &n, err);
    return ret ? ret : viv_node_overlay(n, no, out, err);
}

/* `loose`: its device is still to come. */
static int open_blk(struct viv_opts *o, const struct viv_raw_opts *image, unsigned perms, unsigned shared, const char *user, bool loose,
                    struct viv_blk **out, struct viv_err *err)
{
    struct viv_node_opts no = {.loose = loose};
    struct viv_node *n = NULL;
    bool writethrough = false;
    struct viv_limits limits;
    const char *group;
    int ret = read_wish(o, perms, shared, &no, err);

    if (ret)
        return ret;
    read_cache(o, &no, &writethrough);
    ret = viv_limits_read(o, &limits, &group, err);
    if (!ret)
        ret = viv_opts_bool(o, "snapshot") && !no.read_only ? open_overlay(o, image, &no, &n, err)
                                                            : open_image(o, image, &no, &n, err);
    if (ret)
        return ret;
    if (n->read_only)
        perms &= ~(VIV_PERM_WRITE | VIV_PERM_RESIZE);
    ret = viv_blk_new(n, perms, shared, user, writethrough, out, err);
    if (!ret && (ret = viv_blk_set_limits(*out, group, &limits, err)) != 0) {
        viv_blk_close(*out, NULL);
        *out = NULL;
    }
    return ret;
}

int viv_blk_open(struct viv_opts *o, const struct viv_raw_opts *image, unsigned perms, unsigned shared, const char *user,
                 struct viv_blk **out, struct viv_err *err)
{
    return open_blk(o, image, perms, shared, user, false, out, err);
}

static int open_of_drive(const char *what, struct viv_opts *o, const struct viv_raw_opts *image, const char *id, bool cd,
                         struct viv_blk **blk, struct viv_err *err)
{
    bool readonly = viv_opts_bool(o, "readonly") || viv_opts_bool(o, "read-only") || cd;
    g_autofree char *user = g_strdup_printf("drive '%s'", id);
    int rc;

    if (!viv_opts_given(o, "file") && !viv_raw_count(image))
        return 0;
    rc = open_blk(o, image, VIV_PERM_READ | (readonly ? 0 : VIV_PERM_WRITE), VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE, user, true,
                  blk, err);
    if (rc < 0 && !g_str_has_prefix(err->text, what))
        viv_err_prefix(err, "%s", what);
    return rc;
}

static int read_stats(struct viv_opts *o, struct viv_blk_counters *c, struct viv_err *err)
{
    int64_t now = viv_blk_stats_clock();

    c->skip_invalid = !viv_opts_bool(o, "stats-account-invalid");
    c->skip_failed = !viv_opts_bool(o, "stats-account-failed");
    for (size_t i = 0; i < viv_opts_list_len(o, "stats-intervals"); i++) {
        const char *text = viv_opts_list_item(o, "stats-intervals", i);
        guint64 seconds;

        if (i == INTERVALS_MAX)
            return viv_fail(err, EINVAL, "%s: stats-intervals: %u at most", viv_opts_what(o), INTERVALS_MAX);
        if (!g_ascii_string_to_unsigned(text, 10, 1, UINT32_MAX, &seconds, NULL))
            return viv_fail(err, EINVAL, "%s: Invalid interval length: %s (seconds: 1 to %u)", viv_opts_what(o), text, UINT32_MAX);
        viv_latency_add_interval(c->latency, (uint32_t)seconds, now);
    }
    return 0;
}

int viv_drive_open(const char *what, struct viv_opts *o, const struct viv_raw_opts *image, const char *id, struct viv_err *err)
{
    bool cd = !strcmp(viv_opts_str(o, "media"), "cdrom");
    struct viv_blk *blk = NULL;
    struct viv_drive *d;
    int rc = open_of_drive(what, o, image, id, cd, &blk, err);

    if (rc < 0)
        return rc;
    rc = viv_drive_add(id, blk, &d, err);
    if (rc < 0) {
        if (blk)
            viv_blk_close(blk, NULL);
        return rc;
    }
    rc = read_stats(o, d->counters, err);
    if (rc < 0) {
        viv_drive_remove(d, NULL);
        return rc;
    }
    d->serial = g_strdup(viv_opts_str(o, "serial"));
    d->cd = cd;
    d->rerror = viv_drive_error_parse(viv_opts_str(o, "rerror"));
    d->werror = viv_drive_error_parse(viv_opts_str(o, "werror"));
    return 0;
}
