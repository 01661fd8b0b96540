/* transaction: several actions at one moment, all or none. Each begins in the order of the list (files are made, jobs are listed), then all change
 * what is there while no request is under way, and are undone in reverse when one fails. */
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "base/log.h"
#include "block/blk.h"
#include "block/graph.h"
#include "block/job.h"
#include "block/registry.h"

#include <errno.h>
#include <string.h>

#define ACTIONS_MAX 1024

int viv_mon_check_quiet(struct viv_err *err)
{
    return viv_graph_check_quiet(err);
}

void viv_mon_undo_failed(const char *action, const struct viv_err *why)
{
    viv_error("transaction: '%s' could not be undone: %s", action, why->text);
}

int viv_mon_take_node(const char *device, const char *name, struct viv_node **out, struct viv_err *err)
{
    struct viv_drive *d = device && *device ? viv_drive_find(device) : NULL;

    *out = NULL;
    if (name && *name)
        *out = viv_node_find(name);
    else if (d && d->blk)
        *out = viv_blk_node(d->blk);
    return *out ? 0 : viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", device ? device : "", name ? name : "");
}

int viv_mon_take_opts(const char *what, const struct viv_opt_def *def, struct viv_raw_opts *raw, struct viv_opts **out, struct viv_err *err)
{
    *out = NULL;
    return viv_opts_from_raw(what, def, raw, out, err);
}

/* --- abort --- */

static int fail(struct viv_mon_action *a, struct viv_err *err)
{
    return viv_fail(err, ECANCELED, "Transaction aborted using Abort action");
}

static int begin_abort(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    return 0;
}

static const struct viv_mon_action_type action_abort = {.name = "abort", .grouped = true, .begin = begin_abort, .change = fail};

static const struct viv_mon_action_type *const types[] = {
    &action_abort, &viv_mon_action_snapshot, &viv_mon_action_snapshot_sync, &viv_mon_action_snapshot_internal,
    &viv_mon_action_backup, &viv_mon_action_drive_backup, &viv_mon_action_bitmap_add, &viv_mon_action_bitmap_remove,
    &viv_mon_action_bitmap_clear, &viv_mon_action_bitmap_enable, &viv_mon_action_bitmap_disable, &viv_mon_action_bitmap_merge,
};

/* --- running them --- */

struct list {
    GArray *actions; /* struct viv_mon_action, those that began */
};

static struct viv_mon_action *at(const struct list *l, guint i)
{
    return &g_array_index(l->actions, struct viv_mon_action, i);
}

/* The graph's thread. */
static int change_all(void *opaque, struct viv_err *err)
{
    struct list *l = opaque;
    int ret = 0;

    for (guint i = 0; i < l->actions->len && !ret; i++) {
        ret = at(l, i)->type->change(at(l, i), err);
        at(l, i)->changed = !ret;
    }
    for (guint i = l->actions->len; ret && i-- > 0;) {
        if (at(l, i)->changed && at(l, i)->type->undo)
            at(l, i)->type->undo(at(l, i));
        at(l, i)->changed = false;
    }
    return ret;
}

static int begin(struct list *l, const struct viv_mon_action_type *type, struct viv_raw_opts *raw, struct viv_job_group *g, struct viv_err *err)
{
    struct viv_mon_action a = {.type = type, .group = g, .state = g_malloc0(MAX(type->size, 1))};
    int ret;

    g_array_append_val(l->actions, a);
    viv_graph_enter(); /* it looks into nodes, which jobs may be about to open anew */
    ret = type->begin(at(l, l->actions->len - 1), raw, err);
    viv_graph_leave();
    return ret;
}

/* Whatever has come of it. The first error stays. */
static int finish(struct list *l, int ret, struct viv_err *err)
{
    struct viv_err later = VIV_ERR_INIT;

    for (guint i = 0; i < l->actions->len; i++) {
        struct viv_mon_action *a = at(l, i);
        int r = a->type->end ? a->type->end(a, !ret, ret ? &later : err) : 0;

        ret = ret ? ret : r;
        viv_err_clear(&later);
        g_free(a->state);
    }
    g_array_free(l->actions, TRUE);
    return ret;
}

static void list_init(struct list *l)
{
    l->actions = g_array_new(FALSE, TRUE, sizeof(struct viv_mon_action));
}

static int run(struct list *l, struct viv_err *err)
{
    return viv_graph_run(change_all, l, err);
}

int viv_mon_act(const struct viv_mon_action_type *type, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct list l;
    int ret = viv_mon_check_quiet(err);

    if (ret)
        return ret;
    list_init(&l);
    ret = begin(&l, type, raw, NULL, err);
    if (!ret)
        ret = run(&l, err);
    return finish(&l, ret, err);
}

/* --- the command --- */

static int find_type(const char *name, bool grouped, const struct viv_mon_action_type **out, struct viv_err *err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        if (strcmp(types[i]->name, name) != 0)
            continue;
        *out = types[i];
        return !grouped || types[i]->grouped
                   ? 0
                   : viv_fail(err, EINVAL, "Action '%s' does not support Transaction property completion-mode = grouped", name);
    }
    return viv_fail(err, EINVAL, "Parameter 'type' does not accept value '%s'", name);
}

static int begin_one(struct list *l, struct viv_raw_opts *raw, unsigned i, struct viv_job_group *g, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(raw, "type");
    const struct viv_mon_action_type *type = NULL;
    struct viv_raw_opts *data;
    int ret = name ? find_type(name, g, &type, err) : viv_fail(err, EINVAL, "Parameter 'actions[%u].type' is missing", i);

    if (ret)
        return ret;
    data = viv_raw_take_below(raw, "data", name);
    if (!data)
        data = viv_raw_new(name); /* an object with nothing in it leaves no pairs */
    if (viv_raw_count(raw))
        ret = viv_fail(err, EINVAL, "actions[%u] may hold only 'type' and 'data'", i);
    else
        ret = begin(l, type, data, g, err);
    viv_raw_free(data);
    return ret;
}

static int begin_all(struct list *l, struct viv_raw_opts *actions, struct viv_job_group *g, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; !ret && viv_raw_count(actions); i++) {
        g_autofree char *key = g_strdup_printf("%u", i);
        struct viv_raw_opts *one = viv_raw_take_below(actions, key, "transaction");

        if (!one)
            return viv_fail(err, EINVAL, "Parameter 'actions[%u].type' is missing", i);
        if (i >= ACTIONS_MAX)
            ret = viv_fail(err, E2BIG, "more than %d actions in one transaction", ACTIONS_MAX);
        else
            ret = begin_one(l, one, i, g, err);
        viv_raw_free(one);
    }
    return ret;
}

static int take_mode(struct viv_raw_opts *raw, bool *grouped, struct viv_err *err)
{
    g_autofree char *mode = viv_raw_take(raw, "properties.completion-mode");
    const char *key, *value;

    *grouped = mode && strcmp(mode, "grouped") == 0;
    if (mode && !*grouped && strcmp(mode, "individual") != 0)
        return viv_fail(err, EINVAL, "Parameter 'completion-mode' does not accept value '%s'", mode);
    for (size_t i = 0; i < viv_raw_count(raw); i++) {
        viv_raw_at(raw, i, &key, &value);
        if (!g_str_has_prefix(key, "actions."))
            return viv_fail(err, EINVAL, "Parameter '%s' is unexpected", key);
    }
    return 0;
}

static int transaction(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    struct viv_raw_opts *actions;
    struct viv_job_group *g;
    struct list l;
    bool grouped;
    int ret = viv_mon_check_quiet(err);

    if (!ret)
        ret = take_mode(raw, &grouped, err);
    actions = ret ? NULL : viv_raw_take_below(raw, "actions", "transaction");
    if (!actions)
        return ret;
    g = grouped ? viv_job_group_new() : NULL;
    list_init(&l);
    ret = begin_all(&l, actions, g, err);
    if (!ret)
        ret = run(&l, err);
    ret = finish(&l, ret, err);
    viv_job_group_put(g);
    viv_raw_free(actions);
    return ret;
}

const struct viv_mon_cmd viv_mon_transactions[] = {
    {.qmp = "transaction", .help = "do several things to disks at one moment, all or none", .raw = transaction, .takes = "TransactionArguments"},
    {0},
};
