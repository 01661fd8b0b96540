/* block-dirty-bitmap-*: commands, and actions of transactions, which keep what the bitmap was. */
#include "mon/bitmaps.h"
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "block/graph.h"

#include <errno.h>
#include <string.h>

struct action {
    enum viv_mon_bitmap_verb verb;
    struct viv_mon_bitmap_args args;
    struct viv_mon_bitmap_saved *saved;
};

static void args_free(struct viv_mon_bitmap_args *a)
{
    for (unsigned i = 0; i < a->sources; i++) {
        g_free(a->source[i].name);
        viv_node_put(&a->source[i].n);
    }
    g_free(a->source);
    g_free(a->name);
    viv_node_put(&a->n);
}

/* --- arguments --- */

static const struct viv_opt_def add_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    {.name = "granularity", .type = VIV_OPT_INT, .min = 0, .max = UINT32_MAX},
    {.name = "persistent", .type = VIV_OPT_BOOL},
    {.name = "disabled", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};
static const struct viv_opt_def name_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};
static const struct viv_opt_def merge_args[] = {
    {.name = "node", .type = VIV_OPT_STR, .required = true},
    {.name = "target", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static int take_node(const char *name, bool for_new, struct viv_node **out, struct viv_err *err)
{
    *out = viv_mon_find_node(name);
    if (!*out)
        return for_new ? viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", name, name)
                       : viv_fail(err, EINVAL, "Node '%s' not found", name);
    viv_node_get(*out);
    return 0;
}

/* "bitmaps": names of the same node, or {"node": n, "name": b}. */
static int take_source(struct viv_mon_bitmap_args *a, struct viv_raw_opts *list, unsigned i, struct viv_err *err)
{
    g_autofree char *key = g_strdup_printf("%u", i), *name = viv_raw_take(list, key), *node = NULL, *keys = NULL;
    struct viv_node *n = a->n;
    int ret = 0;

    if (!name) {
        keys = g_strdup_printf("%s.name", key);
        name = viv_raw_take(list, keys);
        g_free(keys);
        keys = g_strdup_printf("%s.node", key);
        node = viv_raw_take(list, keys);
    }
    if (!name || (keys && !node))
        return viv_fail(err, EINVAL, "Parameter 'bitmaps[%u].%s' is missing", i, name ? "node" : "name");
    if (node)
        ret = take_node(node, false, &n, err);
    else
        viv_node_get(n);
    if (ret)
        return ret;
    a->source = g_realloc(a->source, (a->sources + 1) * sizeof(*a->source));
    a->source[a->sources].n = n;
    a->source[a->sources++].name = g_steal_pointer(&name);
    return 0;
}

static int take_sources(struct viv_mon_bitmap_args *a, struct viv_raw_opts *list, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; list && viv_raw_count(list) && !ret; i++)
        ret = take_source(a, list, i, err);
    return ret;
}

static int parse(enum viv_mon_bitmap_verb verb, const char *what, struct viv_raw_opts *raw, struct viv_mon_bitmap_args *a, struct viv_err *err)
{
    bool add = verb == VIV_BITMAP_ADD, merge = verb == VIV_BITMAP_MERGE;
    struct viv_raw_opts *list = merge ? viv_raw_take_below(raw, "bitmaps", what) : NULL;
    struct viv_opts *o;
    int ret = viv_mon_take_opts(what, add ? add_args : merge ? merge_args : name_args, raw, &o, err);

    if (!ret)
        ret = take_node(viv_opts_str(o, "node"), add, &a->n, err);
    if (!ret)
        a->name = g_strdup(viv_opts_str(o, merge ? "target" : "name"));
    if (!ret && add) {
        a->has_granularity = viv_opts_given(o, "granularity");
        a->granularity = (uint32_t)viv_opts_int(o, "granularity");
        a->persistent = viv_opts_bool(o, "persistent");
        a->disabled = viv_opts_bool(o, "disabled");
    }
    if (!ret)
        ret = take_sources(a, list, err);
    viv_raw_free(list);
    viv_opts_free(o);
    return ret;
}

/* --- in a transaction --- */

static int change(struct viv_mon_action *a, struct viv_err *err)
{
    struct action *b = a->state;
    int ret = viv_mon_bitmap_save(b->args.n, b->args.name, &b->saved, err);

    return ret ? ret : viv_mon_bitmap_do(b->verb, &b->args, err);
}

static void undo(struct viv_mon_action *a)
{
    struct action *b = a->state;
    struct viv_err err = VIV_ERR_INIT;

    if (viv_mon_bitmap_restore(b->args.n, b->args.name, b->saved, &err))
        viv_mon_undo_failed(a->type->name, &err);
}

static int end(struct viv_mon_action *a, bool done, struct viv_err *err)
{
    struct action *b = a->state;

    viv_mon_bitmap_saved_free(b->saved);
    args_free(&b->args);
    return 0;
}

/* --- alone: nothing to undo, and nobody has to wait for it --- */

static int run(enum viv_mon_bitmap_verb verb, const char *what, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_mon_bitmap_args a = {0};
    int ret = viv_mon_check_quiet(err);

    if (!ret)
        ret = parse(verb, what, raw, &a, err);
    viv_graph_enter(); /* jobs close and open drivers without the device lock */
    if (!ret)
        ret = viv_mon_bitmap_do(verb, &a, err);
    viv_graph_leave();
    args_free(&a);
    return ret;
}

#define BITMAP(word, VERB)                                                                                              \
    static int begin_##word(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)                    \
    {                                                                                                                   \
        ((struct action *)a->state)->verb = VERB;                                                                       \
        return parse(VERB, a->type->name, raw, &((struct action *)a->state)->args, err);                                \
    }                                                                                                                   \
    const struct viv_mon_action_type viv_mon_action_bitmap_##word = {                                                   \
        .name = "block-dirty-bitmap-" #word, .size = sizeof(struct action), .begin = begin_##word,                      \
        .change = change, .undo = undo, .end = end};                                                                    \
    static int command_##word(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)                           \
    {                                                                                                                   \
        return run(VERB, "block-dirty-bitmap-" #word, raw, err);                                                        \
    }

BITMAP(add, VIV_BITMAP_ADD)
BITMAP(remove, VIV_BITMAP_REMOVE)
BITMAP(clear, VIV_BITMAP_CLEAR)
BITMAP(enable, VIV_BITMAP_ENABLE)
BITMAP(disable, VIV_BITMAP_DISABLE)
BITMAP(merge, VIV_BITMAP_MERGE)

const struct viv_mon_cmd viv_mon_bitmaps[] = {
    {.qmp = "block-dirty-bitmap-add", .help = "make a dirty bitmap", .takes = "BlockDirtyBitmapAdd", .raw = command_add},
    {.qmp = "block-dirty-bitmap-remove", .help = "delete a dirty bitmap", .takes = "BlockDirtyBitmap", .raw = command_remove},
    {.qmp = "block-dirty-bitmap-clear", .help = "forget what a dirty bitmap has recorded", .takes = "BlockDirtyBitmap", .raw = command_clear},
    {.qmp = "block-dirty-bitmap-enable", .help = "let a dirty bitmap record writes", .takes = "BlockDirtyBitmap", .raw = command_enable},
    {.qmp = "block-dirty-bitmap-disable", .help = "let a dirty bitmap record no more writes", .takes = "BlockDirtyBitmap", .raw = command_disable},
    {.qmp = "block-dirty-bitmap-merge", .help = "add what bitmaps have recorded to another one", .takes = "BlockDirtyBitmapMerge", .raw = command_merge},
    {0},
};
