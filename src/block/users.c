/* Who may do what with a node, and with what it stands on.
 *
 * Rights on one node are agreed between its users: what each asks for, the others must share. What a node shows by way of a backing file is
 * another matter: nobody can share that, for who wrote the overlay counted on bytes below it that stay. So each user who writes is looked at
 * together with each other user, whichever of the two is the newer one: the writer changes its node and the files below it, the other one
 * must reach none of these through a backing file.
 *
 * The files themselves are an image's own: what stands on a node may have read anything from it, and written nothing yet. So nobody becomes a
 * writer of a node below another, with users or without; and where an image came on top of a file that had a user (exports), the two
 * must share what they do, and only a window that keeps nothing in memory may lie between them.
 *
 * Two exceptions from what was said of backing files. A commit writes below its chain what the chain's top holds: from there on up nothing changes (`above`). And an image into
 * which a backup copies what is about to be overwritten shows the disk below it as it was (`keeps`), whoever writes that by way of the node
 * that the backup watches. */
#include "block/node_int.h"

#include "base/log.h"
#include "block/fmt/raw/raw.h"

#include <errno.h>
#include <glib.h>

#define CHANGES (VIV_PERM_WRITE | VIV_PERM_RESIZE)

static struct viv_node_user *all; /* of all nodes; viv_node_lock */

static const char *label(const struct viv_node *n)
{
    return n->name && n->name[0] != '#' ? n->name : n->filename;
}

/* Has one of them nothing to ask of the other? */
static bool are_one(const struct viv_node_user *a, const struct viv_node_user *b)
{
    return a == b || (a->party && a->party == b->party);
}

static bool is_writer(const struct viv_node_user *u)
{
    return u->perms & CHANGES;
}

/* --- walks along the graph; viv_node_lock held --- */

static unsigned long walks; /* a node is entered once in each */

/* Is `n` the node `top`, or one of the files that it consists of? */
static bool consists_of(const struct viv_node *top, const struct viv_node *n)
{
    if (!top || top == n)
        return top;
    for (unsigned i = 0; i < top->children; i++)
        if (consists_of(top->child[i], n))
            return true;
    return consists_of(top->file, n);
}

bool viv_node_is_window(const struct viv_node *n)
{
    return n->drv->filter || n->drv == &viv_blk_raw;
}

/* Is `n` below `top`, with nothing but windows above it? */
static bool shows_through(const struct viv_node *top, const struct viv_node *n)
{
    while (top && top != n)
        top = viv_node_is_window(top) ? top->file : NULL;
    return top;
}

/* Have the two a file in common? */
static bool share_files(const struct viv_node *a, const struct viv_node *b)
{
    if (!a || consists_of(b, a))
        return a;
    for (unsigned i = 0; i < a->children; i++)
        if (share_files(a->child[i], b))
            return true;
    return share_files(a->file, b);
}

/* Does `w` write a file that is a part of what `v` uses, or the other way round, in a way that `v` has not agreed to? */
static bool clash(const struct viv_node_user *w, const struct viv_node_user *v)
{
    if (are_one(w, v) || w->node == v->node || !is_writer(w) || !share_files(w->node, v->node))
        return false;
    if (w->perms & CHANGES & ~v->shared)
        return true;
    return !consists_of(w->node, v->node) && !shows_through(v->node, w->node);
}

/* Which of the nodes that `w` writes shows in `n`, by way of a backing file? `below`: `n` is one itself, or a part of one. NULL: none. */
static const struct viv_node *find_shown(struct viv_node *n, bool below, const struct viv_node_user *w)
{
    const struct viv_node *found = NULL;

    if (!n || n == w->above || n->entered[below] == walks)
        return NULL;
    n->entered[below] = walks;
    if (below && consists_of(w->node, n))
        return n;
    for (unsigned i = 0; i < n->children && !found; i++)
        found = find_shown(n->child[i], below, w);
    if (!found)
        found = find_shown(n->file, below, w);
    if (!found && !(n->keeps && consists_of(w->node, n->keeps)))
        found = find_shown(n->backing, true, w);
    return found;
}

static const struct viv_node *meets(const struct viv_node_user *w, const struct viv_node_user *v)
{
    if (are_one(w, v) || v->keeper || !is_writer(w))
        return NULL;
    walks++;
    return find_shown(v->node, false, w);
}

/* --- rights --- */

static const char *perm_text(unsigned perms)
{
    if (perms & VIV_PERM_WRITE)
        return "write";
    if (perms & VIV_PERM_RESIZE)
        return "resize";
    return "read";
}

static int check_node(const struct viv_node_user *mine, struct viv_err *err)
{
    for (const struct viv_node_user *u = mine->node->users; u; u = u->next) {
        if (are_one(mine, u))
            continue;
        if (mine->perms & ~u->shared)
            return viv_fail(err, EBUSY, "%s cannot %s '%s': %s uses it and does not share that", mine->name, perm_text(mine->perms & ~u->shared),
                            label(mine->node), u->name);
        if (u->perms & ~mine->shared)
            return viv_fail(err, EBUSY, "%s needs '%s' unshared, but %s may %s it", mine->name, label(mine->node), u->name,
                            perm_text(u->perms & ~mine->shared));
    }
    return 0;
}

static int check_chains(const struct viv_node_user *mine, struct viv_err *err)
{
    const struct viv_node *n;

    for (const struct viv_node_user *u = all; u; u = u->next_of_all) {
        if (clash(mine, u) || clash(u, mine))
            return viv_fail(err, EBUSY, "%s cannot %s '%s': it has files in common with '%s', which is in use by %s", mine->name,
                            perm_text(mine->perms), label(mine->node), label(u->node), u->name);
        if ((n = meets(mine, u)) != NULL)
            return viv_fail(err, EBUSY, "%s cannot write '%s': it is the backing image of '%s', which is in use by %s", mine->name, label(n),
                            label(u->node), u->name);
        if ((n = meets(u, mine)) != NULL)
            return viv_fail(err, EBUSY, "%s cannot %s '%s': %s writes '%s' below it", mine->name, perm_text(mine->perms), label(mine->node),
                            u->name, label(n));
    }
    return 0;
}

int viv_node_check_shown(struct viv_node *n, const char *user, struct viv_err *err)
{
    const struct viv_node_user mine = {.name = (char *)user, .node = n, .perms = VIV_PERM_WRITE};
    int ret;

    pthread_mutex_lock(&viv_node_lock);
    ret = check_chains(&mine, err);
    pthread_mutex_unlock(&viv_node_lock);
    return ret;
}

/* The locks, for one who may be the first that is in earnest. */
static int settle_for(const struct viv_node_user *u, struct viv_err *err)
{
    if (!(u->shared & VIV_PERM_WRITE))
        return viv_node_settle(u->node, VIV_SHARING_ALONE, err);
    return is_writer(u) ? viv_node_settle(u->node, VIV_SHARING_SHARED, err) : 0;
}

int viv_node_attach_as(struct viv_node *n, const char *user, const struct viv_node_use *use, struct viv_node_user **out, struct viv_err *err)
{
    struct viv_node_user mine = {.name = (char *)user, .node = n, .perms = use->perms, .shared = use->shared, .above = use->above,
                                 .keeper = use->keeper, .party = use->party};
    int ret;

    if (n->read_only && is_writer(&mine) && !use->will_be_writable)
        return viv_fail(err, EACCES, "'%s' is open read-only and %s wants to write it", n->filename, user);
    if (n->parents && is_writer(&mine) && !use->moved)
        return viv_fail(err, EBUSY, "%s cannot write '%s': block node '%s' is below another one, which may write it", user, label(n), label(n));
    pthread_mutex_lock(&viv_node_lock);
    ret = check_node(&mine, err);
    if (!ret && !use->moved)
        ret = check_chains(&mine, err);
    if (!ret) {
        struct viv_node_user *u = g_memdup2(&mine, sizeof(mine));

        u->name = g_strdup(user);
        u->next = n->users;
        n->users = u;
        u->next_of_all = all;
        all = u;
        *out = u;
    }
    pthread_mutex_unlock(&viv_node_lock);
    if (!ret && !use->moved && (ret = settle_for(*out, err)) != 0)
        viv_node_detach(n, out);
    return ret;
}

int viv_node_user_share(struct viv_node_user *u, unsigned shared, struct viv_err *err)
{
    struct viv_node_user then = *u;
    int ret;

    then.shared = shared;
    pthread_mutex_lock(&viv_node_lock);
    ret = check_node(&then, err);
    if (!ret)
        ret = check_chains(&then, err);
    if (!ret) {
        then.shared = u->shared; /* as it was */
        u->shared = shared;
    }
    pthread_mutex_unlock(&viv_node_lock);
    if (!ret && (ret = settle_for(u, err)) != 0)
        u->shared = then.shared;
    return ret;
}

int viv_node_attach(struct viv_node *n, const char *user, unsigned perms, unsigned shared, struct viv_node_user **out, struct viv_err *err)
{
    const struct viv_node_use use = {.perms = perms, .shared = shared};

    return viv_node_attach_as(n, user, &use, out, err);
}

void viv_node_detach(struct viv_node *n, struct viv_node_user **up)
{
    struct viv_node_user *u = *up, **p;

    if (!u)
        return;
    *up = NULL;
    pthread_mutex_lock(&viv_node_lock);
    for (p = &n->users; *p != u; p = &(*p)->next)
        ;
    *p = u->next;
    for (p = &all; *p != u; p = &(*p)->next_of_all)
        ;
    *p = u->next_of_all;
    pthread_mutex_unlock(&viv_node_lock);
    g_free(u->name);
    g_free(u);
}

/* --- images that keep what is overwritten below them --- */

static const struct viv_node *under_filters(const struct viv_node *n)
{
    while (n && n->drv->filter)
        n = n->file;
    return n;
}

bool viv_node_is_overlay_of(const struct viv_node *n, const struct viv_node *source)
{
    return n->backing && under_filters(n->backing) == under_filters(source);
}

void viv_node_keep(struct viv_node *n, const struct viv_node *source)
{
    pthread_mutex_lock(&viv_node_lock);
    n->keeps = source;
    pthread_mutex_unlock(&viv_node_lock);
}

void viv_node_lose(struct viv_node *n)
{
    if (!__atomic_exchange_n(&n->lost, true, __ATOMIC_ACQ_REL))
        viv_warn("'%s': what lies below is not kept any more: reading what was not copied fails from here on", label(n));
}

void viv_node_keep_end(struct viv_node *n, bool warn)
{
    bool lost = false;

    pthread_mutex_lock(&viv_node_lock);
    n->keeps = NULL;
    for (const struct viv_node_user *w = all; w; w = w->next_of_all)
        for (const struct viv_node_user *v = all; v && !lost; v = v->next_of_all)
            lost = meets(w, v); /* nobody did until now */
    pthread_mutex_unlock(&viv_node_lock);
    if (lost && warn)
        viv_node_lose(n);
    else if (lost)
        __atomic_store_n(&n->lost, true, __ATOMIC_RELEASE);
}
