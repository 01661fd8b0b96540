/* A list of changes (blockdev-reopen) as a whole: each was checked against the nodes as they are, this looks at what they become together. */
#include "block/graph.h"

#include <errno.h>
#include <glib.h>

struct plan {
    const struct viv_node_change *c;
    size_t count;
};

static const char *label(const struct viv_node *n)
{
    return n->name ? n->name : n->filename;
}

static const struct viv_node_change *change_of(const struct plan *p, const struct viv_node *n)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->c[i].n == n)
            return &p->c[i];
    return NULL;
}

/* Will `target` stand below `n`, or be it? `seen`: those that were looked at. */
static bool leads_to(const struct plan *p, struct viv_node *n, const struct viv_node *target, GHashTable *seen)
{
    const struct viv_node_change *c = n ? change_of(p, n) : NULL;

    if (!n || n == target || !g_hash_table_add(seen, n))
        return n && n == target;
    for (unsigned i = 0; i < n->children; i++)
        if (leads_to(p, n->child[i], target, seen))
            return true;
    return leads_to(p, c ? c->file : n->file, target, seen) || leads_to(p, c ? c->backing : n->backing, target, seen);
}

static int check_loop(const struct plan *p, const struct viv_node_change *c, struct viv_err *err)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    struct viv_node *below = leads_to(p, c->file, c->n, seen) ? c->file : leads_to(p, c->backing, c->n, seen) ? c->backing : NULL;

    return below ? viv_fail(err, EINVAL, "Making '%s' a child of '%s' would create a cycle", label(below), label(c->n)) : 0;
}

static bool stays_read_only(const struct plan *p, const struct viv_node *n)
{
    const struct viv_node_change *c = change_of(p, n);

    return c ? c->read_only : n->read_only;
}

/* A file has one image that writes it, and is no image that others show. */
static int check_file(const struct plan *p, const struct viv_node_change *c, struct viv_err *err)
{
    if (!c->file || c->file == c->n->file || (c->read_only && stays_read_only(p, c->file)))
        return 0;
    for (const struct viv_node_change *o = p->c; o < p->c + p->count; o++)
        if (o != c && o->file == c->file)
            return viv_fail(err, EBUSY, "node '%s' would be below both '%s' and '%s'", label(c->file), label(c->n), label(o->n));
        else if (o->backing == c->file)
            return viv_fail(err, EBUSY, "node '%s' would be written by '%s', and is the backing image of '%s'", label(c->file), label(c->n), label(o->n));
    return viv_node_check_shown(c->file, label(c->n), err);
}

int viv_reopen_check(const struct viv_node_change *c, size_t count, struct viv_err *err)
{
    struct plan p = {c, count};
    int ret = 0;

    for (size_t i = 0; i < count && !ret; i++) {
        if (change_of(&p, c[i].n) != &c[i])
            ret = viv_fail(err, EINVAL, "node '%s' is in the list twice", label(c[i].n));
        else if (c[i].backing && c[i].backing != c[i].n->backing && !stays_read_only(&p, c[i].backing))
            ret = viv_fail(err, EINVAL, "backing: node '%s' must be an image with read-only=on", label(c[i].backing));
        if (!ret)
            ret = check_loop(&p, &c[i], err);
        if (!ret)
            ret = check_file(&p, &c[i], err);
    }
    return ret;
}
