/* viv-img measure: how large the file of a new image would be. */
#include "cmd/img.h"
#include "cmd/img_snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *target, *path, *size, *snapshot;
};

enum { OPT_SIZE = IMG_OPT_OWN };

static int take(void *args, int c)
{
    struct args *a = args;

    if (c == 'l')
        a->snapshot = optarg;
    else if (c == 'O')
        a->target = optarg;
    else
        a->size = optarg;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"size", required_argument, NULL, OPT_SIZE}, {0}};
    static const struct img_syntax syntax = {":hf:O:o:l:U", longs, .output = true, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
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
    if (!a->common.json) {
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
    struct img_create_opts co = {.text = a->common.create, .unsafe = true};
    struct viv_measure m = {0};
    struct img_target t = {0};
    int ret;

    if (drv && !drv->protocol && !drv->measure)
        return viv_fail(err, ENOTSUP, "Block driver '%s' does not support size measurement", a->target);
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
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    uint64_t size;
    int ret;

    if (a->size && viv_parse_size(a->size, 1, &size, &err))
        return img_error("Invalid image size specified: %s", err.text);
    if (a->path && img_open_snapshot(&a->common, a->path, a->snapshot, &n, &err))
        return img_error("%s", err.text);
    if (n)
        size = viv_node_size(n);
    ret = run(a, n, size, &err);
    viv_node_put(&n);
    return ret ? img_error("%s", err.text) : 0;
}

int img_measure(int argc, char **argv)
{
    struct args a = {.target = "raw", .common.o.read_only = true};
    int ret;

    a.common.create = g_string_new(NULL);
    ret = parse(argc, argv, &a);
    ret = ret ? ret - 1 : measure(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
