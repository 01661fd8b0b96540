/* viv-img commit: what an overlay holds goes down into a backing file.
 *
 * Order, so that a cut at any moment leaves an overlay that shows the same disk: the base grows; data is written into it
 * (the overlay still has it too); the base is flushed; only then the overlay forgets, cluster by cluster. */
#include "cmd/img.h"
#include "cmd/img_copy.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define CHAIN_MAX 200

struct args {
    struct img_common common;
    const char *path, *base;
    bool keep, writethrough; /* -d: the overlay keeps what it has */
    struct img_rate rate;
};

struct work {
    const struct args *a;
    struct viv_node *top, *base; /* base: in top's chain, and a reference of ours */
};

static int take(void *args, int c)
{
    struct args *a = args;

    switch (c) {
    case 'b':
        a->base = optarg;
        a->keep = true; /* layers between would show through an emptied overlay */
        return 0;
    case 'd':
        a->keep = true;
        return 0;
    case 'r':
        return img_parse_size("rate limit", optarg, &a->rate.limit);
    default:
        return img_parse_cache("Invalid cache option", optarg, &a->common.o, &a->writethrough);
    }
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:t:b:dpqr:", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    a->path = argv[optind];
    return 0;
}

/* --- the chain, with one writable layer --- */

/* One layer more below `n`. 1: it is the base. */
static int open_below(struct work *w, struct viv_node *n, unsigned depth, struct viv_err *err)
{
    const struct args *a = w->a;
    const char *name = NULL, *format = NULL;
    struct viv_node_opts o = a->common.o;
    g_autofree char *path = NULL;
    bool is_base;
    int ret;

    if (n->drv->backing)
        n->drv->backing(n, &name, &format);
    if (!name || !*name)
        return depth == 1 ? viv_fail(err, EINVAL, "Image does not have a backing file")
                          : viv_fail(err, ENOENT, "Did not find '%s' in the backing chain of '%s'", a->base, a->path);
    if (depth > CHAIN_MAX)
        return viv_fail(err, ELOOP, "'%s': more than %d backing files (a loop?)", a->path, CHAIN_MAX);
    path = viv_blk_backing_path(n->filename, name);
    is_base = !a->base || strcmp(name, a->base) == 0 || img_same_file(path, a->base);
    o.read_only = !is_base;
    o.no_backing = !is_base;
    o.unmap = is_base;
    o.depth = depth;
    ret = viv_node_open_image(path, format, &o, &n->backing, err);
    if (ret) {
        viv_err_prefix(err, "Could not open '%s': Could not open backing file", a->path);
        return ret;
    }
    return is_base;
}

static int open_chain(struct work *w, struct viv_err *err)
{
    const struct args *a = w->a;
    struct viv_node_opts o = a->common.o;
    struct viv_node *n;
    int ret;

    o.no_backing = true;
    o.unmap = true;
    ret = img_open(&a->common, a->path, a->common.format, &o, &w->top, err);
    n = w->top;
    for (unsigned depth = 1; ret == 0; depth++) {
        ret = open_below(w, n, depth, err);
        n = n->backing;
    }
    if (ret < 0)
        return ret;
    viv_node_get(n);
    w->base = n;
    return 0;
}

/* --- copying --- */

/* What the layers above the base hold; BACKING: it comes from the base. */
static int look_above(const struct img_copy *c, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    const struct work *w = c->opaque;

    for (struct viv_node *n = w->top;; n = n->backing) {
        int ret = viv_node_status_layer(n, offset, len, out);

        if (ret)
            return ret;
        out->len = len = MIN(len, out->len);
        if (out->kind != VIV_MAP_BACKING || n->backing == w->base)
            return 0;
        if (offset >= viv_node_size(n->backing)) { /* behind a shorter layer nothing shows */
            out->kind = VIV_MAP_ZERO;
            return 0;
        }
        len = MIN(len, viv_node_size(n->backing) - offset);
    }
}

/* Layers between are no longer what they were, and may say so. */
static int keep_base(struct work *w, struct viv_err *err)
{
    if (w->top->backing != w->base || !w->top->drv->keep_backing)
        return 0;
    return w->top->drv->keep_backing(w->top, err);
}

static int grow_base(struct work *w, struct viv_err *err)
{
    uint64_t old = viv_node_size(w->base), size = viv_node_size(w->top);

    return size > old ? viv_node_truncate(w->base, size, VIV_PREALLOC_OFF, err) : 0;
}

static int copy(struct work *w, struct viv_err *err)
{
    struct img_rate rate = w->a->rate;
    struct img_progress progress;
    struct img_copy c = {.source = w->top, .target = w->base, .len = viv_node_size(w->top), .sparse = 4096, .threads = 4,
                         .look = look_above, .opaque = w, .progress = &progress, .rate = &rate,
                         .writethrough = w->a->writethrough};
    int ret;

    img_progress_start(&progress, w->a->common.progress, c.len);
    ret = img_copy(&c, err);
    img_progress_end(&progress, !ret);
    if (!ret && (ret = viv_node_flush(w->base)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", w->base->filename);
    return ret;
}

static int empty_top(struct work *w, struct viv_err *err)
{
    int ret;

    if (w->a->keep || !w->top->drv->forget) /* a format that cannot keeps what it has, which is the same disk */
        return 0;
    ret = viv_node_forget(w->top);
    if (!ret)
        ret = viv_node_flush(w->top);
    return ret ? viv_fail_os(err, -ret, "Could not empty %s", w->a->path) : 0;
}

static int commit(const struct args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct work w = {.a = a};
    int ret = open_chain(&w, &err);

    if (!ret)
        ret = grow_base(&w, &err);
    if (!ret)
        ret = keep_base(&w, &err);
    if (!ret)
        ret = copy(&w, &err);
    if (!ret)
        ret = empty_top(&w, &err);
    ret = img_close(&w.top, ret, &err);
    ret = img_close(&w.base, ret, &err);
    if (ret)
        return img_error("%s", err.text);
    if (!a->common.quiet)
        printf("Image committed.\n");
    return 0;
}

int img_commit(int argc, char **argv)
{
    struct args a = {0};
    int ret = parse(argc, argv, &a);

    return ret ? ret - 1 : commit(&a);
}
