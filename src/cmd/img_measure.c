/* viv-img measure: how large the file of a new image would be. */
#include "cmd/img.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

struct args {
    const char *format, *target, *path, *size;
    bool json;
    struct viv_node_opts o;
    struct img_create_opts co;
};

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"output", required_argument, NULL, 'J'},
                                          {"size", required_argument, NULL, 'S'},
                                          {"force-share", no_argument, NULL, 'U'},
                                          {"object", required_argument, NULL, 'x'},
                                          {"image-opts", no_argument, NULL, 'y'},
                                          {0}};
    int c;

    while ((c = getopt_long(argc, argv, ":f:O:o:l:U", longs, NULL)) != -1) {
        switch (c) {
        case 'f':
            a->format = optarg;
            break;
        case 'O':
            a->target = optarg;
            break;
        case 'o':
            g_string_append_printf(a->co.text, "%s%s", a->co.text->len ? "," : "", optarg);
            break;
        case 'J':
            if (img_parse_output(optarg, &a->json))
                return 2;
            break;
        case 'S':
            a->size = optarg;
            break;
        case 'U':
            a->o.force_share = true;
            break;
        case 'l':
            return 1 + img_refuse("measure", c, "internal snapshots cannot be read yet");
        case 'x':
        case 'y':
            return 1 + img_error("measure: '%s' is not implemented yet", argv[optind - 1]);
        case ':':
            return 1 + img_usage("missing argument for option '%s'", argv[optind - 1]);
        default:
            return 1 + img_usage("measure: unrecognized option '%s'", argv[optind - 1]);
        }
    }
    if (optind < argc)
        a->path = argv[optind++];
    if (optind < argc)
        return 1 + img_usage("At most one filename argument is allowed.");
    if (a->path && a->size)
        return 1 + img_error("--size N cannot be used together with a filename.");
    if (!a->path && !a->size)
        return 1 + img_error("Either --size N or one filename must be specified.");
    return 0;
}

static void print(const struct args *a, const struct viv_measure *m)
{
    if (!a->json) {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", m->required, m->full);
        if (m->has_bitmaps)
            printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
        return;
    }
    printf("{\n");
    if (m->has_bitmaps)
        printf("    \"bitmaps\": %" PRIu64 ",\n", m->bitmaps);
    printf("    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n", m->required, m->full);
}

/* The backing file of the new image is a name: it is not looked at. */
static int run(const struct args *a, struct viv_node *source, uint64_t size, struct viv_err *err)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(a->target);
    struct img_create_opts co = a->co;
    struct viv_measure m = {0};
    struct img_target t = {0};
    int ret;

    if (drv && !drv->protocol && !drv->measure)
        return viv_fail(err, ENOTSUP, "Block driver '%s' does not support size measurement", a->target);
    co.unsafe = true;
    ret = img_target_plan(&t, "", a->target, &co, size, err);
    if (!ret)
        ret = drv->measure(&t.spec, source, &m, err);
    if (!ret)
        print(a, &m);
    img_target_fini(&t);
    return ret;
}

static int measure(const struct args *a)
{
    struct viv_node_opts o = a->o;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    uint64_t size;
    int ret;

    if (a->size && viv_parse_size(a->size, 1, &size, &err))
        return img_error("Invalid image size specified: %s", err.text);
    if (a->path && viv_node_open_image(a->path, a->format, &o, &n, &err))
        return img_error("Could not open '%s': %s", a->path, err.text);
    if (n)
        size = viv_node_size(n);
    ret = run(a, n, size, &err);
    viv_node_put(&n);
    return ret ? img_error("%s", err.text) : 0;
}

int img_measure(int argc, char **argv)
{
    struct args a = {.target = "raw", .o = {.read_only = true}};
    int ret;

    a.co.text = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : measure(&a);
    g_string_free(a.co.text, TRUE);
    return ret;
}
