/* viv-img rebase: another backing file.
 *
 * Safe mode: where the overlay holds nothing and the old and the new backing file differ, what the old one shows is
 * written into the overlay; that is flushed; only then the header names the new one. A cut before leaves the old name
 * and an overlay that shows the same disk. Unsafe mode (-u) changes the name alone. */
#include "cmd/img.h"
#include "cmd/img_copy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct args {
    struct img_common common; /* its o: of the overlay; -U is for backing files */
    const char *path, *base, *base_format;
    bool unsafe, force_share, writethrough;
    struct viv_node_opts src;
};

struct work {
    const struct args *a;
    struct viv_node *top, *next; /* next: the new backing file; NULL: none */
    struct viv_node *common;     /* a layer of the old chain that is `next` too; NULL: none */
};

static int take(void *args, int c)
{
    struct args *a = args;
    bool ignored;

    switch (c) {
    case 'b':
        a->base = optarg;
        return 0;
    case 'F':
        a->base_format = optarg;
        return 0;
    case 't':
        return img_parse_cache("Invalid cache option", optarg, &a->common.o, &a->writethrough);
    case 'T':
        return img_parse_cache("Invalid source cache option", optarg, &a->src, &ignored);
    default:
        a->unsafe = true;
        return 0;
    }
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:F:b:upt:T:qU", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    if (!a->unsafe && !a->base)
        return 1 + img_usage("Must specify backing file (-b) or use unsafe mode (-u)");
    a->path = argv[optind];
    a->src.force_share = a->common.o.force_share;
    a->common.o.force_share = false;
    return 0;
}

/* --- opening --- */

static int open_backing(struct work *w, const char *name, const char *format, struct viv_node **out, struct viv_err *err)
{
    g_autofree char *path = viv_blk_backing_path(w->top->filename, name);
    struct viv_node_opts o = w->a->src;

    o.read_only = true;
    o.depth = 1;
    return viv_node_open_image(path, format, &o, out, err);
}

/* The new backing file may be further down in the old chain: then only what lies between can differ. */
static struct viv_node *find_common(const struct work *w)
{
    for (struct viv_node *n = w->next ? w->top->backing : NULL; n; n = n->backing)
        if (n->drv == w->next->drv && img_same_file(n->filename, w->next->filename))
            return n;
    return NULL;
}

/* The old chain hangs below the overlay, with -T's cache mode; the new one stands beside it. */
static int open_chains(struct work *w, struct viv_err *err)
{
    const struct args *a = w->a;
    const char *name = NULL, *format = NULL;
    int ret = 0;

    if (w->top->drv->backing)
        w->top->drv->backing(w->top, &name, &format);
    if (name && *name)
        ret = open_backing(w, name, format, &w->top->backing, err);
    if (ret) {
        viv_err_prefix(err, "Could not open '%s': Could not open backing file", a->path);
        return ret;
    }
    if (!a->base || !*a->base)
        return 0;
    ret = open_backing(w, a->base, a->base_format, &w->next, err);
    if (ret)
        viv_err_prefix(err, "Could not open new backing file '%s'", a->base);
    else
        w->common = find_common(w);
    return ret;
}

static int check_names(const struct args *a, struct viv_node *top, struct viv_err *err)
{
    const char *name = a->base ? a->base : "";

    if (a->base_format && (!viv_blk_driver_find(a->base_format) || viv_blk_driver_find(a->base_format)->protocol))
        return viv_fail(err, EINVAL, "Invalid format name: '%s'", a->base_format);
    if (!top->drv->change_backing)
        return viv_fail(err, ENOTSUP, "Could not change the backing file to '%s': Operation not supported (by %s)", name,
                        top->drv->name);
    if (*name && !a->base_format)
        return viv_fail(err, EINVAL, "Could not change the backing file to '%s': backing format must be specified",
                        name);
    return 0;
}

/* --- safe mode --- */

/* How a backing file reads at `offset`: zeroes where there is none. */
static int status_of(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    uint64_t size = n ? viv_node_size(n) : 0;

    if (offset < size)
        return viv_node_status(n, offset, MIN(len, size - offset), out);
    *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = len};
    return 0;
}

/* How far the layers between the overlay and the common one hold nothing, so that old and new are the same. 0: they do. */
static int same_below(const struct work *w, uint64_t offset, uint64_t len, uint64_t *same)
{
    struct viv_extent e;

    *same = w->common ? len : 0;
    for (struct viv_node *n = w->top->backing; *same && n != w->common; n = n->backing) {
        uint64_t size = viv_node_size(n);
        int ret = offset < size ? viv_node_status_layer(n, offset, MIN(*same, size - offset), &e) : 0;

        if (ret)
            return ret;
        *same = offset < size && e.kind == VIV_MAP_BACKING ? MIN(*same, e.len) : 0;
    }
    return 0;
}

/* What the overlay leaves to its backing file; BACKING: no need to look at it, old and new are zeroes or the overlay has
 * its own. */
static int look_missing(const struct img_copy *c, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    const struct work *w = c->opaque;
    struct viv_extent old, new;
    uint64_t same;
    int ret = viv_node_status_layer(w->top, offset, len, out);

    if (ret || out->kind != VIV_MAP_BACKING) {
        out->kind = VIV_MAP_BACKING;
        return ret;
    }
    ret = same_below(w, offset, out->len, &same);
    if (ret || same) {
        out->len = ret ? out->len : same;
        return ret;
    }
    ret = status_of(w->top->backing, offset, out->len, &old);
    if (!ret)
        ret = status_of(w->next, offset, MIN(out->len, old.len), &new);
    if (ret)
        return ret;
    out->len = new.len;
    if (old.kind == VIV_MAP_ZERO && new.kind == VIV_MAP_ZERO)
        return 0;
    out->kind = old.kind == VIV_MAP_ZERO ? VIV_MAP_ZERO : VIV_MAP_DATA;
    return 0;
}

static int merge_differences(struct work *w, struct viv_err *err)
{
    struct img_progress progress;
    struct img_copy c = {.source = w->top, .target = w->top, .len = viv_node_size(w->top), .threads = 4,
                         .look = look_missing, .opaque = w, .compare = true, .like = w->next, .progress = &progress,
                         .writethrough = w->a->writethrough};
    int ret;

    /* Without an old backing file a format takes "zeroes" for "nothing", which the new one would show through. */
    c.sparse = w->top->backing ? 4096 : 0;
    img_progress_start(&progress, w->a->common.progress, c.len);
    ret = img_copy(&c, err);
    img_progress_end(&progress, !ret);
    if (!ret && (ret = viv_node_flush(w->top)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", w->a->path);
    return ret;
}

static int rebase(const struct args *a)
{
    struct viv_node_opts o = a->common.o;
    struct viv_err err = VIV_ERR_INIT;
    struct work w = {.a = a};
    bool named = a->base && *a->base;
    int ret;

    o.no_backing = true; /* opened by open_chains() */
    ret = img_open(&a->common, a->path, a->common.format, &o, &w.top, &err);
    if (!ret)
        ret = check_names(a, w.top, &err);
    if (!ret && !a->unsafe)
        ret = open_chains(&w, &err);
    if (!ret && !a->unsafe)
        ret = merge_differences(&w, &err);
    if (!ret && (ret = w.top->drv->change_backing(w.top, named ? a->base : NULL, named ? a->base_format : NULL, &err)) != 0)
        viv_err_prefix(&err, "Could not change the backing file to '%s'", named ? a->base : "");
    ret = img_close(&w.top, ret, &err);
    viv_node_put(&w.next);
    return ret ? img_error("%s", err.text) : 0;
}

int img_rebase(int argc, char **argv)
{
    struct args a = {0};
    int ret = parse(argc, argv, &a);

    return ret ? ret - 1 : rebase(&a);
}
