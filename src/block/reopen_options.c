/* blockdev-reopen: what options say of nodes that are open. Options that are left out become their defaults, but for the nodes below: those
 * are named, described (and then reopened too), or another node takes their place. All nodes of the list change, or none. */
#include "block/options.h"

#include "block/build.h"
#include "block/graph.h"
#include "block/job.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define NESTING_MAX 32

struct list {
    GArray *changes; /* struct viv_node_change, in the order of being done */
    size_t done;
};

static void change_clear(gpointer p)
{
    viv_node_change_fini(p);
}

static const char *name_of(const struct viv_node *n)
{
    return n->name ? n->name : n->filename;
}

static int parse(struct list *l, struct viv_raw_opts *raw, struct viv_node *is, const struct viv_node_change *above, unsigned depth,
                 struct viv_err *err);

/* --- which node --- */

static int cannot(const char *option, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "Cannot change the option '%s'", option);
}

static bool is_driver(const struct viv_node *n, const char *name)
{
    return strcmp(n->drv->name, name) == 0 || (strcmp(n->drv->name, "file") == 0 && strcmp(name, "host_device") == 0);
}

/* `is`: the child that this describes; NULL: the node-name says which. */
static int find(struct viv_raw_opts *raw, struct viv_node *is, struct viv_node **out, struct viv_err *err)
{
    g_autofree char *driver = viv_raw_take(raw, "driver");
    const char *name = viv_raw_get(raw, "node-name"), *job;

    if (!driver && !is)
        return viv_fail(err, EINVAL, "Parameter 'driver' is missing");
    if (!is && !name)
        return viv_fail(err, EINVAL, "node-name not specified");
    *out = is ? is : viv_node_find(name);
    if (!*out)
        return viv_fail(err, ENOENT, "Failed to find node with node-name='%s'", name);
    if (is && name && (!is->name || strcmp(is->name, name) != 0))
        return cannot("node-name", err);
    if (driver && !is_driver(*out, driver))
        return cannot("driver", err);
    if (viv_job_has(*out, &job))
        return viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", name_of(*out), job);
    return 0;
}

/* --- what every node has --- */

static bool flag(const struct viv_opts *o, const char *key, bool otherwise)
{
    return viv_opts_given(o, key) ? viv_opts_bool((struct viv_opts *)o, key) : otherwise;
}

/* What is not said comes from above, as when a tree is built. */
static int read_common(struct viv_node_change *c, struct viv_opts *o, const struct viv_node_change *above, struct viv_err *err)
{
    const struct viv_node *n = c->n;
    struct viv_node_opts zeroes = {0};
    bool automatic = flag(o, "auto-read-only", false);
    int ret;

    if (flag(o, "force-share", false))
        return cannot("force-share", err);
    c->read_only = flag(o, "read-only", above ? above->read_only : false);
    c->stays_read_only = flag(o, "read-only", false);
    if (automatic && !c->stays_read_only && n->drv->protocol && !n->drv->filter) /* who stands above decides */
        c->read_only = n->read_only;
    c->keep_right = automatic;
    c->direct = flag(o, "cache.direct", above ? above->direct : false);
    c->no_flush = flag(o, "cache.no-flush", above ? above->no_flush : false);
    zeroes.unmap = c->unmap = viv_node_opt_discard(o, n->drv->protocol);
    ret = viv_node_opt_zeroes(o, &zeroes, err);
    c->detect_zeroes = zeroes.detect_zeroes;
    return ret;
}

/* --- the nodes below --- */

static bool is_below(const struct viv_node *top, const struct viv_node *n)
{
    if (!top || top == n)
        return top;
    for (unsigned i = 0; i < top->children; i++)
        if (is_below(top->child[i], n))
            return true;
    return is_below(top->file, n) || is_below(top->backing, n);
}

static int find_other(const char *ref, struct viv_node **out, struct viv_err *err)
{
    *out = viv_node_find(ref);
    return *out ? 0 : viv_fail(err, ENOENT, "Cannot find device='' nor node-name='%s'", ref);
}

static void replace(struct viv_node **place, struct viv_node *by)
{
    if (by)
        viv_node_get(by);
    viv_node_put(place);
    *place = by;
}

/* Whose file another node becomes. */
static bool has_own_driver(const struct viv_node *n)
{
    return !n->drv->protocol || strcmp(n->drv->name, "throttle") == 0;
}

static int take_file(struct list *l, struct viv_node_change *c, struct viv_raw_opts *raw, unsigned depth, struct viv_err *err)
{
    const char *key = c->n->drv->open_children ? c->n->drv->open_children->name : "file";
    g_autofree char *ref = viv_raw_take(raw, key);
    struct viv_raw_opts *sub = viv_raw_take_below(raw, key, viv_raw_what(raw));
    struct viv_node *other = NULL;
    int ret = 0;

    if (!c->n->file) {
        viv_raw_free(sub);
        return ref || sub ? viv_fail(err, EINVAL, "Parameter '%s' is unexpected", key) : 0;
    }
    if (sub)
        ret = ref ? cannot(key, err) : parse(l, sub, c->n->file, c, depth + 1, err);
    else if (!ref || !*ref)
        ret = viv_fail(err, EINVAL, ref ? "Cannot detach '%s'" : "Parameter '%s' is missing", key);
    else
        ret = find_other(ref, &other, err);
    viv_raw_free(sub);
    if (ret || !other || other == c->n->file)
        return ret;
    if (!has_own_driver(c->n))
        return viv_fail(err, ENOTSUP, "the '%s' of a %s node cannot be replaced", key, c->n->drv->name);
    if (is_below(other, c->n))
        return viv_fail(err, EINVAL, "Making '%s' a %s child of '%s' would create a cycle", ref, key, name_of(c->n));
    if ((other->parents || other->users) && !(other->read_only && c->read_only))
        return viv_fail(err, EBUSY, "node '%s' is %s already", ref, other->parents ? "below another image" : "a disk");
    if (other->read_only && other->stays_read_only && !c->read_only)
        return viv_fail(err, EACCES, "node '%s' is read-only: say read-only=on here too", ref);
    replace(&c->file, other);
    return 0;
}

static bool names_backing(struct viv_node *n)
{
    const char *name = NULL, *format = NULL;

    n->drv->backing(n, &name, &format);
    return n->backing || (name && *name);
}

static int take_backing(struct list *l, struct viv_node_change *c, struct viv_raw_opts *raw, unsigned depth, struct viv_err *err)
{
    g_autofree char *ref = NULL;
    struct viv_raw_opts *sub;
    struct viv_node *other = NULL;
    int ret = 0;

    if (!c->n->drv->backing)
        return 0; /* an unknown option there */
    ref = viv_raw_take(raw, "backing");
    sub = viv_raw_take_below(raw, "backing", viv_raw_what(raw));
    if (sub)
        ret = !c->n->backing || ref ? cannot("backing.driver", err) : parse(l, sub, c->n->backing, c, depth + 1, err);
    else if (!ref && names_backing(c->n))
        ret = viv_fail(err, EINVAL, "backing is missing for '%s'", name_of(c->n));
    else if (ref && *ref)
        ret = find_other(ref, &other, err);
    viv_raw_free(sub);
    if (ret || !ref || other == c->n->backing)
        return ret;
    if (other && is_below(other, c->n))
        return viv_fail(err, EINVAL, "Making '%s' a backing child of '%s' would create a cycle", ref, name_of(c->n));
    if (other && (!other->read_only || (other->drv->protocol && !other->drv->filter)))
        return viv_fail(err, EINVAL, "backing: node '%s' must be an image with read-only=on", ref);
    replace(&c->backing, other);
    return 0;
}

/* --- the driver's own --- */

/* The value that counts: one that is not there is the default. */
static const char *value_of(const struct viv_raw_opts *r, const struct viv_opt_def *d)
{
    const char *v = r ? viv_raw_get(r, d->name) : NULL;
    bool on;

    if (!v)
        v = d->def ? d->def : d->type == VIV_OPT_BOOL ? "off" : NULL;
    if (v && d->type == VIV_OPT_BOOL && !viv_parse_bool(v, &on, NULL))
        v = on ? "on" : "off";
    return v;
}

/* Files and most filters are as they were made. */
static int check_same(const struct viv_node *n, const struct viv_raw_opts *now, struct viv_err *err)
{
    for (const struct viv_opt_def *d = n->drv->open_opts; d && d->name; d++) {
        if (g_strcmp0(value_of(now, d), value_of(n->given, d)) == 0)
            continue;
        /* a file that was opened by its name alone */
        if (strcmp(d->name, "filename") == 0 && viv_raw_get(now, d->name) && strcmp(viv_raw_get(now, d->name), n->filename) == 0)
            continue;
        return cannot(d->name, err);
    }
    for (const char *const *list = n->drv->open_lists; list && *list; list++) {
        g_autofree char *first = g_strdup_printf("%s.0.", *list);

        for (size_t i = 0; i < viv_raw_count(now); i++) {
            const char *key, *value;

            viv_raw_at(now, i, &key, &value);
            if (g_str_has_prefix(key, first))
                return cannot(*list, err);
        }
    }
    return 0;
}

static int take_own(struct viv_node_change *c, struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("%s (%s)", viv_raw_what(raw), c->n->drv->name);
    g_autofree struct viv_opt_def *schema = viv_node_schema(c->n->drv);
    struct viv_opts *typed = NULL;
    int ret = viv_opts_from_raw(what, schema, raw, &typed, err);

    viv_opts_free(typed);
    if (!ret && !has_own_driver(c->n))
        return check_same(c->n, raw, err);
    if (ret)
        return ret;
    viv_raw_free(c->given);
    c->given = viv_raw_copy(raw);
    return 0;
}

/* --- a node of the list, or one described below it --- */

static int parse_into(struct list *l, struct viv_node_change *c, struct viv_raw_opts *raw, const struct viv_node_change *above,
                      unsigned depth, struct viv_err *err)
{
    struct viv_raw_opts *common = viv_raw_take_known(raw, viv_node_common_opts);
    struct viv_opts *o = NULL;
    int ret = viv_opts_from_raw(viv_raw_what(raw), viv_node_common_opts, common, &o, err);

    viv_raw_free(common);
    if (!ret)
        ret = read_common(c, o, above, err);
    viv_opts_free(o);
    if (!ret)
        ret = take_file(l, c, raw, depth, err);
    if (!ret)
        ret = take_backing(l, c, raw, depth, err);
    return ret ? ret : take_own(c, raw, err);
}

static int parse(struct list *l, struct viv_raw_opts *raw, struct viv_node *is, const struct viv_node_change *above, unsigned depth,
                 struct viv_err *err)
{
    struct viv_node_change c;
    struct viv_node *n = NULL;
    size_t at = l->changes->len;
    int ret = depth > NESTING_MAX ? viv_fail(err, ELOOP, "nodes inside nodes, more than %d deep", NESTING_MAX) : find(raw, is, &n, err);

    if (ret)
        return ret;
    viv_node_change_init(&c, n);
    ret = parse_into(l, &c, raw, above, depth, err);
    if (ret) {
        viv_node_change_fini(&c);
        return ret;
    }
    /* What becomes writable does after what it stands on, what becomes read-only before. */
    if (c.read_only)
        g_array_insert_val(l->changes, at, c);
    else
        g_array_append_val(l->changes, c);
    return 0;
}

/* --- all of it --- */

static int run(void *opaque, struct viv_err *err)
{
    struct list *l = opaque;
    int ret = 0;

    for (l->done = 0; l->done < l->changes->len && !ret; l->done += !ret)
        ret = viv_node_exchange(&g_array_index(l->changes, struct viv_node_change, l->done), err);
    while (ret && l->done)
        viv_node_exchange(&g_array_index(l->changes, struct viv_node_change, --l->done), NULL);
    return ret;
}

/* An image has the name of its file. In the loop's thread: others read it there. */
static void rename_images(const struct list *l)
{
    for (guint i = 0; i < l->changes->len; i++) {
        struct viv_node_change *c = &g_array_index(l->changes, struct viv_node_change, i);

        if (c->file == c->n->file)
            continue;
        g_free(c->n->filename);
        c->n->filename = g_strdup(c->n->file->filename);
    }
}

int viv_blockdev_reopen(struct viv_raw_opts *raw, struct viv_err *err)
{
    struct list l = {.changes = g_array_new(FALSE, FALSE, sizeof(struct viv_node_change))};
    int ret = 0;

    g_array_set_clear_func(l.changes, change_clear);
    for (unsigned i = 0; !ret; i++) {
        g_autofree char *key = g_strdup_printf("%u", i);
        struct viv_raw_opts *one = viv_raw_take_below(raw, key, viv_raw_what(raw));

        if (!one)
            break;
        ret = parse(&l, one, NULL, NULL, 0, err);
        viv_raw_free(one);
    }
    if (!ret)
        ret = viv_reopen_check((struct viv_node_change *)(void *)l.changes->data, l.changes->len, err);
    if (!ret && l.changes->len)
        ret = viv_graph_run(run, &l, err);
    if (!ret)
        rename_images(&l);
    g_array_free(l.changes, TRUE);
    return ret;
}
