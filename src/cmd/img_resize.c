/* viv-img resize: another virtual size. */
#include "cmd/img.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *path, *size;
    bool shrink;
    enum viv_prealloc prealloc;
};

enum { OPT_SHRINK = IMG_OPT_OWN, OPT_PREALLOCATION };

static int take(void *args, int c)
{
    struct args *a = args;

    if (c == OPT_SHRINK)
        a->shrink = true;
    else if (viv_prealloc_parse(optarg, &a->prealloc))
        return img_error("Invalid preallocation mode '%s'", optarg);
    return 0;
}

/* "-1G" would look like options: the size is taken off the end first, as in "resize FILE -1G". */
static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"shrink", no_argument, NULL, OPT_SHRINK},
                                          {"preallocation", required_argument, NULL, OPT_PREALLOCATION},
                                          {0}};
    static const struct img_syntax syntax = {":hf:q", longs, .take = take};
    int ret;

    if (argc < 3)
        return 1 + img_usage("Not enough arguments");
    a->size = argv[--argc];
    ret = img_read_options(&a->common, &syntax, a, argc, argv);
    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting image file name and size");
    a->path = argv[optind];
    return 0;
}

int img_new_size(const char *text, uint64_t old, uint64_t *out, struct viv_err *err)
{
    uint64_t n = 0;
    int ret = viv_parse_size(text + (text[0] == '+' || text[0] == '-'), 1, &n, err);

    if (ret)
        return ret;
    if (text[0] == '+' && !viv_add_u64(old, n, &n))
        return viv_fail(err, EFBIG, "'%s' more is too much", text);
    if (text[0] == '-' && n >= old)
        return viv_fail(err, EINVAL, "New image size must be positive");
    *out = text[0] == '-' ? old - n : n;
    if (!*out)
        return viv_fail(err, EINVAL, "New image size must be positive");
    if (*out > INT64_MAX - 511)
        return viv_fail(err, EFBIG, "%" PRIu64 " bytes are too large", *out);
    *out = viv_align_down(*out + 511, 512);
    return 0;
}

static int resize(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    uint64_t old = viv_node_size(n), size = old;
    int ret = img_new_size(a->size, old, &size, err);

    if (ret)
        return ret;
    if (size < old && !a->shrink)
        return viv_fail(err, EINVAL,
                        "this would cut off the last %" PRIu64
                        " bytes of the disk. Use the --shrink option "
                        "to perform a shrink operation.",
                        old - size);
    if (size < old && a->prealloc != VIV_PREALLOC_OFF)
        return viv_fail(err, EINVAL, "Preallocation can only be used for growing images");
    return viv_node_truncate(n, size, a->prealloc, err);
}

int img_resize(int argc, char **argv)
{
    struct args a = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    if (img_open(&a.common, a.path, a.common.format, &a.common.o, &n, &err))
        return img_error("%s", err.text);
    ret = resize(&a, n, &err);
    ret = img_close(&n, ret, &err);
    if (ret)
        return img_error("%s", err.text);
    if (!a.common.quiet)
        printf("Image resized.\n");
    return 0;
}
