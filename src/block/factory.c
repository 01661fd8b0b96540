/* The only opener and prober: from names and options to nodes with their backing chains. */
#include "block/node.h"

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
#include "block/proto/curl/curl.h"
#include "block/proto/file/file.h"
#include "block/proto/nbd/nbd.h"
#include "block/proto/null/null_co.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#define CHAIN_MAX 200

const struct viv_blk_driver *const viv_blk_drivers[] = {
    &viv_blk_raw, &viv_blk_qcow2, &viv_blk_qed, &viv_blk_vdi, &viv_blk_vpc, &viv_blk_parallels, &viv_blk_luks,
    &viv_blk_qcow, &viv_blk_bochs, &viv_blk_cloop, &viv_blk_dmg, &viv_blk_vhdx,
    &viv_blk_vmdk,
    &viv_blk_file, &viv_blk_nbd, &viv_blk_http, &viv_blk_https, &viv_blk_ftp, &viv_blk_ftps, &viv_blk_null_co, NULL,
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
    "iscsi", "nfs", "json",     "gluster", "fat",  "blkdebug", "host_device", NULL};

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

int viv_node_open_file(const char *path, const struct viv_node_opts *o, struct viv_node **out,
                       struct viv_err *err)
{
    const char *local;

    if (viv_nbd_is_name(path))
        return viv_nbd_open_name(path, o, out, err);
    if (viv_curl_is_name(path))
        return viv_curl_open_name(path, o, out, err);
    if (viv_blk_local_path(path, &local))
        return viv_fail(err, ENOTSUP,
                        "'%s': %.*s images are not implemented yet; local files, block devices, nbd, http and ftp work "
                        "(a file of this name: './%s')",
                        path, (int)strcspn(path, ":"), path, path);
    if (!*local)
        return viv_fail(err, EINVAL, "the image's file name is empty");
    return viv_file_open(local, o, out, err);
}

static int probe_node(struct viv_node *file, const struct viv_blk_driver **drv, struct viv_err *err)
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

    if (g_path_is_absolute(name) || (scheme && g_strv_contains(schemes, scheme)) || !strchr(image, '/'))
        return g_strdup(name);
    dir = g_path_get_dirname(image);
    path = g_build_filename(dir, name, NULL);
    g_free(dir);
    return path;
}

/* Opens what node->drv->open() left in *backing_file / *backing_fmt. */
static int open_backing(struct viv_node *n, const struct viv_node_opts *o, const char *name,
                        const char *format, struct viv_err *err)
{
    struct viv_node_opts bo = {.read_only = true,
                               .direct = o->direct,
                               .force_share = o->force_share,
                               .locking = o->locking,
                               .no_data = o->no_data,
                               .key_secret = o->backing_key_secret,
                               .depth = o->depth + 1};
    char *path;
    int ret;

    if (bo.depth > CHAIN_MAX)
        return viv_fail(err, ELOOP, "'%s': more than %d backing files (a loop?)", n->filename,
                        CHAIN_MAX);
    path = o->backing_path ? g_strdup(name) : viv_blk_backing_path(n->filename, name);
    ret = viv_node_open_image(path, format, &bo, &n->backing, err);
    if (ret && !o->depth) /* once, not for each layer */
        viv_err_prefix(err, "Could not open backing file of '%s'", n->filename);
    g_free(path);
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

int viv_node_open_format(const struct viv_blk_driver *drv, struct viv_node *file_take,
                         const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err)
{
    bool probed = !drv;
    struct viv_node *n;
    int ret = 0;

    if (!drv)
        ret = probe_node(file_take, &drv, err);
    if (ret) {
        viv_node_put(&file_take);
        return ret;
    }
    n = viv_node_new(drv, file_take->filename);
    n->file = file_take;
    file_take->parents++;
    n->read_only = o->read_only;
    n->unmap = o->unmap;
    n->copy_on_read = o->copy_on_read && !o->read_only;
    n->detect_zeroes = o->detect_zeroes;
    n->probed_raw = probed && drv == &viv_blk_raw;
    if (n->probed_raw && !n->read_only)
        viv_warn("'%s': no format was given and it looks raw; writes to its first bytes that would "
                 "make it "
                 "look like another format are refused. format=raw (-f raw) lifts that.",
                 n->filename);
    if (o->snapshot && !drv->snapshots)
        ret = viv_fail(err, EINVAL, "'%s': %s images have no internal snapshots", n->filename, drv->name);
    if (!ret)
        ret = drv->open(n, o, err);
    if (!ret)
        ret = check_encryption(n, o, err);
    if (!ret && !drv->backing && o->backing_path)
        ret = viv_fail(err, EINVAL, "'%s': %s images have no backing file", n->filename, drv->name);
    if (!ret && o->data_file && !has_child(n, o->data_file))
        ret = viv_fail(err, EINVAL, "'%s' has no external data file: data-file does not go with it", n->filename);
    if (!ret && drv->backing && !o->no_backing) {
        const char *name = o->backing_path, *format = o->backing_format;

        if (!name)
            drv->backing(n, &name, &format);
        if (name && *name)
            ret = open_backing(n, o, name, format, err);
        if (!ret && n->backing && drv->check_backing)
            ret = drv->check_backing(n, err);
    }
    if (!ret && o->backing_key_secret && !n->backing && !o->no_backing)
        ret = viv_fail(err, EINVAL, "'%s' has no backing file, but a key-secret for it was given", n->filename);
    if (!ret && o->node_name)
        ret = viv_node_register(n, o->node_name, err);
    if (ret) {
        viv_node_put(&n);
        return ret;
    }
    *out = n;
    return 0;
}

void viv_node_add_child(struct viv_node *n, struct viv_node *child_take)
{
    child_take->parents++;
    n->child = g_renew(struct viv_node *, n->child, n->children + 1);
    n->child[n->children++] = child_take;
}

/* Is the file at `path` one that this image has open? */
static bool is_own_file(const struct viv_node *n, const char *path)
{
    struct stat st, own;
    bool found = false;

    if (stat(path, &st))
        return false;
    for (unsigned i = 0; i <= n->children && !found; i++)
        found = stat(i ? n->child[i - 1]->filename : n->file->filename, &own) == 0 && own.st_dev == st.st_dev &&
                own.st_ino == st.st_ino;
    return found;
}

static bool is_child(const struct viv_node *n, const struct viv_node *c)
{
    bool found = c == n->file;

    for (unsigned i = 0; i < n->children && !found; i++)
        found = n->child[i] == c;
    return found;
}

int viv_node_open_child(struct viv_node *n, const char *path, const struct viv_node_opts *o, struct viv_node **out,
                        struct viv_err *err)
{
    struct viv_node_opts co = {.read_only = o->read_only,
                               .direct = o->direct,
                               .no_flush = o->no_flush,
                               .force_share = o->force_share,
                               .share_write = o->share_write,
                               .unmap = o->unmap,
                               .locking = o->locking};
    g_autofree char *full = viv_blk_backing_path(n->filename, path);
    struct viv_node *c = NULL;
    int ret;

    for (unsigned i = 0; i < o->made_count && !c; i++)
        if (strcmp(o->made[i]->filename, full) == 0)
            c = o->made[i];
    /* Before opening: our own lock would be found and blamed on another. */
    if (c ? is_child(n, c) : is_own_file(n, full))
        return viv_fail(err, EINVAL, "'%s' names '%s' as one more of its files, and that is in use by this image already",
                        n->filename, full);
    if (c)
        viv_node_get(c);
    else if ((ret = viv_node_open_file(full, &co, &c, err)) != 0)
        return ret;
    viv_node_add_child(n, c);
    *out = c;
    return 0;
}

int viv_node_open_image(const char *path, const char *format, const struct viv_node_opts *o,
                        struct viv_node **out, struct viv_err *err)
{
    const struct viv_blk_driver *drv = NULL;
    struct viv_node *file = NULL;
    int ret = format ? find_format(format, &drv, err) : 0;

    if (!ret && g_str_has_prefix(path, "json:"))
        return viv_node_open_options("json:", path + 5, format, o, out, err);
    if (!ret)
        ret = viv_node_open_file(path, o, &file, err);
    return ret ? ret : viv_node_open_format(drv, file, o, out, err);
}
