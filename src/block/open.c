/* Options to nodes: what -drive and -blockdev mean. */
#include "block/blk.h"
#include "block/options.h"
#include "block/throttle.h"
#include "block/overlay.h"
#include "block/proto/curl/curl.h"
#include "block/proto/nbd/nbd.h"
#include "block/proto/null/null_co.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* The nodes that -blockdev made, each with a reference of ours. Main thread only. */
static GPtrArray *blockdevs;

/* Keys of a nested node: "file." + "filename". */
static const char *key_of(char buf[64], const char *prefix, const char *name)
{
    g_snprintf(buf, 64, "%s%s", prefix, name);
    return buf;
}

static const char *get_str(struct viv_opts *o, const char *prefix, const char *name)
{
    char key[64];

    return viv_opts_str(o, key_of(key, prefix, name));
}

static bool given(struct viv_opts *o, const char *prefix, const char *name)
{
    char key[64];

    return viv_opts_given(o, key_of(key, prefix, name));
}

/* An option that both the node and its file child may carry: set when either sets it. */
static bool get_bool(struct viv_opts *o, const char *name)
{
    char key[64];

    if (viv_opts_given(o, name))
        return viv_opts_bool(o, name);
    return viv_opts_bool(o, key_of(key, "file.", name));
}

static bool wants_unmap(struct viv_opts *o, const char *key)
{
    const char *v = viv_opts_str(o, key);

    return strcmp(v, "unmap") == 0 || strcmp(v, "on") == 0;
}

static int read_aio(struct viv_opts *o, struct viv_err *err)
{
    const char *aio = given(o, "file.", "aio") ? get_str(o, "file.", "aio") : get_str(o, "", "aio");

    if (strcmp(aio, "threads") != 0)
        return viv_fail(err, ENOTSUP, "%s: aio=%s is not implemented yet; aio=threads works",
                        viv_opts_what(o), aio);
    return 0;
}

static void read_locking(struct viv_opts *o, struct viv_node_opts *no)
{
    const char *l =
        given(o, "file.", "locking") ? get_str(o, "file.", "locking") : get_str(o, "", "locking");

    no->locking = strcmp(l, "on") == 0    ? VIV_LOCKING_ON
                  : strcmp(l, "off") == 0 ? VIV_LOCKING_OFF
                                          : VIV_LOCKING_AUTO;
}

/* Of the image or of its backing file. */
static int read_key_secret(struct viv_opts *o, const char *prefix, const char **out, struct viv_err *err)
{
    const char *luks = get_str(o, prefix, "key-secret"), *inner = get_str(o, prefix, "encrypt.key-secret");

    if (luks && inner)
        return viv_fail(err, EINVAL, "%s: %skey-secret is for luks, %sencrypt.key-secret for qcow2: give one of them",
                        viv_opts_what(o), prefix, prefix);
    *out = luks ? luks : inner;
    return 0;
}

static int read_encryption(struct viv_opts *o, struct viv_node_opts *no, struct viv_err *err)
{
    int ret = read_key_secret(o, "", &no->key_secret, err);

    no->encrypt_format = viv_opts_str(o, "encrypt.format");
    return ret ? ret : read_key_secret(o, "backing.", &no->backing_key_secret, err);
}

/* What both kinds of option sets have. */
static int read_common(struct viv_opts *o, unsigned shared, struct viv_node_opts *no,
                       struct viv_err *err)
{
    const char *zeroes = viv_opts_str(o, "detect-zeroes");

    no->unmap = wants_unmap(o, "discard");
    no->detect_zeroes = strcmp(zeroes, "unmap") == 0 ? VIV_DETECT_UNMAP
                        : strcmp(zeroes, "on") == 0  ? VIV_DETECT_ON
                                                     : VIV_DETECT_OFF;
    if (no->detect_zeroes == VIV_DETECT_UNMAP && !no->unmap)
        return viv_fail(err, EINVAL, "%s: detect-zeroes=unmap needs discard=unmap",
                        viv_opts_what(o));
    no->direct = get_bool(o, "cache.direct");
    no->no_flush = get_bool(o, "cache.no-flush");
    no->force_share = get_bool(o, "force-share");
    no->share_write = shared & VIV_PERM_WRITE;
    no->node_name = viv_opts_str(o, "node-name");
    if (no->force_share && !no->read_only)
        return viv_fail(err, EINVAL, "%s: force-share=on needs read-only=on", viv_opts_what(o));
    read_locking(o, no);
    if (read_encryption(o, no, err))
        return -EINVAL;
    return read_aio(o, err);
}

/* backing=, backing.driver=, backing.file.filename=: in place of what the image's header says. */
static int read_backing(struct viv_opts *o, struct viv_node_opts *no, struct viv_err *err)
{
    const char *file = viv_opts_str(o, "backing.file.filename");
    const char *ref = viv_opts_given(o, "backing") ? viv_opts_str(o, "backing") : NULL;

    if (ref && *ref && !viv_node_find(ref))
        return viv_fail(err, ENOENT, "%s: backing: there is no node '%s'", viv_opts_what(o), ref);
    if (ref && (file || no->backing_key_secret))
        return viv_fail(err, EINVAL, "%s: backing and backing.%s exclude each other", viv_opts_what(o),
                        file ? "file.filename" : "key-secret");
    if (!file && viv_opts_given(o, "backing.driver"))
        no->backing_format = viv_opts_str(o, "backing.driver");
    no->no_backing = ref != NULL;
    no->backing_path = file;
    if (file)
        no->backing_format = viv_opts_str(o, "backing.driver");
    return 0;
}

/* backing=NODE: hangs it under the node that was opened without its own. */
static int link_backing(struct viv_opts *o, struct viv_node *n, struct viv_err *err)
{
    const char *ref = viv_opts_given(o, "backing") ? viv_opts_str(o, "backing") : NULL;

    if (!ref || !*ref)
        return 0;
    if (!n->drv->backing)
        return viv_fail(err, EINVAL, "%s: %s images have no backing file", viv_opts_what(o), n->drv->name);
    n->backing = viv_node_find(ref);
    viv_node_get(n->backing);
    if (!n->backing->read_only || n->backing->drv->protocol)
        return viv_fail(err, EINVAL, "%s: backing: node '%s' must be an image with read-only=on",
                        viv_opts_what(o), ref);
    return 0;
}

/* Options of a kind of node that this one is not. */
static int refuse_given(struct viv_opts *o, const char *const *keys, const char *why,
                        struct viv_err *err)
{
    for (; *keys; keys++)
        if (viv_opts_given(o, *keys))
            return viv_fail(err, EINVAL, "%s: '%s' %s", viv_opts_what(o), *keys, why);
    return 0;
}

static bool is_permission(int ret)
{
    return ret == -EACCES || ret == -EROFS || ret == -EPERM;
}

/* Is it a driver of the protocol level that works? "host_device" is what others call a block device. */
static int check_protocol(struct viv_opts *o, const char *name, struct viv_err *err)
{
    if (!name || strcmp(name, "file") == 0 || strcmp(name, "host_device") == 0 ||
        strcmp(name, "null-co") == 0 || strcmp(name, "nbd") == 0 || viv_curl_is_driver(name))
        return 0;
    return viv_fail(err, ENOTSUP,
                    "%s: driver '%s' is not implemented yet; file, host_device, nbd, http, https, ftp, ftps and null-co work",
                    viv_opts_what(o), name);
}

/* What says where something on the net is, where there is no such driver or a file name says it. */
static int refuse_net_opts(struct viv_opts *o, const char *prefix, struct viv_err *err)
{
    int ret = viv_nbd_refuse_opts(o, prefix, err);

    return ret ? ret : viv_curl_refuse_opts(o, prefix, err);
}

static bool is_net_driver(const char *driver)
{
    return driver && (strcmp(driver, "nbd") == 0 || viv_curl_is_driver(driver));
}

/* Without a file name. */
static int open_net(struct viv_opts *o, const char *driver, const char *prefix, const struct viv_node_opts *no,
                    struct viv_node **out, struct viv_err *err)
{
    bool nbd = strcmp(driver, "nbd") == 0;
    int ret = nbd ? viv_curl_refuse_opts(o, prefix, err) : viv_nbd_refuse_opts(o, prefix, err);

    if (ret)
        return ret;
    return nbd ? viv_nbd_open_opts(o, prefix, no, out, err) : viv_curl_open_opts(o, driver, prefix, no, out, err);
}

static int open_protocol(struct viv_opts *o, const char *driver, const char *prefix,
                         const struct viv_node_opts *no, struct viv_node **out, struct viv_err *err)
{
    const char *name = get_str(o, prefix, "filename");
    char key[64];
    int ret = check_protocol(o, driver, err);

    if (ret)
        return ret;
    if (is_net_driver(driver) && !name)
        return open_net(o, driver, prefix, no, out, err);
    ret = refuse_net_opts(o, prefix, err);
    if (ret)
        return ret;
    if (driver && strcmp(driver, "null-co") == 0) {
        if (name)
            return viv_fail(err, EINVAL, "%s: null-co has no %sfilename", viv_opts_what(o), prefix);
        *out = viv_null_co_new(
            given(o, prefix, "size") ? viv_opts_size(o, key_of(key, prefix, "size")) : 1u << 30);
        (*out)->read_only = no->read_only;
        return 0;
    }
    if (driver && strcmp(driver, "nbd") == 0 && !viv_nbd_is_name(name))
        return viv_fail(err, EINVAL, "%s: '%s' is no nbd:// address", viv_opts_what(o), name);
    if (driver && viv_curl_is_driver(driver) && !viv_curl_is_name(name))
        return viv_fail(err, EINVAL, "%s: '%s' is not a URL (%surl=%s://HOST/PATH)", viv_opts_what(o), name, prefix, driver);
    if (!name)
        return viv_fail(err, EINVAL, "%s: %sfilename is missing", viv_opts_what(o), prefix);
    if (given(o, prefix, "size"))
        return viv_fail(err, EINVAL, "%s: %ssize is for driver null-co", viv_opts_what(o), prefix);
    return viv_node_open_file(name, no, out, err);
}

/* A file node by its name, as `key` gives it: nobody else's, unless all only read. Borrowed. */
static int find_file(struct viv_opts *o, const char *key, const struct viv_node_opts *no, struct viv_node **out,
                     struct viv_err *err)
{
    const char *ref = viv_opts_str(o, key);
    struct viv_node *n = viv_node_find(ref);

    if (!n)
        return viv_fail(err, ENOENT, "%s: %s: there is no node '%s'", viv_opts_what(o), key, ref);
    if (!n->drv->protocol)
        return viv_fail(err, EINVAL, "%s: %s: node '%s' is a %s image, not a file", viv_opts_what(o), key, ref,
                        n->drv->name);
    if (n->parents && !(n->read_only && no->read_only))
        return viv_fail(err, EBUSY, "%s: node '%s' is below another image already", viv_opts_what(o), ref);
    if (n->read_only && !no->read_only)
        return viv_fail(err, EACCES, "%s: node '%s' is read-only: say read-only=on here too", viv_opts_what(o), ref);
    *out = n;
    return 0;
}

/* data-file=NODE: in place of the name in the image's header. */
static int read_data_file(struct viv_opts *o, struct viv_node_opts *no, struct viv_err *err)
{
    return viv_opts_given(o, "data-file") ? find_file(o, "data-file", no, &no->data_file, err) : 0;
}

/* --- -drive --- */

static int read_cache(struct viv_opts *o, struct viv_node_opts *no, bool *writethrough)
{
    const char *mode = viv_opts_str(o, "cache");

    if (!given(o, "", "cache.direct") && !given(o, "file.", "cache.direct"))
        no->direct = strcmp(mode, "none") == 0 || strcmp(mode, "directsync") == 0;
    if (!given(o, "", "cache.no-flush") && !given(o, "file.", "cache.no-flush"))
        no->no_flush = strcmp(mode, "unsafe") == 0;
    *writethrough = viv_opts_given(o, "cache.writeback")
                        ? !viv_opts_bool(o, "cache.writeback")
                        : strcmp(mode, "writethrough") == 0 || strcmp(mode, "directsync") == 0;
    return 0;
}

static int drive_file(struct viv_opts *o, const struct viv_node_opts *no, struct viv_node **out,
                      struct viv_err *err)
{
    const char *file = viv_opts_str(o, "file"), *nested = viv_opts_str(o, "file.filename");

    if (file && viv_opts_given(o, "file.size"))
        return viv_fail(err, EINVAL, "%s: file.size is for file.driver=null-co", viv_opts_what(o));
    if (file && viv_opts_given(o, "file.driver") &&
        strcmp(viv_opts_str(o, "file.driver"), "file") != 0)
        return viv_fail(err, EINVAL, "%s: file and file.driver exclude each other",
                        viv_opts_what(o));
    if (file && nested)
        return viv_fail(err, EINVAL, "%s: file and file.filename exclude each other",
                        viv_opts_what(o));
    if (file) {
        int ret = refuse_net_opts(o, "file.", err);

        return ret ? ret : viv_node_open_file(file, no, out, err);
    }
    return open_protocol(o, viv_opts_str(o, "file.driver"), "file.", no, out, err);
}

/* format= and driver= are one; absent: probed. */
static int drive_format(struct viv_opts *o, const struct viv_blk_driver **drv, struct viv_err *err)
{
    const char *format = viv_opts_str(o, "format"), *driver = viv_opts_str(o, "driver");
    char *names;

    if (format && driver)
        return viv_fail(err, EINVAL, "%s: format and driver exclude each other", viv_opts_what(o));
    format = format ? format : driver;
    *drv = format ? viv_blk_driver_find(format) : NULL;
    if (!format || (*drv && !(*drv)->protocol))
        return 0;
    names = viv_blk_driver_names(false);
    viv_fail(err, EINVAL, "%s: Unknown file format '%s'; formats that work: %s", viv_opts_what(o),
             format, names);
    g_free(names);
    return -EINVAL;
}

static int drive_open_node(struct viv_opts *o, const struct viv_node_opts *no,
                           struct viv_node **out, struct viv_err *err)
{
    const struct viv_blk_driver *drv;
    struct viv_node *file = NULL, *n = NULL;
    int ret = drive_format(o, &drv, err);

    if (!ret)
        ret = drive_file(o, no, &file, err);
    if (!ret)
        ret = viv_node_open_format(drv, file, no, &n, err);
    if (!ret && (ret = link_backing(o, n, err)) != 0)
        viv_node_put(&n);
    if (!ret)
        *out = n;
    return ret;
}

/* snapshot=on: the image itself is only read. */
static int drive_open_overlay(struct viv_opts *o, const struct viv_node_opts *no,
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
    ret = drive_open_node(o, &base, &n, err);
    return ret ? ret : viv_node_overlay(n, no, out, err);
}

int viv_blk_open(struct viv_opts *o, unsigned perms, unsigned shared, const char *user,
                 struct viv_blk **out, struct viv_err *err)
{
    struct viv_node_opts no = {0};
    struct viv_node *n = NULL;
    bool writethrough = false;
    struct viv_limits limits;
    const char *group;
    int ret;

    no.read_only = viv_opts_bool(o, "readonly") || viv_opts_bool(o, "read-only") ||
                   !(perms & (VIV_PERM_WRITE | VIV_PERM_RESIZE));
    no.copy_on_read = viv_opts_bool(o, "copy-on-read");
    if (no.copy_on_read && no.read_only)
        return viv_fail(err, EINVAL, "%s: copy-on-read=on writes into the image, and that is read-only", viv_opts_what(o));
    ret = read_common(o, shared, &no, err);
    if (!ret)
        ret = read_cache(o, &no, &writethrough);
    if (!ret)
        ret = read_backing(o, &no, err);
    if (!ret)
        ret = read_data_file(o, &no, err);
    if (!ret)
        ret = viv_limits_read(o, &limits, &group, err);
    if (ret)
        return ret;
    if (viv_opts_bool(o, "snapshot") && !no.read_only)
        ret = drive_open_overlay(o, &no, &n, err);
    else
        ret = drive_open_node(o, &no, &n, err);
    if (is_permission(ret) && !no.read_only && viv_opts_bool(o, "auto-read-only")) {
        viv_err_clear(err);
        no.read_only = true;
        ret = drive_open_node(o, &no, &n, err);
    }
    if (ret)
        return ret;
    if (no.read_only)
        perms &= ~(VIV_PERM_WRITE | VIV_PERM_RESIZE);
    ret = viv_blk_new(n, perms, shared, user, writethrough, out, err);
    if (!ret && (ret = viv_blk_set_limits(*out, group, &limits, err)) != 0) {
        viv_blk_close(*out, NULL);
        *out = NULL;
    }
    return ret;
}

/* --- -blockdev --- */

/* The node below: a named one, or one described in place. */
static int blockdev_file(struct viv_opts *o, const struct viv_node_opts *no, struct viv_node **out,
                         struct viv_err *err)
{
    static const char *const below[] = {"file.driver",  "file.filename",  "file.node-name",
                                        "file.size",    "file.locking",   "file.aio",
                                        "file.discard", "locking",        "aio",
                                        "cache.direct", "cache.no-flush", NULL};
    const char *ref = viv_opts_str(o, "file");
    struct viv_node_opts fo = *no;
    struct viv_node *n;
    int ret;

    if (!ref) {
        fo.node_name = viv_opts_str(o, "file.node-name");
        ret = open_protocol(o, viv_opts_str(o, "file.driver"), "file.", &fo, out, err);
        if (ret)
            return ret;
        (*out)->unmap = wants_unmap(o, "file.discard");
        if (fo.node_name && (ret = viv_node_register(*out, fo.node_name, err)) != 0)
            viv_node_put(out);
        return ret;
    }
    ret = refuse_given(o, below, "does not go with file=NODE: say it where that node is made", err);
    if (ret)
        return ret;
    ret = find_file(o, "file", no, &n, err);
    if (ret)
        return ret;
    viv_node_get(n);
    *out = n;
    return 0;
}

/* driver NULL: a format that is to be probed. */
static int blockdev_node(struct viv_opts *o, const char *driver, const struct viv_node_opts *no,
                         struct viv_node **out, struct viv_err *err)
{
    static const char *const of_formats[] = {
        "file",    "file.driver",    "file.filename",         "file.node-name",
        "backing", "backing.driver", "backing.file.filename", "detect-zeroes", "data-file",
        NULL};
    static const char *const of_files[] = {"filename", "size", NULL};
    const struct viv_blk_driver *drv = driver ? viv_blk_driver_find(driver) : NULL;
    struct viv_node *file = NULL;
    int ret;

    if (driver && (!drv || drv->protocol)) {
        ret = check_protocol(o, driver, err);
        if (!ret)
            ret = refuse_given(o, of_formats, "is for image formats (raw, qcow2)", err);
        if (!ret)
            ret = open_protocol(o, driver, "", no, out, err);
        if (!ret)
            (*out)->unmap = no->unmap;
        if (!ret && no->node_name && (ret = viv_node_register(*out, no->node_name, err)) != 0)
            viv_node_put(out);
        return ret;
    }
    ret = refuse_given(o, of_files, "is for files; an image has file.filename or file=NODE", err);
    if (!ret)
        ret = blockdev_file(o, no, &file, err);
    if (!ret)
        ret = viv_node_open_format(drv, file, no, out, err);
    if (!ret && (ret = link_backing(o, *out, err)) != 0)
        viv_node_put(out);
    return ret;
}

int viv_blockdev_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_node_opts no = {.read_only = get_bool(o, "read-only")};
    const char *driver = viv_opts_str(o, "driver");
    struct viv_node *n = NULL;
    int ret;

    if (!driver)
        return viv_fail(err, EINVAL, "%s: driver is missing (raw, qcow2, file ...)",
                        viv_opts_what(o));
    ret = read_common(o, VIV_PERM_READ, &no, err);
    if (!ret && !no.node_name)
        ret = viv_fail(err, EINVAL, "%s: node-name is missing", viv_opts_what(o));
    if (!ret)
        ret = read_backing(o, &no, err);
    if (!ret)
        ret = read_data_file(o, &no, err);
    if (!ret)
        ret = blockdev_node(o, driver, &no, &n, err);
    if (is_permission(ret) && !no.read_only && get_bool(o, "auto-read-only")) {
        viv_err_clear(err);
        no.read_only = true;
        ret = blockdev_node(o, driver, &no, &n, err);
    }
    if (ret)
        return ret;
    if (!blockdevs)
        blockdevs = g_ptr_array_new();
    g_ptr_array_add(blockdevs, n);
    return 0;
}

/* --- images named by options: json:{...}, --image-opts --- */

static void add_wishes(const struct viv_node_opts *wish, struct viv_node_opts *no)
{
    no->direct |= wish->direct;
    no->no_flush |= wish->no_flush;
    no->force_share |= wish->force_share;
    no->no_backing |= wish->no_backing;
    no->for_check |= wish->for_check;
    no->no_data |= wish->no_data;
    no->unmap |= wish->unmap;
    no->depth = wish->depth;
    no->snapshot = wish->snapshot;
    if (no->locking == VIV_LOCKING_AUTO)
        no->locking = wish->locking;
    if (!no->key_secret)
        no->key_secret = wish->key_secret;
    if (!no->backing_path) {
        no->backing_path = wish->backing_path;
        no->backing_format = wish->backing_format;
    }
}

static int pick_driver(struct viv_opts *o, const char *format, const char **driver, struct viv_err *err)
{
    static const char *const below[] = {"file", "file.driver", "file.filename", NULL};
    const char *given_driver = viv_opts_str(o, "driver");
    bool file = false;

    for (const char *const *k = below; *k; k++)
        file |= viv_opts_given(o, *k);
    if (!given_driver && !file)
        return viv_fail(err, EINVAL, "Must specify either driver or file");
    if (given_driver && format && strcmp(given_driver, format) != 0)
        return viv_fail(err, EINVAL, "the options say driver=%s, and the format asked for is %s", given_driver, format);
    *driver = given_driver ? given_driver : format;
    return 0;
}

static int open_described(struct viv_opts *o, const char *format, const struct viv_node_opts *wish,
                          struct viv_node **out, struct viv_err *err)
{
    struct viv_node_opts no = {.read_only = wish->read_only || get_bool(o, "read-only")};
    struct viv_node_opts top = *wish;
    struct viv_node *n = NULL;
    const char *driver = NULL;
    int ret = pick_driver(o, format, &driver, err);

    if (!ret && no.read_only && !wish->read_only && !get_bool(o, "auto-read-only"))
        ret = viv_fail(err, EACCES, "%s: read-only=on, and this writes", viv_opts_what(o));
    if (!ret)
        ret = read_common(o, wish->share_write ? VIV_PERM_WRITE : 0, &no, err);
    if (!ret)
        ret = read_backing(o, &no, err);
    if (ret)
        return ret;
    add_wishes(wish, &no);
    ret = blockdev_node(o, driver, &no, &n, err);
    if (!ret && n->drv->protocol) { /* bare bytes: an image on top of it */
        top.node_name = NULL;
        return viv_node_open_format(viv_blk_driver_find("raw"), n, &top, out, err);
    }
    if (!ret)
        *out = n;
    return ret;
}

int viv_node_open_options(const char *what, const char *text, const char *format, const struct viv_node_opts *wish,
                          struct viv_node **out, struct viv_err *err)
{
    struct viv_opts *o = NULL;
    int ret = viv_opts_parse(what, viv_blockdev_opts, NULL, text, &o, err);

    if (!ret)
        ret = open_described(o, format, wish, out, err);
    viv_opts_free(o);
    return ret;
}

int viv_blockdev_del(const char *node_name, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(node_name);
    int ret;

    if (!n || !blockdevs || !g_ptr_array_find(blockdevs, n, NULL))
        return viv_fail(err, ENOENT, "there is no block node '%s'", node_name);
    if (n->users || n->refs > 1)
        return viv_fail(err, EBUSY, "block node '%s' is in use by %s", node_name,
                        n->users ? n->users->name : "another node");
    g_ptr_array_remove(blockdevs, n);
    ret = viv_node_put(&n);
    return ret ? viv_fail_os(err, -ret, "block node '%s' could not be written completely",
                             node_name)
               : 0;
}

int viv_blockdev_close_all(struct viv_err *err)
{
    int ret = 0;

    /* Newest first: what stands on a node was made after it. */
    while (blockdevs && blockdevs->len) {
        struct viv_node *n = g_ptr_array_remove_index(blockdevs, blockdevs->len - 1);
        char *name = g_strdup(n->name);
        int r = viv_node_put(&n);

        if (r && !ret)
            ret = viv_fail_os(err, -r, "block node '%s' could not be written completely", name);
        g_free(name);
    }
    return ret;
}

int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user,
                        struct viv_blk **out, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(node_name);

    if (!n)
        return viv_fail(err, ENOENT, "there is no block node '%s'", node_name);
    if (n->drv->protocol)
        return viv_fail(err, EINVAL, "block node '%s' is a bare file: put driver=raw on top of it",
                        node_name);
    if (n->read_only)
        perms &= ~(VIV_PERM_WRITE | VIV_PERM_RESIZE);
    viv_node_get(n);
    return viv_blk_new(n, perms, shared, user, false, out, err);
}
