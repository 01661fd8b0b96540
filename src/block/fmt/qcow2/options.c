/* What -o takes for a new qcow2 image. */
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <string.h>

static const char *const prealloc_values[] = {"off", "metadata", "falloc", "full", NULL};
static const char *const compat_values[] = {"0.10", "v2", "1.1", "v3", NULL};
static const char *const off_values[] = {"off", NULL};
static const char *const compression_values[] = {"zlib", "zstd", NULL};

#define LATER "not implemented yet"

static const char *const encrypt_values[] = {"luks", "aes", NULL};

const struct viv_opt_def qcow2_open_opts[] = {
    {"encrypt.format", VIV_OPT_ENUM, "luks or aes, as the image is", NULL, encrypt_values},
    {"encrypt.key-secret", VIV_OPT_STR, "id of the -object secret with the password"},
    {"lazy-refcounts", VIV_OPT_REFUSED, "reference counts are always written in order, at no cost that this would save"},
    {"pass-discard-request", VIV_OPT_REFUSED, LATER " (discard=unmap passes them on)"},
    {"pass-discard-snapshot", VIV_OPT_REFUSED, LATER},
    {"pass-discard-other", VIV_OPT_REFUSED, LATER},
    {"overlap-check", VIV_OPT_REFUSED, "every write is checked against all metadata"},
    {"overlap-check.template", VIV_OPT_REFUSED, "every write is checked against all metadata"},
    {"cache-size", VIV_OPT_REFUSED, LATER},
    {"l2-cache-size", VIV_OPT_REFUSED, LATER},
    {"l2-cache-entry-size", VIV_OPT_REFUSED, LATER},
    {"refcount-cache-size", VIV_OPT_REFUSED, LATER},
    {"cache-clean-interval", VIV_OPT_REFUSED, LATER},
    VIV_OPT_END,
};

const struct viv_opt_def qcow2_create_opts[] = {
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_STR, "Image format of the base image"},
    {"cluster_size", VIV_OPT_SIZE, "qcow2 cluster size", "65536", .min = 0, .max = UINT32_MAX},
    {"compat", VIV_OPT_ENUM, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, compat_values},
    {"compression_type", VIV_OPT_ENUM, "Compression method used for image cluster compression", "zlib", compression_values},
    {"data_file", VIV_OPT_STR, "File name of an external data file (relative: to the image's folder)"},
    {"data_file_raw", VIV_OPT_BOOL, "The external data file must stay valid as a raw image"},
    QCOW2_ENCRYPT_OPTS,
    {"extended_l2", VIV_OPT_BOOL, "Extended L2 tables", "off"},
    {"lazy_refcounts", VIV_OPT_BOOL, "Allow others to postpone refcount updates", "off"},
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode", NULL, prealloc_values},
    {"refcount_bits", VIV_OPT_INT, "Width of a reference count entry in bits", "16", .min = 1, .max = 64},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", NULL, off_values},
    VIV_OPT_END,
};

const char *const qcow2_create_shown[] = {"encryption", "encrypt.format", "encrypt.key-secret", "encrypt.cipher-alg",
                                          "encrypt.cipher-mode", "encrypt.ivgen-alg", "encrypt.ivgen-hash-alg",
                                          "encrypt.hash-alg", "encrypt.iter-time",
                                          "cluster_size", "extended_l2",  "preallocation", "compression_type",
                                          "size",         "compat",       "backing_file",  "backing_fmt",
                                          "data_file",    "data_file_raw", "lazy_refcounts", "refcount_bits", NULL};

int qcow2_read_options(const struct viv_create *c, struct viv_qcow2_create *out, struct viv_err *err)
{
    const char *compat = viv_opts_str(c->opts, "compat");

    *out = (struct viv_qcow2_create){
        .size = c->size,
        .prealloc = c->prealloc,
        .backing_file = c->backing_file,
        .backing_fmt = c->backing_fmt,
        .cluster_size = (uint32_t)viv_opts_size(c->opts, "cluster_size"),
        .refcount_bits = (uint32_t)viv_opts_int(c->opts, "refcount_bits"),
        .version = compat && (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0) ? 2 : 3,
        .lazy_refcounts = viv_opts_bool(c->opts, "lazy_refcounts"),
        .zstd = strcmp(viv_opts_str(c->opts, "compression_type"), "zstd") == 0,
        .extended_l2 = viv_opts_bool(c->opts, "extended_l2"),
        .data_file = viv_opts_str(c->opts, "data_file"),
        .data_file_raw = viv_opts_given(c->opts, "data_file_raw") && viv_opts_bool(c->opts, "data_file_raw"),
    };
    /* A raw data file is read past the image: every cluster shows what lies there from the start. */
    if (out->data_file_raw && out->prealloc == VIV_PREALLOC_OFF)
        out->prealloc = VIV_PREALLOC_METADATA;
    if (!out->cluster_size)
        return viv_fail(err, EINVAL, "Cluster size must be a power of two between 512 and 2048k");
    return qcow2_read_encrypt_options(c->opts, out, err);
}

int qcow2_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    struct viv_qcow2_create q;
    struct viv_node *data = NULL;
    int ret = qcow2_read_options(c, &q, err);

    if (!ret)
        ret = qcow2_plan(&q, err);
    if (!ret && q.data_file)
        ret = qcow2_create_data(&q, file, &data, err);
    q.data = data;
    if (!ret)
        ret = viv_qcow2_create(&q, file, err);
    if (data && viv_node_put(&data) && !ret)
        ret = viv_fail(err, EIO, "'%s' could not be written completely", q.data_file);
    return ret;
}
