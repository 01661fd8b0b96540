/* The only opener and prober: from names and options to nodes with their backing chains. */
#include "block/build.h"

#include "block/filter/filter.h"
#include "block/fmt/bochs/bochs.h"
#include "block/fmt/cloop/cloop.h"
#include "block/fmt/dmg/dmg.h"
#include "block/fmt/luks/luks.h"
#include "block/fmt/parallels/parallels.h"
#include "block/fmt/qcow/qcow.h"
#include "block/fmt/qcow2/qcow2.h"
#include "block/fmt/qed/qed.h"
#include "block/fmt/raw/raw.h"
#include "block/fmt/vdi/vdi.h"
#include "block/fmt/vhdx/vhdx.h"
#include "block/fmt/vmdk/vmdk.h"
#include "block/fmt/vpc/vpc.h"
#include "block/options.h"
#include "block/proto/curl/curl.h"
#include "block/proto/file/file.h"
#include "block/proto/memory/memory.h"
#include "block/proto/nbd/nbd.h"
#include "block/proto/null/null_co.h"
#include "block/proto/rbd/rbd.h"
#include "block/proto/ssh/ssh.h"

#include "base/log.h"
#include "base/units.h"
#include "host/broker.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 200

const struct viv_blk_driver *const viv_blk_drivers[] = {
    &viv_blk_raw, &viv_blk_qcow2, &viv_blk_qed, &viv_blk_vdi, &viv_blk_vpc, &viv_blk_parallels, &viv_blk_luks,
    &viv_blk_qcow, &viv_blk_bochs, &viv_blk_cloop, &viv_blk_dmg, &viv_blk_vhdx,
    &viv_blk_vmdk,
    &viv_blk_file, &viv_blk_nbd, &viv_blk_http, &viv_blk_https, &viv_blk_ftp, &viv_blk_ftps, &viv_blk_ssh, &viv_blk_memory,
#ifdef VIV_HAVE_RBD
    &viv_blk_rbd,
#endif
    &viv_blk_null_co, &viv_blk_null_aio, &viv_blk_host_device, &viv_blk_host_cdrom,
    &viv_blk_debug, &viv_blk_verify, &viv_blk_copy_on_read, &viv_blk_throttle, NULL,
};

const struct viv_blk_driver *viv_blk_driver_find(const char *name)
{
    for (int i = 0; viv_blk_drivers[i]; i++)
        if (strcmp(viv_blk_drivers[i]->name, name) == 0)
            return viv_blk_drivers[i];
    return NULL;
}

char *viv_blk_driver_names(bool protocol)
{
    GString *s = g_string_new(NULL);

    for (int i = 0; viv_blk_drivers[i]; i++)
        if (viv_blk_drivers[i]->protocol == protocol)
            g_string_append_printf(s, "%s%s", s->len ? " " : "", viv_blk_drivers[i]->name);
    return g_string_free(s, FALSE);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct viv_blk_driver *const *)a)->name, (*(const struct viv_blk_driver *const *)b)->name);
}

void viv_blk_print_drivers(void)
{
    const struct viv_blk_driver *sorted[VIV_ARRAY_SIZE(viv_blk_drivers) - 1];

    memcpy(sorted, viv_blk_drivers, sizeof(sorted));
    qsort(sorted, VIV_ARRAY_SIZE(sorted), sizeof(sorted[0]), by_name);
    fputs("Supported formats:", stdout);
    for (size_t i = 0; i < VIV_ARRAY_SIZE(sorted); i++)
        printf(" %s", sorted[i]->name);
    putchar('\n');
}

const struct viv_blk_driver *viv_blk_probe(const uint8_t *head, size_t len)
{
    const struct viv_blk_driver *found = &viv_blk_raw;
    int best = 0;

    for (int i = 0; viv_blk_drivers[i]; i++) {
        const struct viv_blk_driver *d = viv_blk_drivers[i];
        int score = d->probe ? d->probe(head, len) : 0;

        if (score > best) {
            best = score;
            found = d;
        }
    }
    return found;
}

static int find_format(const char *name, const struct viv_blk_driver **out, struct viv_err *err)
{
    const struct viv_blk_driver *d = viv_blk_driver_find(name);
    char *names;

    if (d && !d->protocol) {
        *out = d;
        return 0;
    }
    names = viv_blk_driver_names(false);
    viv_fail(err, EINVAL, "Unknown file format '%s'; formats that work: %s", name, names);
    g_free(names);
    return -EINVAL;
}

/* What in front of a colon makes more than a file's name. */
static const char *const schemes[] = {
    "file",  "nbd", "nbd+tcp", "nbd+unix", "nbds", "nbds+tcp", "nbds+unix", "http",    "https", "ftp",      "ftps",        "ssh", "rbd",
    "iscsi", "nfs", "json",     "gluster", "fat",  "blkdebug", "blkverify", "host_device", "host_cdrom", NULL};

/* "nbd://host/x" -> "nbd"; NULL for plain paths ("./a:b" and "/a:b" are paths too). */
static char *scheme_of(const char *path)
{
    const char *colon = strchr(path, ':'), *slash = strchr(path, '/');

    if (!colon || colon == path || (slash && slash < colon))
        return NULL;
    return g_strndup(path, colon - path);
}

int viv_blk_local_path(const char *path, const char **local)
{
    g_autofree char *scheme = scheme_of(path);

    *local = path;
    if (!scheme || !g_strv_contains(schemes, scheme))
        return 0;
    if (strcmp(scheme, "file") != 0)
        return -ENOTSUP;
    *local += g_str_has_prefix(path, "file:///") ? 7 : 5;
    return 0;
}

const struct viv_blk_driver *viv_blk_driver_of_name(const char *path)
{
    const char *local;

    for (int i = 0; viv_blk_drivers[i]; i++)
        if (viv_blk_drivers[i]->is_name && viv_blk_drivers[i]->is_name(path))
            return viv_blk_drivers[i];
    return viv_blk_local_path(path, &local) ? NULL : &viv_blk_file;
}

const char *viv_blk_instead(const char *driver)
{
    return !strcmp(driver, "fat") || !strcmp(driver, "vvfat")
               ? "no disk is made of a folder: share it with -virtfs, or fill an image with mformat and mcopy (mtools)" : NULL;
}

int viv_node_refuse_name(const char *path, struct viv_err *err)
{
    if (g_str_has_prefix(path, "fat:"))
        return viv_fail(err, ENOTSUP, "'%s': %s (a file of this name: './%s')", path, viv_blk_instead("fat"), path);
    return viv_fail(err, ENOTSUP,
                    "'%s': %.*s images are not implemented yet; local files, block devices, nbd, http, ftp, ssh%s work "
                    "(a file of this name: './%s')",
                    path, (int)strcspn(path, ":"), path, viv_blk_driver_find("rbd") ? " and rbd" : "", path);
}

struct viv_node_opts viv_node_file_wish(const struct viv_node_opts *o)
{
    return (struct viv_node_opts){.read_only = o->read_only,
                                  .direct = o->direct,
                                  .no_flush = o->no_flush,
                                  .force_share = o->force_share,
                                  .share_write = o->share_write,
                                  .loose = o->loose,
                                  .aio = o->aio,
                                  .locking = o->locking,
                                  .no_data = o->no_data,
                                  .unmap = true, /* the image decides */
                                  .depth = o->depth,
                                  .nesting = o->nesting,
                                  .opened = o->opened};
}

int viv_node_open_file(const char *path, const struct viv_node_opts *o, struct viv_node **out,
                       struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_of_name(path);
    struct viv_node_opts wish = viv_node_file_wish(o);
    struct viv_raw_opts *r;
    const char *local;
    int ret;

    if (!drv)
        return viv_node_refuse_name(path, err);
    if (drv == &viv_blk_file) {
        viv_blk_local_path(path, &local);
        return *local ? viv_file_open(local, &wish, out, err) : viv_fail(err, EINVAL, "the image's file name is empty");
    }
    r = viv_raw_new(path);
    viv_raw_set(r, "filename", path);
    ret = viv_node_build(r, false, &wish, out, err);
    viv_raw_free(r);
    return ret;
}

int viv_node_probe(struct viv_node *file, const struct viv_blk_driver **drv, struct viv_err *err)
{
    uint8_t head[VIV_BLK_PROBE_LEN];
    int ret = viv_node_pread(file, 0, head, sizeof(head));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", file->filename);
    *drv = viv_blk_probe(head, sizeof(head));
    /* Known by its end alone, which belongs to the guest if it is raw: so the name must say it. */
    if (*drv == &viv_blk_raw && g_str_has_suffix(file->filename, ".dmg"))
        *drv = &viv_blk_dmg;
    return 0;
}

char *viv_blk_backing_path(const char *image, const char *name)
{
    char *dir, *path;

    g_autofree char *scheme = scheme_of(name);

    if (g_path_is_absolute(name) || (scheme && g_strv_contains(schemes, scheme)) || !strchr(image, '/')) {
        path = g_strdup(name);
    } else {
        dir = g_path_get_dirname(image);
        path = g_build_filename(dir, name, NULL);
        g_free(dir);
    }
    viv_broker_words(path); /* who names an image means its chain, too */
    return path;
}

char *viv_node_backing_name(const char *image, const struct viv_node *n)
{
    const char *local;

    /* A relative name counts from the image's folder there, from ours here. */
    if (!viv_blk_local_path(n->filename, &local) && !g_path_is_absolute(local) && (strchr(image, '/') || strchr(local, '/')))
        return g_canonicalize_filename(local, NULL);
    return g_strdup(n->filename);
}

/* The pairs of the backing image: those that were given, and the header's name and format where they do not say a file. */
static struct viv_raw_opts *describe_backing(struct viv_node *n, const struct viv_node_opts *o, const char *name,
                                             const char *format, struct viv_err *err)
{
    struct viv_raw_opts *r = o->backing ? viv_raw_copy(o->backing) : viv_raw_new(n->filename);
    const struct viv_blk_driver *drv = viv_raw_get(r, "driver") ? viv_blk_driver_find(viv_raw_get(r, "driver")) : NULL;
    struct viv_raw_opts *file = viv_raw_take_below(r, "file", "file");
    g_autofree char *path = NULL;
    bool named = viv_raw_get(r, "file") || (drv && drv->protocol) || (file && (viv_raw_get(file, "filename") || viv_raw_get(file, "driver")));

    viv_raw_free(file);
    if (named) {
        viv_raw_free(r);
        return viv_raw_copy(o->backing);
    }
    viv_raw_free(r);
    if (!name || !*name) {
        viv_fail(err, EINVAL, "'%s' has no backing file, but options for one were given without its name", n->filename);
        return NULL;
    }
    r = o->backing ? viv_raw_copy(o->backing) : viv_raw_new(n->filename);
    path = viv_blk_backing_path(n->filename, name);
    viv_raw_set(r, "file.filename", path);
    if (format && !viv_raw_get(r, "driver"))
        viv_raw_set(r, "driver", format);
    return r;
}

static int open_described(struct viv_node *n, const struct viv_node_opts *o, const struct viv_node_opts *wish,
                          const char *name, const char *format, struct viv_node **out, struct viv_err *err)
{
    struct viv_raw_opts *r = describe_backing(n, o, name, format, err);
    int ret = r ? viv_node_build(r, true, wish, out, err) : -EINVAL;

    viv_raw_free(r);
    return ret;
}

/* The backing image that the header names, or the options, or both. */
static int open_backing(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct viv_node_opts bo = viv_node_file_wish(o);
    const char *name = NULL, *format = NULL;
    struct viv_node *below = NULL;
    int ret = 0;

    if (o->backing_node) {
        viv_node_get(o->backing_node);
        viv_node_set_backing(n, o->backing_node);
        return 0;
    }
    bo.read_only = true;
    bo.no_flush = bo.share_write = bo.loose = bo.unmap = false;
    bo.depth++;
    bo.nesting = 0;
    if (bo.depth > CHAIN_MAX)
        return viv_fail(err, ELOOP, "'%s': more than %d backing files (a loop?)", n->filename, CHAIN_MAX);
    n->drv->backing(n, &name, &format);
    if (o->backing) {
        ret = open_described(n, o, &bo, name, format, &below, err);
    } else if (name && *name) {
        g_autofree char *path = viv_blk_backing_path(n->filename, name);

        ret = viv_node_open_image(path, format, &bo, &below, err);
    }
    if (below)
        viv_node_set_backing(n, below);
    if (ret && !o->depth) /* once, not for each layer */
        viv_err_prefix(err, "Could not open backing file of '%s'", n->filename);
    return ret;
}

static bool has_child(const struct viv_node *n, const struct viv_node *child)
{
    for (unsigned i = 0; i < n->children; i++)
        if (n->child[i] == child)
            return true;
    return false;
}

/* Do the options about encryption fit? */
static int check_encryption(const struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    if ((o->key_secret || o->encrypt_format) && !n->crypt)
        return viv_fail(err, EINVAL, "No encryption in image '%s' (%s), but %s was given", n->filename, n->drv->name,
                        o->key_secret ? "a key-secret" : "an encrypt.format");
    if (o->encrypt_format && strcmp(o->encrypt_format, n->crypt->format) != 0)
        return viv_fail(err, EINVAL, "Header of '%s' reported '%s' encryption format but options specify '%s'", n->filename,
                        n->crypt->format, o->encrypt_format);
    return 0;
}

/* Children that were given and that the driver did not want. */
static int check_children(const struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    const struct viv_child_def *def = o->children ? n->drv->open_children : NULL;

    if (o->data_file && !has_child(n, o->data_file))
        return viv_fail(err, EINVAL, "'%s' has no external data file: data-file does not go with it", n->filename);
    for (unsigned i = 0; def && def[i + 1].name; i++)
        if (o->children[i] && !has_child(n, o->children[i]))
            return viv_fail(err, EINVAL, "'%s' has no external data file: %s does not go with it", n->filename, def[i + 1].name);
    return 0;
}

static void warn_probed(const struct viv_node *n)
{
    viv_warn("'%s': no format was given and it looks raw; writes to its first bytes that would make it "
             "look like another format are refused. format=raw (-f raw) lifts that.", n->filename);
}

static int open_node(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    const struct viv_blk_driver *drv = n->drv;
    int ret;

    if (++*o->opened > VIV_NODES_MAX)
        return viv_fail(err, ELOOP, "'%s': more than %d nodes belong to one image (a loop?)", n->filename, VIV_NODES_MAX / 2);
    if (o->snapshot && !drv->snapshots)
        return viv_fail(err, EINVAL, "'%s': %s images have no internal snapshots", n->filename, drv->name);
    ret = viv_node_settle_file(n, err);
    if (ret)
        return ret;
    ret = drv->open(n, o, err);
    for (unsigned i = 0; i < n->children && !ret; i++)
        ret = viv_node_settle(n->child[i], VIV_SHARING_ALONE, err);
    if (!ret)
        ret = check_encryption(n, o, err);
    if (!ret)
        ret = check_children(n, o, err);
    if (!ret && drv->backing && !o->no_backing)
        ret = open_backing(n, o, err);
    if (!ret && n->backing && drv->check_backing)
        ret = drv->check_backing(n, err);
    if (!ret && o->node_name)
        ret = viv_node_register(n, o->node_name, err);
    return ret;
}

int viv_node_open_format(const struct viv_blk_driver *drv, struct viv_node *file_take,
                         const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    bool probed = !drv || o->probed;
    struct viv_node_opts wish = *o;
    unsigned opened = 0;
    struct viv_node *n;
    int ret = 0;

    if (!drv)
        ret = viv_node_probe(file_take, &drv, err);
    if (ret) {
        viv_node_put(&file_take);
        return ret;
    }
    if (!wish.opened)
        wish.opened = &opened;
    n = viv_node_new(drv, file_take->filename);
    n->file = file_take;
    file_take->parents++;
    n->read_only = o->read_only;
    n->unmap = o->unmap;
    n->direct = o->direct;
    n->copy_on_read = o->copy_on_read && !o->read_only;
    n->detect_zeroes = o->detect_zeroes;
    n->probed_raw = probed && drv == &viv_blk_raw;
    if (n->probed_raw && !n->read_only)
        warn_probed(n);
    ret = open_node(n, &wish, err);
    if (ret)
        viv_node_put(&n);
    else
        *out = n;
    return ret;
}

int viv_node_open_image(const char *path, const char *format, const struct viv_node_opts *o,
                        struct viv_node **out, struct viv_err *err)
{
    const struct viv_blk_driver *drv = NULL;
    struct viv_node_opts wish = *o;
    struct viv_node *file = NULL;
    unsigned opened = 0;
    int ret = format ? find_format(format, &drv, err) : 0;

    if (!ret && g_str_has_prefix(path, "json:"))
        return viv_node_open_options("json:", path + 5, format, o, out, err);
    if (!wish.opened)
        wish.opened = &opened;
    if (!ret)
        ret = viv_node_open_file(path, &wish, &file, err);
    return ret ? ret : viv_node_open_format(drv, file, &wish, out, err);
}
