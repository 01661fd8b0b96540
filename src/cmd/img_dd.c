/* viv-img dd: a part of one image into a new one. */
#include "cmd/img.h"
#include "cmd/img_copy.h"

#include "base/checked.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *out_format, *in, *out;
    uint64_t block, count, skip; /* count UINT64_MAX: all */
};

static int take(void *args, int c)
{
    if (c == 'O')
        ((struct args *)args)->out_format = optarg;
    return 0;
}

static int take_operand(struct args *a, const char *word)
{
    static const char *const names[] = {"if", "of", "bs", "count", "skip", NULL};
    const char *value = strchr(word, '=');
    g_autofree char *name = value ? g_strndup(word, value - word) : g_strdup(word);

    if (!value || !g_strv_contains(names, name))
        return img_error("unrecognized operand %s", name);
    value++;
    if (strcmp(name, "if") == 0)
        a->in = value;
    else if (strcmp(name, "of") == 0)
        a->out = value;
    else if (strcmp(name, "count") == 0)
        return img_parse_size("count", value, &a->count);
    else if (strcmp(name, "skip") == 0)
        return img_parse_size("skip", value, &a->skip);
    else if (img_parse_size("bs", value, &a->block))
        return 1;
    if (a->block < 1 || a->block > INT_MAX)
        return img_error("Invalid bs specified. Must be between 1 and %d.", INT_MAX);
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:O:U", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    for (int i = optind; i < argc; i++)
        if (take_operand(a, argv[i]))
            return 2;
    if (!a->in || !a->out)
        return 1 + img_error("Must specify both input and output files");
    return 0;
}

/* The bytes [*from, *from + return). What is not there is not asked for. */
static uint64_t part(const struct args *a, uint64_t size, uint64_t *from)
{
    uint64_t want;

    if (!viv_mul_u64(a->skip, a->block, from) || *from > size)
        *from = size;
    if (!viv_mul_u64(a->count, a->block, &want))
        want = UINT64_MAX;
    return MIN(want, size - *from);
}

static int copy(struct img_target *t, const struct args *a, struct img_copy *c, struct viv_err *err)
{
    struct viv_node_opts o = {.unmap = true, .no_flush = true}; /* one flush at the end */
    int ret = img_target_make(t, a->out, a->out_format, &o, true, err);

    if (ret)
        return ret;
    c->target = t->node;
    c->target_zero = img_target_is_zero(t);
    ret = img_copy(c, err);
    return ret ? ret : img_target_finish(t, t->node, false, err);
}

static int dd(const struct args *a)
{
    struct img_progress silent = {0};
    struct img_copy c = {.sparse = 4096, .threads = 4, .progress = &silent};
    struct img_create_opts co = {.text = a->common.create};
    struct viv_err err = VIV_ERR_INIT;
    struct img_target t = {0};
    uint64_t size;
    int ret = img_open(&a->common, a->in, a->common.format, &a->common.o, &c.source, &err);

    if (!ret) {
        c.len = part(a, viv_node_size(c.source), &c.source_offset);
        if (c.source_offset == viv_node_size(c.source) && a->skip)
            img_error("%s: cannot skip to specified offset", a->in);
        size = viv_align_down(c.len + 511, 512);
        ret = img_target_plan(&t, a->out, a->out_format, &co, size, &err);
    }
    if (!ret)
        ret = copy(&t, a, &c, &err);
    viv_node_put(&c.source);
    img_target_fini(&t);
    return ret ? img_error("%s", err.text) : 0;
}

int img_dd(int argc, char **argv)
{
    struct args a = {.common.o.read_only = true, .out_format = "raw", .block = 512, .count = UINT64_MAX};
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    a.common.create = g_string_new(NULL);
    ret = dd(&a);
    g_string_free(a.common.create, TRUE);
    return ret;
}
