/* The builder: one tree of options becomes nodes.
 *
 * Options are pairs; those of a node below have its name in front ("file.filename", "backing.file.driver"). build() takes one node's
 * pairs apart: what every node has, what belongs to the nodes below (built first, by build() again), and the rest, which must be
 * the driver's own. -drive, -blockdev, json: and --image-opts differ only in where the pairs come from. */
#include "block/build.h"
#include "block/graph.h"
#include "block/options.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define NESTING_MAX  32
#define CHILDREN_MAX 4

static const struct viv_child_def just_file[] = {{.name = "file"}, {0}};

struct build {
    struct viv_raw_opts *r;           /* this node's pairs that nobody has taken yet */
    const struct viv_blk_driver *drv; /* NULL: an image whose format is to be probed */
    struct viv_opts *common;
    struct viv_node_opts no;
    const struct viv_child_def *def;  /* NULL: nothing stands below */
    struct below {
        char *ref;                /* a node that exists, */
        struct viv_raw_opts *sub; /* or its description */
    } below[CHILDREN_MAX];
    struct viv_node *child[CHILDREN_MAX + 1];
    struct viv_raw_opts *backing;
    struct viv_opt_def *schema;       /* of `no.own` */
    struct viv_raw_opts *given;       /* what is in it */
    bool stays_read_only;
};

static int build(struct viv_raw_opts *r, bool image, const struct viv_node_opts *wish, struct viv_node **out,
                 struct viv_err *err);

static const char *what_of(const struct build *b)
{
    return viv_raw_what(b->r);
}

/* --- which driver --- */

static int fail_driver(const struct build *b, const char *name, struct viv_err *err)
{
    g_autofree char *formats = viv_blk_driver_names(false), *files = viv_blk_driver_names(true);

    if (viv_blk_instead(name))
        return viv_fail(err, ENOTSUP, "%s: driver '%.80s': %s", what_of(b), name, viv_blk_instead(name));
    return viv_fail(err, ENOTSUP, "%s: driver '%.80s' is not implemented yet; %s %s work", what_of(b), name, formats, files);
}

/* A file name that is a description ("json:...", "blkdebug:...") in place of that. */
static int expand_name(struct build *b, struct viv_err *err)
{
    g_autofree char *name = g_strdup(viv_raw_get(b->r, "filename"));
    const char *driver = viv_raw_get(b->r, "driver");
    const struct viv_blk_driver *d = name && !driver ? viv_blk_driver_of_name(name) : NULL;
    struct viv_raw_opts *means = NULL;
    int ret;

    if (name && !driver && g_str_has_prefix(name, "json:"))
        ret = viv_raw_parse(what_of(b), NULL, name + 5, &means, err);
    else if (d && d->parse_name)
        ret = d->parse_name(name, means = viv_raw_new(what_of(b)), err);
    else
        return 0;
    if (!ret) {
        g_free(viv_raw_take(b->r, "filename"));
        viv_raw_add_absent(b->r, means);
    }
    viv_raw_free(means);
    return ret;
}

/* Where a file is expected its name says the driver. */
static int driver_of_file(struct build *b, struct viv_err *err)
{
    const char *name = viv_raw_get(b->r, "filename");

    if (!name)
        return viv_fail(err, EINVAL, "%s: filename is missing", what_of(b));
    b->drv = viv_blk_driver_of_name(name);
    return b->drv ? 0 : viv_node_refuse_name(name, err);
}

static int pick_driver(struct build *b, bool image, struct viv_err *err)
{
    g_autofree char *name = NULL;
    int ret = expand_name(b, err);

    if (ret)
        return ret;
    name = viv_raw_take(b->r, "driver");
    if (!name)
        return image ? 0 : driver_of_file(b, err);
    b->drv = viv_blk_driver_find(name);
    return b->drv ? 0 : fail_driver(b, name, err);
}

/* --- what every node has --- */

static bool flag(const struct build *b, const char *key, bool otherwise)
{
    return viv_opts_given(b->common, key) ? viv_opts_bool(b->common, key) : otherwise;
}

bool viv_node_opt_discard(struct viv_opts *o, bool otherwise)
{
    const char *v = viv_opts_str(o, "discard");

    return viv_opts_given(o, "discard") ? strcmp(v, "unmap") == 0 || strcmp(v, "on") == 0 : otherwise;
}

int viv_node_opt_zeroes(struct viv_opts *o, struct viv_node_opts *no, struct viv_err *err)
{
    const char *v = viv_opts_str(o, "detect-zeroes");

    if (!viv_opts_given(o, "detect-zeroes"))
        return 0;
    no->detect_zeroes = strcmp(v, "unmap") == 0 ? VIV_DETECT_UNMAP : strcmp(v, "on") == 0 ? VIV_DETECT_ON : VIV_DETECT_OFF;
    if (no->detect_zeroes == VIV_DETECT_UNMAP && !no->unmap)
        return viv_fail(err, EINVAL, "%s: detect-zeroes=unmap needs discard=unmap", viv_opts_what(o));
    return 0;
}

static int read_read_only(struct build *b, struct viv_err *err)
{
    struct viv_node_opts *no = &b->no;
    bool automatic = flag(b, "auto-read-only", false);

    b->stays_read_only = flag(b, "read-only", false);
    if (!flag(b, "read-only", false) || no->read_only)
        return 0;
    if (!automatic)
        return viv_fail(err, EACCES, "%s: read-only=on, and %s writes", what_of(b),
                        no->nesting ? "what stands above (say read-only=on there)" : "this");
    no->read_only = true;
    return 0;
}

static int read_common(struct build *b, struct viv_err *err)
{
    struct viv_raw_opts *mine = viv_raw_take_known(b->r, viv_node_common_opts);
    struct viv_node_opts *no = &b->no;
    int ret = viv_opts_from_raw(what_of(b), viv_node_common_opts, mine, &b->common, err);

    viv_raw_free(mine);
    if (!ret)
        ret = read_read_only(b, err);
    if (ret)
        return ret;
    no->direct = flag(b, "cache.direct", no->direct);
    no->no_flush = flag(b, "cache.no-flush", no->no_flush);
    no->force_share = flag(b, "force-share", no->force_share);
    no->unmap = viv_node_opt_discard(b->common, no->unmap);
    if (viv_opts_given(b->common, "node-name"))
        no->node_name = viv_opts_str(b->common, "node-name");
    if (no->force_share && !no->read_only)
        return viv_fail(err, EINVAL, "%s: force-share=on needs read-only=on", what_of(b));
    return viv_node_opt_zeroes(b->common, no, err);
}

/* --- the nodes below --- */

/* A node that exists: nobody else's, unless all only read. Options about files have no effect on it. */
static int use_node(struct build *b, const char *name, const char *ref, struct viv_node **out, struct viv_err *err)
{
    struct viv_node *n = viv_node_find(ref);
    const struct viv_node_opts *no = &b->no;

    if (!n)
        return viv_fail(err, ENOENT, "%s: %s: there is no node '%s'", what_of(b), name, ref);
    if ((n->parents || n->users) && !(n->read_only && no->read_only))
        return viv_fail(err, EBUSY, "%s: node '%s' is %s already", what_of(b), ref,
                        n->parents ? "below another image" : "a disk");
    if (!(n->read_only && no->read_only) && viv_node_check_shown(n, what_of(b), err))
        return -EBUSY;
    if (!no->read_only && viv_node_wake_writable(n, err))
        return -EACCES;
    if (n->read_only && !no->read_only)
        return viv_fail(err, EACCES, "%s: node '%s' is read-only: say read-only=on here too", what_of(b), ref);
    if (flag(b, "cache.direct", n->direct) != n->direct || flag(b, "cache.no-flush", n->no_flush) != n->no_flush)
        return viv_fail(err, EINVAL, "%s: cache options do not change node '%s': say it where that node is made", what_of(b), ref);
    viv_node_get(n);
    *out = n;
    return 0;
}

static struct viv_raw_opts *take_below(struct build *b, const char *name)
{
    g_autofree char *what = g_strdup_printf("%s%c%s", what_of(b), b->no.nesting ? '.' : ' ', name);

    return viv_raw_take_below(b->r, name, what);
}

/* The pairs of one child are its own from here on. */
static void take_child(struct build *b, unsigned i)
{
    b->below[i].ref = viv_raw_take(b->r, b->def[i].name);
    b->below[i].sub = take_below(b, b->def[i].name);
}

static int open_child(struct build *b, unsigned i, struct viv_err *err)
{
    struct viv_node_opts wish = viv_node_file_wish(&b->no);
    const struct viv_child_def *d = &b->def[i];
    const struct below *c = &b->below[i];

    wish.nesting++;
    if (c->ref && c->sub)
        return viv_fail(err, EINVAL, "%s: %s=%s names a node, %s.* describes one: they exclude each other", what_of(b), d->name,
                        c->ref, d->name);
    if (c->ref)
        return use_node(b, d->name, c->ref, &b->child[i], err);
    if (c->sub)
        return build(c->sub, d->image, &wish, &b->child[i], err);
    return d->optional ? 0 : viv_fail(err, EINVAL, "%s: %s.filename is missing", what_of(b), d->name);
}

/* Described, it is built when the image that it belongs to is open: that may have to say which file it is. */
static int take_backing(struct build *b, struct viv_err *err)
{
    g_autofree char *ref = viv_raw_take(b->r, "backing");
    struct viv_node *n = ref && *ref ? viv_node_find(ref) : NULL;

    b->backing = take_below(b, "backing");
    if (!ref && !b->backing)
        return 0;
    if (!b->drv->backing)
        return viv_fail(err, EINVAL, "%s: %s images have no backing file", what_of(b), b->drv->name);
    if (ref && b->backing)
        return viv_fail(err, EINVAL, "%s: backing and backing.* exclude each other", what_of(b));
    if (ref && *ref && !n)
        return viv_fail(err, ENOENT, "%s: backing: there is no node '%s'", what_of(b), ref);
    if (n && n->drv->protocol && !n->drv->filter)
        return viv_fail(err, EINVAL, "%s: backing: node '%s' is a bare file: put an image on top of it", what_of(b), ref);
    if (n && !n->read_only && n->parents)
        return viv_fail(err, EBUSY, "%s: backing: node '%s' is below another one, which may write it: take that one", what_of(b), ref);
    b->no.backing_node = n;
    b->no.no_backing |= ref && !*ref;
    b->no.backing = b->backing;
    return 0;
}

/* --- the driver's own --- */

static void take_lists(struct build *b)
{
    for (const char *const *l = b->drv->open_lists; l && *l; l++) {
        struct viv_raw_opts *items = viv_raw_take_below(b->r, *l, what_of(b));

        for (size_t i = 0; items && i < viv_raw_count(items); i++) {
            const char *key, *value;
            g_autofree char *full = NULL;

            viv_raw_at(items, i, &key, &value);
            full = g_strdup_printf("%s.%s", *l, key);
            if (!b->no.own_lists)
                b->no.own_lists = viv_raw_new(what_of(b));
            viv_raw_set(b->no.own_lists, full, value);
        }
        viv_raw_free(items);
    }
}

/* All that a node of this driver takes: what is taken before the driver's own is there to be listed when something is unknown. */
struct viv_opt_def *viv_node_schema(const struct viv_blk_driver *drv)
{
    GArray *a = g_array_new(TRUE, TRUE, sizeof(struct viv_opt_def));
    const struct viv_child_def *child = drv->open_children ? drv->open_children : drv->protocol ? NULL : just_file;
    static const struct viv_opt_def backing = {"backing", VIV_OPT_STR, "not the backing file that the image names: as file; empty: none"};

    for (; child && child->name; child++) {
        struct viv_opt_def d = {child->name, VIV_OPT_STR, "the node below: a node-name, or its options with this and a dot in front"};

        g_array_append_val(a, d);
    }
    if (drv->backing)
        g_array_append_val(a, backing);
    for (const struct viv_opt_def *d = drv->open_opts; d && d->name; d++)
        g_array_append_val(a, *d);
    for (const struct viv_opt_def *d = viv_node_common_opts; d->name; d++)
        g_array_append_val(a, *d);
    return (struct viv_opt_def *)g_array_free(a, FALSE);
}

/* An option of the driver's, if it has that one. */
static const char *own_str(const struct build *b, const char *key)
{
    return viv_opts_given(b->no.own, key) ? viv_opts_str(b->no.own, key) : NULL;
}

static int read_own(struct build *b, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("%s (%s)", what_of(b), b->drv->name);
    const char *luks, *inner, *format;
    int ret;

    take_lists(b);
    if (!b->drv->protocol && viv_raw_get(b->r, "filename"))
        return viv_fail(err, EINVAL, "%s: 'filename' is for files; an image has file.filename or file=NODE", what_of(b));
    b->schema = viv_node_schema(b->drv);
    ret = viv_opts_from_raw(what, b->schema, b->r, &b->no.own, err);
    if (ret)
        return ret;
    b->given = viv_raw_copy(b->r);
    luks = own_str(b, "key-secret");
    inner = own_str(b, "encrypt.key-secret");
    format = own_str(b, "encrypt.format");
    if (luks || inner)
        b->no.key_secret = luks ? luks : inner;
    if (format)
        b->no.encrypt_format = format;
    return 0;
}

/* All that can be refused is refused before anything is opened, but for an image that is to be probed: that has to be looked at. */
static int open_children(struct build *b, struct viv_err *err)
{
    bool probe = !b->drv;
    unsigned count = 1;
    int ret = 0;

    b->def = probe || !b->drv->open_children ? just_file : b->drv->open_children;
    take_child(b, 0);
    if (probe) {
        ret = open_child(b, 0, err);
        if (!ret)
            ret = viv_node_probe(b->child[0], &b->drv, err);
        if (!ret && b->drv->open_children)
            b->def = b->drv->open_children;
    }
    for (; b->def[count].name; count++) {
        g_assert(count < CHILDREN_MAX);
        take_child(b, count);
    }
    if (!ret)
        ret = take_backing(b, err);
    if (!ret)
        ret = read_own(b, err);
    for (unsigned i = probe; !ret && i < count; i++)
        ret = open_child(b, i, err);
    b->no.children = b->child + 1;
    return ret;
}

/* --- making the node --- */

static int open_source(struct build *b, struct viv_node **out, struct viv_err *err)
{
    int ret = b->drv->open_source(&b->no, out, err);

    if (ret)
        return ret;
    (*out)->unmap = b->no.unmap;
    (*out)->direct = b->no.direct;
    (*out)->detect_zeroes = b->no.detect_zeroes;
    if (b->no.node_name && (ret = viv_node_register(*out, b->no.node_name, err)) != 0)
        viv_node_put(out);
    return ret;
}

static int open_above(struct build *b, bool probed, struct viv_node **out, struct viv_err *err)
{
    struct viv_node *file = g_steal_pointer(&b->child[0]);

    b->no.probed = probed;
    return viv_node_open_format(b->drv, file, &b->no, out, err);
}

static void build_fini(struct build *b)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        viv_node_put(&b->child[i]);
        g_free(b->below[i].ref);
        viv_raw_free(b->below[i].sub);
    }
    viv_opts_free(b->no.own);
    viv_raw_free(b->no.own_lists);
    viv_raw_free(b->backing);
    viv_raw_free(b->given);
    viv_opts_free(b->common);
    g_free(b->schema);
}

/* Takes r's pairs. */
static int build(struct viv_raw_opts *r, bool image, const struct viv_node_opts *wish, struct viv_node **out,
                 struct viv_err *err)
{
    struct build b = {.r = r, .no = *wish};
    struct viv_node *n = NULL;
    bool probed, source;
    int ret = 0;

    if (wish->nesting > NESTING_MAX)
        return viv_fail(err, ELOOP, "%s: nodes inside nodes, more than %d deep", viv_raw_what(r), NESTING_MAX);
    if (++*wish->opened > VIV_NODES_MAX)
        return viv_fail(err, ELOOP, "%s: more than %d nodes belong to one image (a loop?)", viv_raw_what(r), VIV_NODES_MAX / 2);
    ret = pick_driver(&b, image, err);
    if (!ret)
        ret = read_common(&b, err);
    probed = !b.drv;
    source = b.drv && b.drv->protocol && !b.drv->filter;
    if (!ret)
        ret = source ? read_own(&b, err) : open_children(&b, err);
    if (!ret)
        ret = source ? open_source(&b, &n, err) : open_above(&b, probed, &n, err);
    if (!ret)
        ret = viv_opts_check_used(b.no.own, err);
    if (ret) {
        viv_node_put(&n);
    } else {
        n->stays_read_only = b.stays_read_only;
        n->given = g_steal_pointer(&b.given);
        *out = n;
    }
    build_fini(&b);
    return ret;
}

int viv_node_build(const struct viv_raw_opts *r, bool image, const struct viv_node_opts *wish, struct viv_node **out,
                   struct viv_err *err)
{
    struct viv_raw_opts *mine = viv_raw_copy(r);
    struct viv_node_opts o = *wish;
    unsigned opened = 0;
    int ret;

    if (!o.opened)
        o.opened = &opened;
    ret = build(mine, image, &o, out, err);
    viv_raw_free(mine);
    return ret;
}
