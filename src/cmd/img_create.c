/* viv-img create: an empty image. */
#include "cmd/img.h"

#include <string.h>

struct args {
    struct img_common common;
    const char *path, *size;
    struct img_create_opts co;
};

static int take(void *args, int c)
{
    struct args *a = args;

    if (c == 'b')
        a->co.backing_file = optarg;
    else if (c == 'F')
        a->co.backing_fmt = optarg;
    else
        a->co.unsafe = true;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:b:F:o:qu", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (img_wants_help(a->co.text))
        return 1 + img_option_help(a->common.format);
    if (optind >= argc)
        return 1 + img_usage("Expecting image file name");
    a->path = argv[optind++];
    if (optind < argc)
        a->size = argv[optind++];
    if (optind < argc)
        return 1 + img_usage("Unexpected argument: %s", argv[optind]);
    return 0;
}

static int create(const struct args *a)
{
    struct viv_node_opts o = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct img_target t = {0};
    uint64_t size = UINT64_MAX;
    int ret;

    if (a->size && img_parse_size("image size", a->size, &size))
        return 1;
    ret = img_target_plan(&t, a->path, a->common.format, &a->co, size, &err);
    if (!ret && !a->common.quiet)
        img_target_describe(&t, a->path, a->common.format);
    if (!ret)
        ret = img_target_make(&t, a->path, a->common.format, &o, false, &err);
    if (!ret)
        ret = img_target_publish(&t, &err);
    img_target_fini(&t);
    return ret ? img_error("%s: %s", a->path, err.text) : 0;
}

int img_create(int argc, char **argv)
{
    struct args a = {.common.format = "raw"};
    int ret;

    a.co.text = a.common.create = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : create(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
