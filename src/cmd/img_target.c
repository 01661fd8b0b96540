/* New images for create and convert: options, plan, and a file that has its name only when it is whole. */
#include "cmd/img.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define LATER "not implemented yet"

static const char *const prealloc_values[] = {"off", "metadata", "falloc", "full", NULL};
static const char *const raw_prealloc_values[] = {"off", "falloc", "full", NULL};
static const char *const compat_values[] = {"0.10", "v2", "1.1", "v3", NULL};
static const char *const off_values[] = {"off", NULL};
static const char *const zlib_values[] = {"zlib", NULL};

static const struct viv_opt_def qcow2_opts[] = {
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_STR, "Image format of the base image"},
    {"cluster_size", VIV_OPT_SIZE, "qcow2 cluster size", "65536", .min = 0, .max = UINT32_MAX},
    {"compat", VIV_OPT_ENUM, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, compat_values},
    {"compression_type", VIV_OPT_ENUM, "Compression method (only zlib so far)", "zlib",
     zlib_values},
    {"data_file", VIV_OPT_REFUSED, LATER},
    {"data_file_raw", VIV_OPT_REFUSED, LATER},
    {"encrypt.format", VIV_OPT_REFUSED, LATER},
    {"encrypt.key-secret", VIV_OPT_REFUSED, LATER},
    {"encryption", VIV_OPT_ENUM, "Encrypted images are not implemented yet", "off", off_values},
    {"extended_l2", VIV_OPT_ENUM, "Extended L2 tables are not implemented yet", "off", off_values},
    {"lazy_refcounts", VIV_OPT_BOOL, "Allow others to postpone refcount updates"},
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode", "off", prealloc_values},
    {"refcount_bits", VIV_OPT_INT, "Width of a reference count entry in bits", "16", .min = 1,
     .max = 64},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", "off",
     off_values},
    VIV_OPT_END,
};

static const struct viv_opt_def raw_opts[] = {
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode", "off", raw_prealloc_values},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", "off",
     off_values},
    VIV_OPT_END,
};

static const struct viv_opt_def *schema_of(const char *format)
{
    return strcmp(format, "qcow2") == 0 ? qcow2_opts : raw_opts;
}

bool img_wants_help(const GString *text)
{
    char **word = g_strsplit(text->str, ",", -1);
    bool help = g_strv_contains((const char *const *)word, "help") ||
                g_strv_contains((const char *const *)word, "?");

    g_strfreev(word);
    return help;
}

int img_option_help(const char *format)
{
    static const char *const types[] = {
        [VIV_OPT_STR] = "str",   [VIV_OPT_BOOL] = "bool (on/off)", [VIV_OPT_INT] = "num",
        [VIV_OPT_SIZE] = "size", [VIV_OPT_ENUM] = "str",
    };
    const struct viv_opt_def *d;

    if (!viv_blk_driver_find(format) || viv_blk_driver_find(format)->protocol)
        return img_error("Unknown file format '%s'; formats that work: raw qcow2", format);
    printf("Supported %s options:\n", format);
    for (d = schema_of(format); d->name; d++) {
        char left[64];

        if (d->type == VIV_OPT_REFUSED)
            continue;
        g_snprintf(left, sizeof(left), "%s=<%s>", d->name, types[d->type]);
        printf("  %-22s - %s", left, d->help);
        for (int i = 0; d->values && d->values[i]; i++)
            printf("%s%s", i ? ", " : " (", d->values[i]);
        printf("%s\n", d->values ? ")" : "");
    }
    return 0;
}

/* --- plan --- */

static enum viv_prealloc prealloc_of(const char *text)
{
    return strcmp(text, "metadata") == 0 ? VIV_PREALLOC_METADATA
           : strcmp(text, "falloc") == 0 ? VIV_PREALLOC_FALLOC
           : strcmp(text, "full") == 0   ? VIV_PREALLOC_FULL
                                         : VIV_PREALLOC_OFF;
}

static int read_qcow2(struct img_target *t, const struct img_create_opts *co, struct viv_err *err)
{
    struct viv_create *c = &t->spec;
    const char *compat = viv_opts_str(t->opts, "compat");

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
    c->cluster_size = viv_opts_size(t->opts, "cluster_size");
    if (!c->cluster_size)
        return viv_fail(err, EINVAL, "Cluster size must be a power of two between 512 and 2048k");
    c->refcount_bits = viv_opts_int(t->opts, "refcount_bits");
    c->lazy_refcounts = viv_opts_bool(t->opts, "lazy_refcounts");
    c->version = compat && (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0) ? 2 : 3;
    return 0;
}

/* Opens the backing file for its size, and for its format when that can be told safely. */
static int look_at_backing(struct img_target *t, const char *path, uint64_t *size,
                           struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = true, .force_share = true};
    struct viv_create *c = &t->spec;
    struct viv_node *n = NULL;
    char *full = viv_blk_backing_path(path, c->backing_file);
    int ret = viv_node_open_image(full, c->backing_fmt, &o, &n, err);

    if (ret) {
        viv_err_prefix(err, "Could not open backing image");
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

int img_target_plan(struct img_target *t, const char *path, const char *format,
                    const struct img_create_opts *co, uint64_t size, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    bool qcow2 = strcmp(format, "qcow2") == 0;
    int ret;

    if (!drv || !drv->create)
        return viv_fail(err, EINVAL, "Unknown file format '%s'; formats that work: raw qcow2",
                        format);
    if ((co->backing_file || co->backing_fmt) && !qcow2)
        return viv_fail(err, EINVAL, "Backing file not supported for file format '%s'", format);
    ret = viv_opts_parse(format, schema_of(format), NULL, co->text->str, &t->opts, err);
    if (!ret && qcow2)
        ret = read_qcow2(t, co, err);
    if (!ret)
        ret = plan_size(t, path, co, size, err);
    if (!ret)
        t->spec.prealloc = prealloc_of(viv_opts_str(t->opts, "preallocation"));
    return ret;
}

void img_target_describe(const struct img_target *t, const char *path, const char *format)
{
    const struct viv_create *c = &t->spec;

    printf("Formatting '%s', fmt=%s", path, format);
    if (strcmp(format, "qcow2") != 0) {
        printf(" size=%" PRIu64, c->size);
        if (viv_opts_given(t->opts, "preallocation"))
            printf(" preallocation=%s", viv_opts_str(t->opts, "preallocation"));
        printf("\n");
        return;
    }
    printf(" cluster_size=%u extended_l2=off", c->cluster_size);
    if (viv_opts_given(t->opts, "preallocation"))
        printf(" preallocation=%s", viv_opts_str(t->opts, "preallocation"));
    printf(" compression_type=zlib size=%" PRIu64, c->size);
    if (viv_opts_given(t->opts, "compat"))
        printf(" compat=%s", viv_opts_str(t->opts, "compat"));
    if (c->backing_file)
        printf(" backing_file=%s", c->backing_file);
    if (c->backing_fmt)
        printf(" backing_fmt=%s", c->backing_fmt);
    printf(" lazy_refcounts=%s refcount_bits=%u\n", c->lazy_refcounts ? "on" : "off",
           c->refcount_bits);
}

/* --- making --- */

int img_target_make(struct img_target *t, const char *path, const char *format,
                    const struct viv_node_opts *o, bool open, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    struct viv_create spec = t->spec;
    struct viv_node *file = NULL;
    struct viv_err own = VIV_ERR_INIT;
    int ret = viv_file_new(path, o, &t->file, &file, &own);

    if (ret == -EEXIST)
        ret = viv_file_open(path, o, &file, err);
    else if (ret)
        viv_fail(err, own.code, "%s", own.text);
    if (ret)
        return ret;
    spec.size = viv_align_down(spec.size + 511, 512);
    if (strcmp(format, "raw") == 0)
        spec.size = t->spec.size;
    ret = drv->create(&spec, file, err);
    if (!ret && open)
        return viv_node_open_format(drv, file, o, &t->node, err);
    viv_node_put(&file);
    return ret;
}

int img_target_publish(struct img_target *t, struct viv_err *err)
{
    return t->file ? viv_file_publish(t->file, err) : 0;
}

void img_target_fini(struct img_target *t)
{
    viv_node_put(&t->node);
    viv_file_new_free(t->file);
    viv_opts_free(t->opts);
    g_free(t->backing_fmt);
    *t = (struct img_target){0};
}
