/* viv-img amend: other options for an image that exists. */
#include "cmd/img.h"
#include "cmd/img_progress.h"

#include <errno.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *path;
    bool force, writethrough;
};

enum { OPT_FORCE = IMG_OPT_OWN };

static int take(void *args, int c)
{
    struct args *a = args;

    if (c == 't')
        return img_parse_cache("Invalid cache option", optarg, &a->common.o, &a->writethrough);
    a->force = true;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"force", no_argument, NULL, OPT_FORCE}, {0}};
    static const struct img_syntax syntax = {":hf:o:pqt:", longs, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (!a->common.create->len)
        return 1 + img_usage("Must specify options (-o)");
    a->path = optind == argc - 1 ? argv[optind] : NULL;
    if (img_wants_help(a->common.create) && a->common.format)
        return 1 + img_amend_help(a->common.format);
    if (!a->path)
        return 1 + img_error("Expecting one image file name");
    return 0;
}

/* Does the format know it for new images only? */
static int explain(const struct viv_blk_driver *drv, const char *text, struct viv_err *err)
{
    g_auto(GStrv) word = g_strsplit(text, ",", -1);

    for (char **w = word; *w; w++) {
        bool known = false;

        (*w)[strcspn(*w, "=")] = 0;
        for (const struct viv_opt_def *d = drv->amend_opts; d->name; d++)
            known |= strcmp(d->name, *w) == 0;
        if (!known && viv_create_knows(drv, *w))
            return viv_fail(err, EINVAL, "Invalid parameter '%s'\nThis option is only supported for image creation", *w);
    }
    return 0;
}

static int amend(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    const struct viv_blk_driver *drv = n->drv;
    struct img_progress progress;
    struct viv_opts *opts = NULL;
    int ret;

    if (!drv->amend)
        return viv_fail(err, ENOTSUP, "Format driver '%s' does not support option amendment", drv->name);
    ret = explain(drv, a->common.create->str, err);
    if (!ret)
        ret = viv_opts_parse(drv->name, drv->amend_opts, NULL, a->common.create->str, &opts, err);
    if (ret)
        return ret;
    img_progress_start(&progress, a->common.progress, 1);
    ret = drv->amend(n, opts, a->force, err);
    img_progress_end(&progress, !ret);
    viv_opts_free(opts);
    return ret;
}

static int run(const struct args *a)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = img_open(&a->common, a->path, a->common.format, &a->common.o, &n, &err);

    if (!ret && img_wants_help(a->common.create)) {
        ret = img_amend_help(n->drv->name);
        viv_node_put(&n);
        return ret;
    }
    if (!ret)
        ret = amend(a, n, &err);
    ret = img_close(&n, ret, &err);
    return ret ? img_error("%s", err.text) : 0;
}

int img_amend(int argc, char **argv)
{
    struct args a = {.common.create = g_string_new(NULL)};
    int ret = parse(argc, argv, &a);

    ret = ret ? ret - 1 : run(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
