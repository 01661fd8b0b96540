/* viv-img convert: one image to another format, place or backing file. */
#include "cmd/img.h"
#include "cmd/img_copy.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct args {
    struct img_common common; /* its o: of the source */
    const char *out_format, *source, *target;
    bool no_create, target_zero, writethrough;
    struct viv_node_opts dst;
    struct img_copy copy;
    struct img_create_opts co;
};

static int parse_number(const char *text, unsigned max, unsigned *out)
{
    uint64_t n;

    if (viv_parse_u64(text, &n, NULL) || n < 1 || n > max)
        return img_error(
            "Invalid number of coroutines. Allowed number of coroutines is between 1 and %u", max);
    *out = n;
    return 0;
}

static int parse_sparse(const char *text, uint64_t *out)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_parse_size(text, 1, out, &err))
        return img_error("Invalid buffer size for sparse output specified: %s", err.text);
    if (*out % 512 || *out > 2u << 20 || (*out & (*out - 1)))
        return img_error("-S %s: a power of two between 512 and 2M is wanted, or 0", text);
    return 0;
}

enum { OPT_ZERO = IMG_OPT_OWN, OPT_TARGET_OPTS, OPT_SALVAGE, OPT_BITMAPS, OPT_SKIP_BITMAPS };

static const struct option longs[] = {{"target-is-zero", no_argument, NULL, OPT_ZERO},
                                      {"target-image-opts", no_argument, NULL, OPT_TARGET_OPTS},
                                      {"salvage", no_argument, NULL, OPT_SALVAGE},
                                      {"bitmaps", no_argument, NULL, OPT_BITMAPS},
                                      {"skip-broken-bitmaps", no_argument, NULL, OPT_SKIP_BITMAPS},
                                      {0}};

static int refuse(int c)
{
    for (const struct option *o = longs; o->name; o++)
        if (o->val == c)
            return img_error("convert: --%s is not implemented yet", o->name);
    return img_error("convert: -%c is not implemented yet", c);
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
    case 'b':
        a->co.backing_file = optarg;
        return 0;
    case 'F':
        a->co.backing_fmt = optarg;
        return 0;
    case 'n':
        a->no_create = true;
        return 0;
    case 'W':
        a->copy.any_order = true;
        return 0;
    case 'm':
        return parse_number(optarg, 16, &a->copy.threads);
    case 'S':
        return parse_sparse(optarg, &a->copy.sparse);
    case 't':
        return img_parse_cache("Invalid cache option", optarg, &a->dst, &a->writethrough);
    case 'T':
        return img_parse_cache("Invalid source cache option", optarg, &a->common.o, &ignored);
    case OPT_ZERO:
        a->target_zero = true;
        return 0;
    default:
        return refuse(c);
    }
}

static int check_args(const struct args *a)
{
    if (a->target_zero && !a->no_create)
        return img_error("--target-is-zero requires use of -n flag");
    if (a->no_create && (a->co.text->len || a->co.backing_fmt))
        return img_error("-n writes into an existing image: -o and -F do not go with it");
    if (a->no_create && a->co.backing_file)
        return img_error("-n writes into an existing image: -B does not go with it");
    if (a->writethrough)
        return img_error(
            "-t writethrough and directsync are not implemented yet; writeback and none work "
            "(the image is durable when the command ends)");
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:O:B:b:F:o:npqUWm:S:t:T:cCl:r:", longs, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (img_wants_help(a->co.text))
        return 1 + img_option_help(a->out_format);
    if (argc - optind < 2)
        return 1 + img_error(argc == optind ? "Must specify image file name" : "Must specify the output file name");
    if (argc - optind > 2)
        return 1 + img_error("convert: joining several images is not implemented yet; one source works");
    a->source = argv[optind];
    a->target = argv[optind + 1];
    a->copy.progress = a->common.progress;
    return check_args(a) ? 2 : 0;
}

/* -n: an image that is there. */
static int open_target(struct args *a, struct viv_err *err)
{
    int ret;

    a->dst.unmap = true;
    ret = viv_node_open_image(a->target, a->out_format, &a->dst, &a->copy.target, err);
    if (!ret && viv_node_size(a->copy.target) < viv_node_size(a->copy.source))
        ret = viv_fail(err, ENOSPC,
                       "'%s' has %" PRIu64 " bytes and the source %" PRIu64 ": it is too small",
                       a->target, viv_node_size(a->copy.target), viv_node_size(a->copy.source));
    a->copy.target_zero = a->target_zero;
    return ret;
}

static int make_target(struct args *a, struct img_target *t, struct viv_err *err)
{
    struct viv_node_opts o = a->dst;
    int ret =
        img_target_plan(t, a->target, a->out_format, &a->co, viv_node_size(a->copy.source), err);

    if (ret)
        return ret;
    o.unmap = true;
    o.no_flush = true; /* one flush at the end; until then the image has no name */
    ret = img_target_make(t, a->target, a->out_format, &o, true, err);
    if (ret)
        return ret;
    a->copy.target = t->node;
    a->copy.target_zero = t->node->file->zero_init; /* preallocated clusters are zeroes too */
    return 0;
}

/* The data is on the disk before the image gets its name and the command says that all is well. */
static int finish(struct args *a, struct img_target *t, struct viv_err *err)
{
    struct viv_node *n = a->copy.target;
    int ret;

    n->file->no_flush = a->dst.no_flush; /* -t unsafe */
    ret = viv_node_flush(n);
    if (ret)
        return viv_fail_os(err, -ret, "'%s' could not be written completely", a->target);
    return img_target_publish(t, err);
}

static int convert(struct args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct img_target t = {0};
    int ret = img_open(&a->common, a->source, a->common.format, &a->common.o, &a->copy.source, &err);

    if (!ret) {
        ret = a->no_create ? open_target(a, &err) : make_target(a, &t, &err);
        if (ret)
            viv_err_prefix(&err, "%s: error while converting %s", a->target, a->out_format);
    }
    if (!ret)
        ret = img_copy(&a->copy, &err);
    if (!ret)
        ret = finish(a, &t, &err);
    viv_node_put(&a->copy.source);
    if (a->no_create)
        ret = img_close(&a->copy.target, ret, &err);
    img_target_fini(&t);
    return ret ? img_error("%s", err.text) : 0;
}

int img_convert(int argc, char **argv)
{
    struct args a = {.out_format = "raw", .common.o.read_only = true, .copy = {.sparse = 4096, .threads = 4}};
    int ret;

    a.co.text = a.common.create = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : convert(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
