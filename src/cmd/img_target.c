/* New images for create and convert: options, plan, and a file that has its name only when it is whole. */
#include "cmd/img.h"

#include "base/checked.h"
#include "base/log.h"
#include "block/proto/nbd/target.h"
#include "block/proto/rbd/rbd.h"
#include "block/proto/ssh/ssh.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct viv_blk_driver *creating_driver(const char *format, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    char *names;

    if (drv && drv->create)
        return drv;
    if (drv && !drv->protocol) {
        viv_fail(err, ENOTSUP, "Format driver '%s' does not support image creation", format);
        return NULL;
    }
    names = viv_blk_driver_names(false);
    viv_fail(err, EINVAL, "Unknown file format '%s'; formats that work: %s", format, names);
    g_free(names);
    return NULL;
}

bool img_wants_help(const GString *text)
{
    char **word = g_strsplit(text->str, ",", -1);
    bool help = g_strv_contains((const char *const *)word, "help") ||
                g_strv_contains((const char *const *)word, "?");

    g_strfreev(word);
    return help;
}

static void print_options(const struct viv_opt_def *defs)
{
    static const char *const types[] = {
        [VIV_OPT_STR] = "str",   [VIV_OPT_BOOL] = "bool (on/off)", [VIV_OPT_INT] = "num",
        [VIV_OPT_SIZE] = "size", [VIV_OPT_ENUM] = "str",
    };

    for (const struct viv_opt_def *d = defs; d->name; d++) {
        char left[64];

        if (d->type == VIV_OPT_REFUSED)
            continue;
        g_snprintf(left, sizeof(left), "%s=<%s>", d->name, types[d->type]);
        printf("  %-22s - %s", left, d->help);
        for (int i = 0; d->values && d->values[i]; i++)
            printf("%s%s", i ? ", " : " (", d->values[i]);
        printf("%s\n", d->values ? ")" : "");
    }
}

int img_option_help(const char *format)
{
    struct viv_err err = VIV_ERR_INIT;
    const struct viv_blk_driver *drv = creating_driver(format, &err);

    if (!drv)
        return img_error("%s", err.text);
    printf("Supported %s options:\n", format);
    print_options(drv->create_opts);
    return 0;
}

int img_amend_help(const char *format)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);

    if (!drv || drv->protocol)
        return img_error("Unknown file format '%s'", format);
    if (!drv->amend)
        return img_error("Format driver '%s' does not support option amendment", format);
    printf("Amend options for '%s':\n", format);
    print_options(drv->amend_opts);
    return 0;
}

/* --- plan --- */

/* A backing file may come by -b and -F or by -o. */
static int read_backing(struct img_target *t, const struct viv_blk_driver *drv, const struct img_create_opts *co,
                        struct viv_err *err)
{
    struct viv_create *c = &t->spec;

    if (!viv_create_knows(drv, "backing_file"))
        return co->backing_file || co->backing_fmt
                   ? viv_fail(err, EINVAL, "Backing file not supported for file format '%s'", drv->name)
                   : 0;
    c->backing_file = viv_opts_str(t->opts, "backing_file");
    c->backing_fmt = viv_opts_str(t->opts, "backing_fmt");
    if ((co->backing_file && c->backing_file) || (co->backing_fmt && c->backing_fmt))
        return viv_fail(err, EINVAL, "the backing file is given twice: by -b/-F and by -o");
    if (co->backing_file)
        c->backing_file = co->backing_file;
    if (co->backing_fmt)
        c->backing_fmt = co->backing_fmt;
    if (c->backing_fmt && !c->backing_file)
        return viv_fail(err, EINVAL, "a backing format without a backing file (-b)");
    return 0;
}

/* Is `name`, as the header of `image` would hold it, the file `other`? */
static bool names_file(const char *image, const char *name, const char *other)
{
    g_autofree char *full = viv_blk_backing_path(image, name);
    const char *a, *b;

    viv_blk_local_path(full, &a);
    viv_blk_local_path(other, &b);
    return img_same_file(a, b);
}

/* What the new image is to show must not be what it is made over. */
static int check_names(const struct img_target *t, const struct viv_blk_driver *drv, const char *path, struct viv_err *err)
{
    const char *data = viv_create_knows(drv, "data_file") ? viv_opts_str(t->opts, "data_file") : NULL;
    const char *backing = t->spec.backing_file;

    if (backing && names_file(path, backing, path))
        return viv_fail(err, EINVAL, "Error: Trying to create an image with the same filename as the backing file");
    if (data && names_file(path, data, path))
        return viv_fail(err, EINVAL, "'%s' cannot be image and data file at once", data);
    if (data && backing) {
        g_autofree char *full = viv_blk_backing_path(path, data);

        if (names_file(path, backing, full))
            return viv_fail(err, EINVAL, "'%s' cannot be data file and backing file at once", data);
    }
    return 0;
}

/* Is a file of the chain from `n` down the one that the image is made over? */
static bool lies_on(const struct viv_node *n, const char *path)
{
    for (; n; n = n->backing) {
        if (n->file && names_file("", n->file->filename, path))
            return true;
        for (unsigned i = 0; i < n->children; i++)
            if (names_file("", n->child[i]->filename, path))
                return true;
    }
    return false;
}

/* Opens the backing file for its size, and for its format when that can be told safely. */
static int look_at_backing(struct img_target *t, const char *path, uint64_t *size,
                           struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = true, .force_share = true, .no_data = true};
    struct viv_create *c = &t->spec;
    struct viv_node *n = NULL;
    char *full = viv_blk_backing_path(path, c->backing_file);
    int ret = viv_node_open_image(full, c->backing_fmt, &o, &n, err);

    if (ret) {
        viv_err_prefix(err, "Could not open backing image");
    } else if (lies_on(n, path)) {
        ret = viv_fail(err, EINVAL, "'%s' is a file of the backing image '%s': it would be overwritten", path, full);
    } else if (!c->backing_fmt && n->probed_raw) {
        ret = viv_fail(
            err, EINVAL,
            "Backing file specified without backing format, and '%s' has no recognisable one: "
            "say -F raw if it is raw",
            full);
    } else if (!c->backing_fmt) {
        c->backing_fmt = t->backing_fmt = g_strdup(n->drv->name);
        viv_info("backing format not given; '%s' is %s (as with -F %s)", full, n->drv->name,
                 n->drv->name);
    }
    if (!ret && *size == UINT64_MAX)
        *size = viv_node_size(n);
    viv_node_put(&n);
    g_free(full);
    return ret;
}

static int plan_size(struct img_target *t, const char *path, const struct img_create_opts *co,
                     uint64_t size, struct viv_err *err)
{
    int ret;

    if (viv_opts_given(t->opts, "size")) {
        if (size != UINT64_MAX)
            return viv_fail(err, EINVAL, "the size is given twice: as an argument and by -o size");
        size = viv_opts_size(t->opts, "size");
    }
    if (t->spec.backing_file && !co->unsafe) {
        ret = look_at_backing(t, path, &size, err);
        if (ret)
            return ret;
    }
    if (t->spec.backing_file && !t->spec.backing_fmt)
        return viv_fail(err, EINVAL, "Backing file specified without backing format (-F)");
    if (size == UINT64_MAX)
        return viv_fail(err, EINVAL, "Image creation needs a size parameter");
    if (size > INT64_MAX - 511)
        return viv_fail(err, EFBIG, "%" PRIu64 " bytes are too large", size);
    t->spec.size = size;
    return 0;
}

/* cluster_size is an option of formats, and with raw one of the cluster that the image lies in. */
static int take_object_size(struct img_target *t, const char *path, const struct viv_blk_driver *drv, struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *text = NULL;
#ifdef VIV_HAVE_RBD
    if (viv_rbd_is_name(path) && drv == viv_blk_driver_find("raw"))
        text = viv_raw_take(raw, "cluster_size");
#endif
    return text ? viv_parse_size(text, 1, &t->object_size, err) : 0;
}

static int read_opts(struct img_target *t, const char *path, const struct viv_blk_driver *drv, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *raw = NULL;
    int ret = viv_raw_parse(drv->name, NULL, text, &raw, err);

    if (!ret)
        ret = take_object_size(t, path, drv, raw, err);
    if (!ret)
        ret = viv_opts_from_raw(drv->name, drv->create_opts, raw, &t->opts, err);
    viv_raw_free(raw);
    return ret;
}

int img_target_plan(struct img_target *t, const char *path, const char *format,
                    const struct img_create_opts *co, uint64_t size, struct viv_err *err)
{
    const struct viv_blk_driver *drv = creating_driver(format, err);
    int ret;

    if (!drv)
        return -EINVAL;
    ret = read_opts(t, path, drv, co->text->str, err);
    if (!ret)
        ret = read_backing(t, drv, co, err);
    if (!ret)
        ret = check_names(t, drv, path, err);
    if (!ret)
        ret = plan_size(t, path, co, size, err);
    if (ret)
        return ret;
    if (viv_create_knows(drv, "preallocation") && viv_opts_str(t->opts, "preallocation"))
        viv_prealloc_parse(viv_opts_str(t->opts, "preallocation"), &t->spec.prealloc); /* the schema has checked it */
    t->spec.opts = t->opts;
    return 0;
}

/* What the option is, or will be; NULL: nothing to tell. g_free. */
static char *shown(const struct img_target *t, const struct viv_opt_def *d)
{
    const struct viv_create *c = &t->spec;

    if (strcmp(d->name, "size") == 0)
        return g_strdup_printf("%" PRIu64, c->size);
    if (strcmp(d->name, "backing_file") == 0)
        return g_strdup(c->backing_file);
    if (strcmp(d->name, "backing_fmt") == 0)
        return g_strdup(c->backing_fmt);
    if (!d->def && !viv_opts_given(t->opts, d->name))
        return NULL;
    switch (d->type) {
    case VIV_OPT_BOOL: return g_strdup(viv_opts_bool(t->opts, d->name) ? "on" : "off");
    case VIV_OPT_INT: return g_strdup_printf("%" PRId64, viv_opts_int(t->opts, d->name));
    case VIV_OPT_SIZE: return g_strdup_printf("%" PRIu64, viv_opts_size(t->opts, d->name));
    default: return g_strdup(viv_opts_str(t->opts, d->name));
    }
}

/* Commas doubled, as -o reads them. */
static void show(const char *name, const char *value)
{
    g_auto(GStrv) part = g_strsplit(value, ",", -1);
    g_autofree char *text = g_strjoinv(",,", part);

    printf(" %s=%s", name, text);
}

void img_target_describe(const struct img_target *t, const char *path, const char *format)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);

    printf("Formatting '%s', fmt=%s", path, format);
    for (const char *const *name = drv->create_shown; *name; name++) {
        for (const struct viv_opt_def *d = drv->create_opts; d->name; d++) {
            g_autofree char *value = strcmp(d->name, *name) == 0 ? shown(t, d) : NULL;

            if (value)
                show(d->name, value);
        }
    }
    if (t->object_size)
        printf(" cluster_size=%" PRIu64, t->object_size);
    printf("\n");
}

/* --- making --- */

/* The secret that the new image was made with opens it. */
static const char *key_secret_of(const struct img_target *t, const struct viv_blk_driver *drv)
{
    for (const struct viv_opt_def *d = drv->create_opts; d->name; d++)
        if (g_str_has_suffix(d->name, "key-secret") && viv_opts_given(t->opts, d->name))
            return viv_opts_str(t->opts, d->name);
    return NULL;
}

/* A file of its own until it is published, or the one that is there; an export is always there. */
static int new_or_old_file(const char *path, uint64_t object_size, const struct viv_node_opts *o, struct viv_file_new **new,
                           struct viv_node **node, struct viv_err *err)
{
    struct viv_err own = VIV_ERR_INIT;
    const char *local;
    int ret;

    if (viv_nbd_is_name(path))
        return viv_node_open_file(path, o, node, err);
    if (viv_ssh_is_name(path))
        return viv_ssh_create(path, o, node, err);
#ifdef VIV_HAVE_RBD
    if (viv_rbd_is_name(path))
        return viv_rbd_create(path, object_size, o, node, err);
#endif
    if (viv_blk_local_path(path, &local))
        return viv_fail(err, ENOTSUP, "'%s': new images can be made in local files, on devices, over nbd, ssh and rbd alone; an image "
                        "that exists is written by convert -n (a file of this name: './%s')", path, path);
    ret = viv_file_new(local, o, new, node, &own);
    if (ret == -EEXIST)
        return viv_file_open(local, o, node, err);
    return ret ? viv_fail(err, own.code, "%s", own.text) : 0;
}

struct maker {
    struct img_target *t;
    const char *path; /* of the image */
    const struct viv_node_opts *o;
};

/* viv_create.new_file */
static int one_more_file(void *opaque, const char *path, struct viv_node **out, struct viv_err *err)
{
    const struct maker *m = opaque;
    struct img_target *t = m->t;
    g_autofree char *full = viv_blk_backing_path(m->path, path);
    struct viv_file_new *new = NULL;
    struct viv_node *node = NULL;
    int ret = new_or_old_file(full, 0, m->o, &new, &node, err);

    if (!ret && !new)
        ret = viv_node_truncate(node, 0, VIV_PREALLOC_OFF, err);
    if (ret) {
        viv_node_put(&node);
        return ret;
    }
    t->more_file = g_renew(struct viv_file_new *, t->more_file, t->more_count + 1);
    t->more = g_renew(struct viv_node *, t->more, t->more_count + 1);
    t->more_file[t->more_count] = new;
    t->more[t->more_count++] = *out = node;
    return 0;
}

int img_target_make(struct img_target *t, const char *path, const char *format,
                    const struct viv_node_opts *o, bool open, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    struct maker maker = {t, path, o};
    struct viv_create spec = t->spec;
    struct viv_node_opts oo = *o;
    struct viv_node *file = NULL;
    int ret = new_or_old_file(path, t->object_size, o, &t->file, &file, err);

    if (ret)
        return ret;
    spec.new_file = one_more_file;
    spec.opaque = &maker;
    if (!drv->any_size)
        spec.size = viv_align_down(spec.size + 511, 512);
    ret = drv->create(&spec, file, err);
    oo.made = t->more;
    oo.made_count = t->more_count;
    oo.key_secret = key_secret_of(t, drv);
    if (!ret && open)
        return viv_node_open_format(drv, file, &oo, &t->node, err);
    viv_node_put(&file);
    return ret;
}

bool img_target_encrypted(const struct img_target *t, const struct viv_blk_driver *drv)
{
    return key_secret_of(t, drv) != NULL;
}

bool img_target_is_zero(const struct img_target *t)
{
    /* Preallocated clusters are zeroes of the file; a cipher makes something else of them. */
    return t->node->file->zero_init && (!t->node->crypt || t->node->zero_init);
}

int img_target_publish(struct img_target *t, struct viv_err *err)
{
    unsigned done = 0;
    int ret = 0;

    for (; !ret && done < t->more_count; done++)
        ret = t->more_file[done] ? viv_file_publish(t->more_file[done], err) : 0;
    if (!ret && t->file)
        ret = viv_file_publish(t->file, err);
    else if (ret)
        done--; /* that one has no name */
    for (unsigned i = 0; ret && i < done; i++)
        if (t->more_file[i])
            viv_file_unpublish(t->more_file[i]);
    return ret;
}

int img_target_finish(struct img_target *t, struct viv_node *n, bool no_flush, struct viv_err *err)
{
    int ret;

    n->file->no_flush = no_flush;
    for (unsigned i = 0; i < n->children; i++)
        n->child[i]->no_flush = no_flush;
    ret = viv_node_flush(n);
    if (ret)
        return viv_fail_os(err, -ret, "'%s' could not be written completely", n->filename);
    return img_target_publish(t, err);
}

void img_target_fini(struct img_target *t)
{
    viv_node_put(&t->node);
    for (unsigned i = 0; i < t->more_count; i++) {
        viv_node_put(&t->more[i]);
        viv_file_new_free(t->more_file[i]);
    }
    g_free(t->more);
    g_free(t->more_file);
    viv_file_new_free(t->file);
    viv_opts_free(t->opts);
    g_free(t->backing_fmt);
    *t = (struct img_target){0};
}
