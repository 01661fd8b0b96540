#include "share/tree.h"

#include "host/open.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct viv_share_node {
    struct viv_share_node *parent; /* a reference; NULL: the root */
    char *name;
    unsigned refs, users; /* users: of the descriptor */
    int fd;               /* -1: closed to save descriptors */
    bool listed;          /* in by_name: this is what the name stands for */
    dev_t dev;
    ino_t ino;
    struct viv_share_node *newer, *older; /* by last use, those with a descriptor */
};

struct viv_share_tree {
    pthread_mutex_t lock;
    GHashTable *by_name; /* node -> node, by parent and name */
    struct viv_share_node *root;
    struct viv_share_node *newest, *oldest;
    unsigned fds, max_fds, nodes, max_nodes;
};

static guint node_hash(gconstpointer p)
{
    const struct viv_share_node *n = p;

    return g_direct_hash(n->parent) * 31 + g_str_hash(n->name);
}

static gboolean node_equal(gconstpointer a, gconstpointer b)
{
    const struct viv_share_node *x = a, *y = b;

    return x->parent == y->parent && !strcmp(x->name, y->name);
}

/* ---- descriptors, lock held ---- */

static void unlink_use(struct viv_share_tree *t, struct viv_share_node *n)
{
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    n->newer = n->older = NULL;
}

static void link_newest(struct viv_share_tree *t, struct viv_share_node *n)
{
    n->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = n;
    t->newest = n;
}

static void drop_fd(struct viv_share_tree *t, struct viv_share_node *n)
{
    if (n->fd < 0)
        return;
    unlink_use(t, n);
    close(n->fd);
    n->fd = -1;
    t->fds--;
}

/* Only what can be found again by its name. */
static void shrink(struct viv_share_tree *t, unsigned want)
{
    struct viv_share_node *n = t->oldest;

    while (n && t->fds > want) {
        struct viv_share_node *newer = n->newer;

        if (n->parent && n->listed && !n->users)
            drop_fd(t, n);
        n = newer;
    }
}

static void give_fd(struct viv_share_tree *t, struct viv_share_node *n, int fd)
{
    n->fd = fd;
    t->fds++;
    link_newest(t, n);
}

static int open_entry(int dir, const char *name)
{
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static void unlist(struct viv_share_tree *t, struct viv_share_node *n)
{
    if (n->listed)
        g_hash_table_remove(t->by_name, n);
    n->listed = false;
}

/* The parent has a descriptor. */
static int open_again(struct viv_share_tree *t, struct viv_share_node *n)
{
    struct stat st;
    int fd = n->listed ? open_entry(n->parent->fd, n->name) : -ESTALE;

    if (fd == -EMFILE || t->fds >= t->max_fds) {
        n->parent->users++;
        shrink(t, fd == -EMFILE ? 0 : t->max_fds - t->max_fds / 8);
        n->parent->users--;
    }
    if (fd == -EMFILE)
        fd = open_entry(n->parent->fd, n->name);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
    if (fstat(fd, &st) < 0 || st.st_dev != n->dev || st.st_ino != n->ino) {
        close(fd);
        unlist(t, n);
        return -ESTALE;
    }
    give_fd(t, n, fd);
    return 0;
}

/* From the nearest folder above that has one on down; not by recursion, for the guest makes the tree as deep as it likes. */
static int ensure_fd(struct viv_share_tree *t, struct viv_share_node *n)
{
    g_autoptr(GPtrArray) way = NULL;
    int rc = 0;

    if (n->fd >= 0)
        return 0;
    way = g_ptr_array_new();
    for (struct viv_share_node *m = n; m->fd < 0; m = m->parent)
        g_ptr_array_add(way, m);
    for (guint i = way->len; i-- && !rc;)
        rc = open_again(t, g_ptr_array_index(way, i));
    return rc;
}

/* ---- references ---- */

static struct viv_share_node *ref(struct viv_share_node *n)
{
    n->refs++;
    return n;
}

static void unref(struct viv_share_tree *t, struct viv_share_node *n)
{
    while (n && !--n->refs) {
        struct viv_share_node *parent = n->parent;

        assert(!n->users);
        drop_fd(t, n);
        unlist(t, n);
        g_free(n->name);
        g_free(n);
        t->nodes--;
        n = parent;
    }
}

struct viv_share_node *viv_share_ref(struct viv_share_tree *t, struct viv_share_node *n)
{
    pthread_mutex_lock(&t->lock);
    ref(n);
    pthread_mutex_unlock(&t->lock);
    return n;
}

void viv_share_unref(struct viv_share_tree *t, struct viv_share_node *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&t->lock);
    unref(t, n);
    pthread_mutex_unlock(&t->lock);
}

struct viv_share_node *viv_share_root(struct viv_share_tree *t)
{
    return viv_share_ref(t, t->root);
}

int viv_share_use(struct viv_share_tree *t, struct viv_share_node *n)
{
    int rc;

    pthread_mutex_lock(&t->lock);
    rc = ensure_fd(t, n);
    if (!rc) {
        n->users++;
        if (t->newest != n) {
            unlink_use(t, n);
            link_newest(t, n);
        }
        rc = n->fd;
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}

void viv_share_done(struct viv_share_tree *t, struct viv_share_node *n)
{
    pthread_mutex_lock(&t->lock);
    assert(n->users);
    n->users--;
    pthread_mutex_unlock(&t->lock);
}

/* ---- names ---- */

/* The node of a name, where `fd` (taken over on success) was found under it; a reference. */
static int node_of(struct viv_share_tree *t, struct viv_share_node *dir, const char *name, int fd, const struct stat *st,
                   struct viv_share_node **out)
{
    struct viv_share_node key = {.parent = dir, .name = (char *)name};
    struct viv_share_node *n = g_hash_table_lookup(t->by_name, &key);

    if (n && n->dev == st->st_dev && n->ino == st->st_ino) {
        if (n->fd < 0)
            give_fd(t, n, fd);
        else
            close(fd);
        *out = ref(n);
        return 0;
    }
    if (t->nodes >= t->max_nodes)
        return -ENFILE;
    t->nodes++;
    if (n)
        unlist(t, n); /* replaced behind our back */
    n = g_new0(struct viv_share_node, 1);
    n->parent = ref(dir);
    n->name = g_strdup(name);
    n->refs = 1;
    n->dev = st->st_dev;
    n->ino = st->st_ino;
    n->listed = true;
    g_hash_table_add(t->by_name, n);
    give_fd(t, n, fd);
    *out = n;
    return 0;
}

int viv_share_adopt(struct viv_share_tree *t, struct viv_share_node *dir, const char *name, int fd, struct viv_share_node **out)
{
    struct stat st;
    int rc = -EMFILE; /* all are of files that have no name any more */

    if (fstat(fd, &st) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    pthread_mutex_lock(&t->lock);
    if (t->fds >= t->max_fds)
        shrink(t, t->max_fds - t->max_fds / 8);
    if (t->fds < t->max_fds)
        rc = node_of(t, dir, name, fd, &st, out);
    pthread_mutex_unlock(&t->lock);
    if (rc < 0)
        close(fd);
    return rc;
}

int viv_share_child(struct viv_share_tree *t, struct viv_share_node *dir, const char *name, struct viv_share_node **out)
{
    int at = viv_share_use(t, dir), fd;

    assert(*name && strcmp(name, ".") && strcmp(name, "..") && !strchr(name, '/'));
    if (at < 0)
        return at;
    fd = open_entry(at, name);
    if (fd == -EMFILE) {
        viv_share_shrink(t);
        fd = open_entry(at, name);
    }
    viv_share_done(t, dir);
    return fd < 0 ? fd : viv_share_adopt(t, dir, name, fd, out);
}

struct viv_share_node *viv_share_parent(struct viv_share_tree *t, struct viv_share_node *n, char name[VIV_SHARE_NAME_MAX + 1])
{
    struct viv_share_node *p;

    pthread_mutex_lock(&t->lock);
    p = ref(n->parent ? n->parent : n);
    if (name)
        g_strlcpy(name, n->name, VIV_SHARE_NAME_MAX + 1);
    pthread_mutex_unlock(&t->lock);
    return p;
}

bool viv_share_listed(struct viv_share_tree *t, const struct viv_share_node *n)
{
    bool listed;

    pthread_mutex_lock(&t->lock);
    listed = n->listed || n == t->root;
    pthread_mutex_unlock(&t->lock);
    return listed;
}

bool viv_share_is_root(const struct viv_share_tree *t, const struct viv_share_node *n)
{
    return n == t->root;
}

void viv_share_identity(const struct viv_share_node *n, dev_t *dev, ino_t *ino)
{
    *dev = n->dev;
    *ino = n->ino;
}

static bool is_below(const struct viv_share_node *n, const struct viv_share_node *top)
{
    while (n && n != top)
        n = n->parent;
    return n;
}

/* rename(2) of a name onto another one of the same file does nothing: then both stay. */
void viv_share_moved(struct viv_share_tree *t, struct viv_share_node *from, const char *name, struct viv_share_node *to,
                     const char *new_name)
{
    struct viv_share_node key = {.parent = from, .name = (char *)name};
    struct viv_share_node target = {.parent = to, .name = (char *)new_name};
    struct viv_share_node *n, *old;

    pthread_mutex_lock(&t->lock);
    n = g_hash_table_lookup(t->by_name, &key);
    old = g_hash_table_lookup(t->by_name, &target);
    if (old && old != n && !(n && old->dev == n->dev && old->ino == n->ino))
        unlist(t, old);
    else if (old)
        n = NULL;
    if (n && is_below(to, n)) { /* somebody else moved folders: the host's tree is right, ours must have no ring */
        unlist(t, n);
    } else if (n) {
        struct viv_share_node *parent = n->parent;

        unlist(t, n);
        g_free(n->name);
        n->name = g_strdup(new_name);
        n->parent = ref(to);
        n->listed = true;
        g_hash_table_add(t->by_name, n);
        unref(t, parent);
    }
    pthread_mutex_unlock(&t->lock);
}

void viv_share_removed(struct viv_share_tree *t, struct viv_share_node *dir, const char *name)
{
    struct viv_share_node key = {.parent = dir, .name = (char *)name};
    struct viv_share_node *n;

    pthread_mutex_lock(&t->lock);
    n = g_hash_table_lookup(t->by_name, &key);
    if (n)
        unlist(t, n);
    pthread_mutex_unlock(&t->lock);
}

/* ---- the rest ---- */

struct viv_share_path viv_share_path(int fd)
{
    struct viv_share_path p;

    snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
    return p;
}

int viv_share_reopen(const struct viv_share_tree *t, int fd, int flags)
{
    struct viv_share_path p = viv_share_path(fd);
    struct stat st;
    int rc;

    /* What the descriptor stands for is fixed: no race between look and open. A device or a FIFO of the host would be opened for
     * the guest here. */
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return S_ISLNK(st.st_mode) ? -ELOOP : -ENXIO;
    rc = open(p.text, flags | O_CLOEXEC | O_NOCTTY);
    if (rc < 0 && errno == EMFILE) {
        viv_share_shrink((struct viv_share_tree *)t);
        rc = open(p.text, flags | O_CLOEXEC | O_NOCTTY);
    }
    return rc < 0 ? -errno : rc;
}

void viv_share_shrink(struct viv_share_tree *t)
{
    pthread_mutex_lock(&t->lock);
    shrink(t, 0);
    pthread_mutex_unlock(&t->lock);
}

int viv_share_tree_new(const char *path, unsigned max_fds, unsigned max_nodes, struct viv_share_tree **out, struct viv_err *err)
{
    struct viv_share_tree *t;
    struct stat st;
    int fd = viv_open(path, O_PATH | O_DIRECTORY, 0, err);

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0) {
        int e = errno;

        close(fd);
        return viv_fail_os(err, e, "'%.200s'", path);
    }
    t = g_new0(struct viv_share_tree, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->by_name = g_hash_table_new(node_hash, node_equal);
    t->max_fds = max_fds < 16 ? 16 : max_fds;
    t->max_nodes = max_nodes;
    t->nodes = 1;
    t->root = g_new0(struct viv_share_node, 1);
    t->root->name = g_strdup("");
    t->root->refs = 1;
    t->root->dev = st.st_dev;
    t->root->ino = st.st_ino;
    give_fd(t, t->root, fd);
    *out = t;
    return 0;
}

void viv_share_tree_free(struct viv_share_tree *t)
{
    if (!t)
        return;
    assert(t->root->refs == 1);
    unref(t, t->root);
    assert(!t->fds && !g_hash_table_size(t->by_name));
    g_hash_table_destroy(t->by_name);
    pthread_mutex_destroy(&t->lock);
    g_free(t);
}
