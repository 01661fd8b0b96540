/* viv-img bitmap: the dirty bitmaps that an image stores. */
#include "cmd/img.h"

#include "block/bitmap.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { OPT_ADD = IMG_OPT_OWN, OPT_REMOVE, OPT_CLEAR, OPT_ENABLE, OPT_DISABLE, OPT_MERGE };

static const char *const action_names[] = {
    [OPT_ADD - OPT_ADD] = "add",       [OPT_REMOVE - OPT_ADD] = "remove",   [OPT_CLEAR - OPT_ADD] = "clear",
    [OPT_ENABLE - OPT_ADD] = "enable", [OPT_DISABLE - OPT_ADD] = "disable", [OPT_MERGE - OPT_ADD] = "merge",
};

struct action {
    int what;
    const char *source; /* of merge */
};

struct args {
    struct img_common common;
    const char *path, *name, *source_path, *source_format;
    uint64_t granularity; /* 0: the image's own */
    GArray *actions;      /* of struct action, in order */
    bool add, merge;
};

static int take(void *args, int c)
{
    struct args *a = args;
    struct action act = {c, optarg};

    switch (c) {
    case 'b':
        a->source_path = optarg;
        return 0;
    case 'F':
        a->source_format = optarg;
        return 0;
    case 'g':
        return img_parse_size("granularity", optarg, &a->granularity);
    default:
        a->add |= c == OPT_ADD;
        a->merge |= c == OPT_MERGE;
        g_array_append_val(a->actions, act);
        return 0;
    }
}

static int check_args(const struct args *a)
{
    if (!a->actions->len)
        return img_error("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    if (a->granularity && !a->add)
        return img_error("granularity only supported with --add");
    if (a->source_format && !a->source_path)
        return img_error("-F only supported with -b");
    if (a->source_path && !a->merge)
        return img_error("Merge bitmap source file only supported with --merge");
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"add", no_argument, NULL, OPT_ADD},
                                          {"remove", no_argument, NULL, OPT_REMOVE},
                                          {"clear", no_argument, NULL, OPT_CLEAR},
                                          {"enable", no_argument, NULL, OPT_ENABLE},
                                          {"disable", no_argument, NULL, OPT_DISABLE},
                                          {"merge", required_argument, NULL, OPT_MERGE},
                                          {"source-file", required_argument, NULL, 'b'},
                                          {"source-format", required_argument, NULL, 'F'},
                                          {"granularity", required_argument, NULL, 'g'},
                                          {0}};
    static const struct img_syntax syntax = {":hb:f:F:g:", longs, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (check_args(a))
        return 2;
    if (argc - optind != 2)
        return 1 + img_error("Expecting filename and bitmap name");
    a->path = argv[optind];
    a->name = argv[optind + 1];
    return 0;
}

/* --- one bitmap --- */

/* -ENOENT: there is none of that name. out->name stays NULL. */
static int find(struct viv_node *n, const char *name, struct viv_bitmap_info *out, struct viv_err *err)
{
    struct viv_bitmap_info *list = NULL;
    unsigned count = 0, i = 0;
    int ret = n->drv->bitmaps ? n->drv->bitmaps->list(n, &list, &count, err) : 0;

    if (ret)
        return ret;
    while (i < count && strcmp(list[i].name, name) != 0)
        i++;
    if (i < count) {
        *out = list[i];
        out->name = NULL;
    }
    viv_bitmap_info_free(list, count);
    return i < count ? 0 : -ENOENT;
}

/* One that can be worked with. out->name stays `name`, borrowed. */
static int find_usable(struct viv_node *n, const char *name, struct viv_bitmap_info *out, struct viv_err *err)
{
    int ret = find(n, name, out, err);

    if (ret == -ENOENT)
        return viv_fail(err, ENOENT, "Dirty bitmap '%s' not found", name);
    if (!ret && out->in_use)
        ret = viv_fail(err, EINVAL, "Bitmap '%s' is inconsistent and cannot be used\n"
                       "Try block-dirty-bitmap-remove to delete this bitmap from disk", name);
    out->name = (char *)name;
    return ret;
}

static int add(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    uint64_t granularity = a->granularity ? a->granularity : viv_bitmap_default_granularity(n);
    struct viv_bitmap_info b = {.name = (char *)a->name, .granularity = granularity, .automatic = true};
    struct viv_bitmap_info old;
    int ret;

    if (granularity < 512 || granularity > 1u << 31 || (granularity & (granularity - 1)))
        return viv_fail(err, EINVAL, "Granularity must be power of 2 and at least 512");
    if (!n->drv->bitmaps)
        return viv_fail(err, ENOTSUP, "Can't store persistent bitmaps: %s images have none", n->drv->name);
    ret = find(n, a->name, &old, err);
    if (ret != -ENOENT)
        return ret ? ret : viv_fail(err, EEXIST, "Bitmap already exists: %s", a->name);
    return n->drv->bitmaps->store(n, &b, NULL, err);
}

static int remove_bitmap(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    struct viv_bitmap_info b;
    int ret = find(n, a->name, &b, err);

    if (ret == -ENOENT)
        return viv_fail(err, ENOENT, "Dirty bitmap '%s' not found", a->name);
    return ret ? ret : n->drv->bitmaps->remove(n, a->name, err);
}

static int clear(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    struct viv_bitmap_info b;
    int ret = find_usable(n, a->name, &b, err);

    return ret ? ret : n->drv->bitmaps->store(n, &b, NULL, err);
}

static int set_automatic(const struct args *a, struct viv_node *n, bool on, struct viv_err *err)
{
    struct viv_bitmap_info b;
    uint8_t *bits = NULL;
    size_t bytes;
    int ret = find_usable(n, a->name, &b, err);

    if (!ret)
        ret = n->drv->bitmaps->load(n, a->name, &bits, &bytes, err);
    if (!ret) {
        b.automatic = on;
        ret = n->drv->bitmaps->store(n, &b, bits, err);
    }
    g_free(bits);
    return ret;
}

/* --- merging --- */

static bool test(const uint8_t *bits, uint64_t i)
{
    return bits[i / 8] & (1u << (i % 8));
}

/* Every granule of `to` that a dirty one of `from` touches becomes dirty. `size` is the disk's. */
static void join(uint8_t *to, uint32_t to_granule, const uint8_t *from, uint32_t from_granule, uint64_t size)
{
    for (uint64_t i = 0; i * from_granule < size; i++) {
        uint64_t first, last;

        if (i % 8 == 0 && !from[i / 8]) {
            i += 7;
            continue;
        }
        if (!test(from, i))
            continue;
        first = i * from_granule / to_granule;
        last = (MIN((i + 1) * from_granule, size) - 1) / to_granule;
        for (uint64_t k = first; k <= last; k++)
            to[k / 8] |= 1u << (k % 8);
    }
}

static int merge_from(const struct args *a, struct viv_node *n, struct viv_node *src, const char *name, struct viv_err *err)
{
    struct viv_bitmap_info to, from;
    uint8_t *to_bits = NULL, *from_bits = NULL;
    size_t bytes;
    int ret = find_usable(n, a->name, &to, err);

    if (!ret)
        ret = find_usable(src, name, &from, err);
    if (!ret && viv_node_size(n) != viv_node_size(src))
        ret = viv_fail(err, EINVAL, "Bitmaps are of different sizes (destination size is %" PRIu64 ", source size is %" PRIu64
                       ") and can't be merged", viv_node_size(n), viv_node_size(src));
    if (!ret)
        ret = n->drv->bitmaps->load(n, a->name, &to_bits, &bytes, err);
    if (!ret)
        ret = src->drv->bitmaps->load(src, name, &from_bits, &bytes, err);
    if (!ret) {
        join(to_bits, to.granularity, from_bits, from.granularity, viv_node_size(n));
        ret = n->drv->bitmaps->store(n, &to, to_bits, err);
    }
    g_free(to_bits);
    g_free(from_bits);
    return ret;
}

static int act(const struct args *a, struct viv_node *n, struct viv_node *src, const struct action *what, struct viv_err *err)
{
    switch (what->what) {
    case OPT_ADD:
        return add(a, n, err);
    case OPT_REMOVE:
        return remove_bitmap(a, n, err);
    case OPT_CLEAR:
        return clear(a, n, err);
    case OPT_MERGE:
        return merge_from(a, n, src ? src : n, what->source, err);
    default:
        return set_automatic(a, n, what->what == OPT_ENABLE, err);
    }
}

static int run(const struct args *a, struct viv_node *n, struct viv_node *src, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; i < a->actions->len && !ret; i++) {
        const struct action *what = &g_array_index(a->actions, struct action, i);

        ret = act(a, n, src, what, err);
        if (ret)
            viv_err_prefix(err, "Operation %s on bitmap %s failed", action_names[what->what - OPT_ADD], a->name);
    }
    return ret;
}

static int bitmap(const struct args *a)
{
    struct viv_node_opts source = {.read_only = true, .no_backing = true};
    struct img_common plain = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL, *src = NULL;
    int ret = img_open(&a->common, a->path, a->common.format, &a->common.o, &n, &err);

    if (!ret && a->source_path)
        ret = img_open(&plain, a->source_path, a->source_format, &source, &src, &err);
    if (!ret)
        ret = run(a, n, src, &err);
    viv_node_put(&src);
    ret = img_close(&n, ret, &err);
    return ret ? img_error("%s", err.text) : 0;
}

int img_bitmap(int argc, char **argv)
{
    struct args a = {.common.o.no_backing = true, .actions = g_array_new(FALSE, FALSE, sizeof(struct action))};
    int ret = parse(argc, argv, &a);

    ret = ret ? ret - 1 : bitmap(&a);
    g_array_free(a.actions, TRUE);
    return ret;
}
