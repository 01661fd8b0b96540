/* viv-img convert: one image, or several in a row, to another format, place or backing file. */
#include "cmd/img.h"
#include "cmd/img_bitmaps.h"
#include "cmd/img_copy.h"
#include "cmd/img_pack.h"
#include "cmd/img_snapshots.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SPARSE_MAX  (16u << 20)
#define THREADS_MIN 4u /* some wait for a disk */
#define THREADS_MAX 16u

struct args {
    struct img_common common; /* its o: of the sources */
    const char *out_format, *target, *snapshot;
    char **path; /* the sources */
    unsigned paths;
    bool no_create, target_opts, target_zero, bitmaps, skip_broken, sparse_given;
    struct viv_node_opts dst;
    struct img_copy copy;
    struct img_rate rate;
    struct img_create_opts co;
};

struct work {
    const struct args *a;
    struct viv_node **source, *out;
    uint64_t total;
    struct img_target target; /* of a new image */
};

static int parse_number(const char *text, unsigned max, unsigned *out)
{
    uint64_t n;

    if (viv_parse_u64(text, &n, NULL) || n < 1 || n > max)
        return img_error("Invalid number of coroutines. Allowed number of coroutines is between 1 and %u", max);
    *out = n;
    return 0;
}

static int parse_sparse(struct args *a, const char *text)
{
    uint64_t n;

    if (img_parse_size("buffer size for sparse output", text, &n))
        return 1;
    if (n % 512 || n > SPARSE_MAX)
        return img_error("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %u. Select "
                         "0 to disable sparse detection (fully allocates output).",
                         SPARSE_MAX);
    a->copy.sparse = n;
    a->sparse_given = true;
    return 0;
}

enum { OPT_ZERO = IMG_OPT_OWN, OPT_TARGET_OPTS, OPT_SALVAGE, OPT_BITMAPS, OPT_SKIP_BITMAPS };

static const struct option longs[] = {{"target-is-zero", no_argument, NULL, OPT_ZERO},
                                      {"target-image-opts", no_argument, NULL, OPT_TARGET_OPTS},
                                      {"salvage", no_argument, NULL, OPT_SALVAGE},
                                      {"bitmaps", no_argument, NULL, OPT_BITMAPS},
                                      {"skip-broken-bitmaps", no_argument, NULL, OPT_SKIP_BITMAPS},
                                      {0}};

static int take_switch(struct args *a, int c)
{
    switch (c) {
    case 'n':
        a->no_create = true;
        return 0;
    case 'W':
        a->copy.any_order = true;
        return 0;
    case OPT_ZERO:
        a->target_zero = true;
        return 0;
    case OPT_TARGET_OPTS:
        a->target_opts = true;
        return 0;
    case OPT_SALVAGE:
        a->copy.salvage = true;
        return 0;
    case OPT_BITMAPS:
        a->bitmaps = true;
        return 0;
    case OPT_SKIP_BITMAPS:
        a->skip_broken = true;
        return 0;
    case 'C':
        a->copy.offload = IMG_OFFLOAD_COPY;
        return 0;
    case 'c':
        a->copy.compressed = true;
        return 0;
    default:
        return img_error("convert: -%c is not implemented yet", c);
    }
}

static int take(void *args, int c)
{
    struct args *a = args;
    bool ignored;

    switch (c) {
    case 'O':
        a->out_format = optarg;
        return 0;
    case 'B':
        a->co.backing_file = optarg;
        return 0;
    case 'F':
        a->co.backing_fmt = optarg;
        return 0;
    case 'l':
        a->snapshot = optarg;
        return 0;
    case 'm':
        return parse_number(optarg, THREADS_MAX, &a->copy.threads);
    case 'r':
        return img_parse_size("rate limit", optarg, &a->rate.limit);
    case 'S':
        return parse_sparse(a, optarg);
    case 't':
        return img_parse_cache("Invalid cache option", optarg, &a->dst, &a->copy.writethrough);
    case 'T':
        return img_parse_cache("Invalid source cache option", optarg, &a->common.o, &ignored);
    default:
        return take_switch(a, c);
    }
}

static int check_args(const struct args *a)
{
    bool offload = a->copy.offload == IMG_OFFLOAD_COPY;

    if (offload && a->sparse_given)
        return img_error("Cannot enable copy offloading when -S is used");
    if (offload && a->copy.salvage)
        return img_error("Cannot use copy offloading in salvaging mode");
    if (a->target_zero && !a->no_create)
        return img_error("--target-is-zero requires use of -n flag");
    if (a->target_opts && !a->no_create)
        return img_error("--target-image-opts requires use of -n flag");
    if (a->target_opts && a->out_format)
        return img_error("--image-opts and --format are mutually exclusive");
    if (a->skip_broken && !a->bitmaps)
        return img_error("Use of --skip-broken-bitmaps requires --bitmaps");
    if (a->no_create && a->co.text->len)
        return img_error("-o has no effect when skipping image creation");
    if (a->paths > 1 && a->snapshot)
        return img_error("No support for concatenating multiple snapshot");
    if (a->paths > 1 && a->co.backing_file)
        return img_error("Having a backing file for the target makes no sense when concatenating multiple input images");
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:O:B:b:F:o:npqUWm:S:t:T:cCl:r:", longs, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (!a->out_format && !a->target_opts)
        a->out_format = "raw";
    if (img_wants_help(a->co.text))
        return 1 + img_option_help(a->out_format);
    if (argc - optind < 2)
        return 1 + img_error("Must specify image file name");
    a->path = argv + optind;
    a->paths = argc - optind - 1;
    a->target = argv[argc - 1];
    a->copy.rate = &a->rate;
    if (!a->copy.threads)
        a->copy.threads = CLAMP(g_get_num_processors(), THREADS_MIN, THREADS_MAX);
    if (!a->copy.offload && !a->sparse_given)
        a->copy.offload = IMG_OFFLOAD_SHARE;
    return check_args(a) ? 2 : 0;
}

/* --- the work --- */

static int open_sources(struct work *w, struct viv_err *err)
{
    const struct args *a = w->a;
    int ret = 0;

    for (unsigned i = 0; i < a->paths && !ret; i++) {
        ret = img_open_snapshot(&a->common, a->path[i], a->snapshot, &w->source[i], err);
        if (!ret && !viv_add_u64(w->total, viv_node_size(w->source[i]), &w->total))
            ret = viv_fail(err, EFBIG, "the sources are too large together");
    }
    if (!ret && a->bitmaps && a->paths > 1)
        ret = viv_fail(err, EINVAL, "--bitmaps: which of the %u sources' bitmaps? One source works", a->paths);
    return ret;
}

static int check_bitmaps(const struct work *w, const struct viv_blk_driver *to, struct viv_err *err)
{
    return w->a->bitmaps ? img_bitmaps_check_copy(w->source[0], to, w->a->skip_broken, err) : 0;
}

/* -n: an image that is there. */
static int open_target(struct work *w, struct img_copy *c, struct viv_err *err)
{
    const struct args *a = w->a;
    struct img_common common = {.image_opts = a->target_opts};
    struct viv_node_opts o = a->dst;
    int ret;

    o.unmap = true;
    ret = img_open(&common, a->target, a->out_format, &o, &w->out, err);
    if (!ret && viv_node_size(w->out) < w->total)
        ret = viv_fail(err, ENOSPC, "output file is smaller than input file ('%s' has %" PRIu64 " bytes, %" PRIu64
                       " are needed)", a->target, viv_node_size(w->out), w->total);
    if (!ret && a->co.backing_file && !w->out->backing)
        ret = viv_fail(err, EINVAL, "-B: '%s' has no backing file", a->target);
    c->target_zero = a->target_zero;
    return ret ? ret : check_bitmaps(w, w->out->drv, err);
}

/* -c, for a new image: what can be said before it is made. */
static int check_compression(const struct work *w, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(w->a->out_format);

    if (!w->a->copy.compressed)
        return 0;
    if (!drv->pack && !drv->write_compressed)
        return viv_fail(err, ENOTSUP, "Compression not supported for this file format");
    if (w->target.spec.prealloc != VIV_PREALLOC_OFF)
        return viv_fail(err, EINVAL, "Compression and preallocation not supported at the same time");
    if (img_target_encrypted(&w->target, drv))
        return viv_fail(err, EINVAL, "Compression and encryption not supported at the same time");
    if (viv_create_knows(drv, "data_file") && viv_opts_str(w->target.opts, "data_file"))
        return viv_fail(err, EINVAL, "Compression and an external data file not supported at the same time");
    return 0;
}

static int make_target(struct work *w, struct img_copy *c, struct viv_err *err)
{
    const struct args *a = w->a;
    struct viv_node_opts o = a->dst;
    int ret = img_target_plan(&w->target, a->target, a->out_format, &a->co, w->total, err);

    if (!ret && (ret = check_compression(w, err)) != 0)
        return ret;
    if (!ret && (ret = check_bitmaps(w, viv_blk_driver_find(a->out_format), err)) != 0)
        return ret;
    if (!ret) {
        o.unmap = true;
        o.no_flush = true; /* one flush at the end; until then the image has no name */
        ret = img_target_make(&w->target, a->target, a->out_format, &o, true, err);
    }
    if (ret) {
        viv_err_prefix(err, "%s: error while converting %s", a->target, a->out_format);
        return ret;
    }
    w->out = w->target.node;
    c->target_zero = img_target_is_zero(&w->target);
    return 0;
}

static int copy_all(struct work *w, struct img_copy c, struct viv_err *err)
{
    struct img_progress progress;
    int ret = 0;

    img_progress_start(&progress, w->a->common.progress, w->total);
    c.progress = &progress;
    c.quiet = w->a->common.quiet;
    c.target = w->out;
    for (unsigned i = 0; i < w->a->paths && !ret; i++) {
        c.source = w->source[i];
        c.len = viv_node_size(c.source);
        ret = img_copy(&c, err);
        c.target_offset += c.len;
    }
    img_progress_end(&progress, !ret);
    return ret;
}

static int convert(const struct args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct work w = {.a = a, .source = g_new0(struct viv_node *, a->paths)};
    struct img_copy c = a->copy;
    int ret = open_sources(&w, &err);

    if (!ret)
        ret = a->no_create ? open_target(&w, &c, &err) : make_target(&w, &c, &err);
    if (!ret) {
        c.compressed |= w.out->only_packed;
        c.any_order |= w.out->granule == 1; /* each byte has its place already */
    }
    if (!ret && c.compressed)
        ret = img_packer_check(w.out, &err);
    if (!ret)
        ret = copy_all(&w, c, &err);
    if (!ret && a->bitmaps)
        ret = img_bitmaps_copy(w.source[0], w.out, a->skip_broken, &err);
    if (!ret)
        ret = img_target_finish(&w.target, w.out, a->dst.no_flush, &err);
    for (unsigned i = 0; i < a->paths; i++)
        viv_node_put(&w.source[i]);
    g_free(w.source);
    if (a->no_create)
        ret = img_close(&w.out, ret, &err);
    img_target_fini(&w.target);
    return ret ? img_error("%s", err.text) : 0;
}

int img_convert(int argc, char **argv)
{
    struct args a = {.common.o.read_only = true, .copy = {.sparse = 4096}};
    int ret;

    a.co.text = a.common.create = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : convert(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
