/* viv-img create: an empty image. */
#include "cmd/img.h"

#include <getopt.h>
#include <string.h>

struct args {
    const char *format, *path, *size;
    bool quiet;
    struct img_create_opts co;
};

/* 0 go on, else exit code + 1. */
static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"object", required_argument, NULL, 'x'}, {0}};
    int c;

    while ((c = getopt_long(argc, argv, ":f:b:F:o:qu", longs, NULL)) != -1) {
        switch (c) {
        case 'f':
            a->format = optarg;
            break;
        case 'b':
            a->co.backing_file = optarg;
            break;
        case 'F':
            a->co.backing_fmt = optarg;
            break;
        case 'o':
            g_string_append_printf(a->co.text, "%s%s", a->co.text->len ? "," : "", optarg);
            break;
        case 'q':
            a->quiet = true;
            break;
        case 'u':
            a->co.unsafe = true;
            break;
        case 'x':
            return 1 + img_error("create: --object is not implemented yet (it is for encryption)");
        case ':':
            return 1 + img_usage("missing argument for option '%s'", argv[optind - 1]);
        default:
            return 1 + img_usage("create: unrecognized option '%s'", argv[optind - 1]);
        }
    }
    if (img_wants_help(a->co.text))
        return 1 + img_option_help(a->format);
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

    if (a->size && viv_parse_size(a->size, 1, &size, &err))
        return img_error(
            "Invalid image size specified ('%s'). You may use k, M, G, T, P or E suffixes for\n"
            "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
            a->size);
    ret = img_target_plan(&t, a->path, a->format, &a->co, size, &err);
    if (!ret && !a->quiet)
        img_target_describe(&t, a->path, a->format);
    if (!ret)
        ret = img_target_make(&t, a->path, a->format, &o, false, &err);
    if (!ret)
        ret = img_target_publish(&t, &err);
    img_target_fini(&t);
    return ret ? img_error("%s: %s", a->path, err.text) : 0;
}

int img_create(int argc, char **argv)
{
    struct args a = {.format = "raw"};
    int ret;

    a.co.text = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : create(&a);
    g_string_free(a.co.text, TRUE);
    return ret;
}
