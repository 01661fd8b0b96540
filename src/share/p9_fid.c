/* Fids: the client's numbers for files, and what it has open. */
#include "share/p9_int.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

struct fid *p9_fid_get(struct viv_p9 *p, uint32_t number)
{
    struct fid *f;

    pthread_mutex_lock(&p->fids_lock);
    f = g_hash_table_lookup(p->fids, GUINT_TO_POINTER(number));
    if (f)
        f->refs++;
    pthread_mutex_unlock(&p->fids_lock);
    return f;
}

void p9_xattr_release(struct viv_p9 *p, uint8_t *data, size_t size)
{
    pthread_mutex_lock(&p->fids_lock);
    p->xattr_total -= size;
    pthread_mutex_unlock(&p->fids_lock);
    g_free(data);
}

static void free_fid(struct viv_p9 *p, struct fid *f)
{
    if (f->io >= 0) {
        close(f->io);
        p9_open_end(p);
    }
    if (f->data)
        p9_xattr_release(p, f->data, f->size);
    viv_share_unref(p->tree, f->node);
    g_free(f->xattr);
    pthread_mutex_destroy(&f->lock);
    g_free(f);
}

void p9_fid_put(struct viv_p9 *p, struct fid *f)
{
    bool last;

    if (!f)
        return;
    pthread_mutex_lock(&p->fids_lock);
    last = !--f->refs;
    pthread_mutex_unlock(&p->fids_lock);
    if (last)
        free_fid(p, f);
}

int p9_fid_add(struct viv_p9 *p, uint32_t number, uint32_t uid, struct viv_share_node *node, struct fid **out)
{
    struct fid *f = g_new0(struct fid, 1);
    int rc = 0;

    f->number = number;
    f->refs = out ? 2 : 1;
    f->uid = uid;
    f->io = -1;
    f->node = node;
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_lock(&p->fids_lock);
    if (number == NO_FID || g_hash_table_contains(p->fids, GUINT_TO_POINTER(number)))
        rc = -EBADF;
    else if (g_hash_table_size(p->fids) >= FIDS_MAX)
        rc = -ENFILE;
    else
        g_hash_table_insert(p->fids, GUINT_TO_POINTER(number), f);
    p->attached = g_hash_table_size(p->fids);
    pthread_mutex_unlock(&p->fids_lock);
    if (rc) {
        free_fid(p, f);
        return rc;
    }
    if (out)
        *out = f;
    return 0;
}

void p9_fid_remove(struct viv_p9 *p, struct fid *f)
{
    bool ours;

    pthread_mutex_lock(&p->fids_lock);
    ours = g_hash_table_lookup(p->fids, GUINT_TO_POINTER(f->number)) == f;
    if (ours)
        g_hash_table_remove(p->fids, GUINT_TO_POINTER(f->number));
    p->attached = g_hash_table_size(p->fids);
    pthread_mutex_unlock(&p->fids_lock);
    if (!ours)
        return;
    pthread_mutex_lock(&f->lock);
    f->gone = true;
    pthread_mutex_unlock(&f->lock);
    p9_locks_drop(p, f);
    p9_fid_put(p, f);
}

void p9_fid_remove_all(struct viv_p9 *p)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    GHashTableIter it;
    gpointer f;

    pthread_mutex_lock(&p->fids_lock);
    g_hash_table_iter_init(&it, p->fids);
    while (g_hash_table_iter_next(&it, NULL, &f))
        g_ptr_array_add(list, f);
    g_hash_table_remove_all(p->fids);
    p->attached = 0;
    pthread_mutex_unlock(&p->fids_lock);
    p9_locks_drop(p, NULL);
    for (guint i = 0; i < list->len; i++)
        p9_fid_put(p, g_ptr_array_index(list, i));
}

struct viv_share_node *p9_fid_node(struct viv_p9 *p, struct fid *f)
{
    struct viv_share_node *n;

    pthread_mutex_lock(&f->lock);
    n = viv_share_ref(p->tree, f->node);
    pthread_mutex_unlock(&f->lock);
    return n;
}

int p9_fid_io(struct fid *f, enum fid_kind kind)
{
    int fd;

    pthread_mutex_lock(&f->lock);
    fd = f->kind == kind ? f->io : -EBADF;
    pthread_mutex_unlock(&f->lock);
    return fd;
}

int p9_open_begin(struct viv_p9 *p)
{
    int rc = 0;

    pthread_mutex_lock(&p->fids_lock);
    if (p->open_files >= p->open_max)
        rc = -EMFILE;
    else
        p->open_files++;
    pthread_mutex_unlock(&p->fids_lock);
    return rc;
}

void p9_open_end(struct viv_p9 *p)
{
    pthread_mutex_lock(&p->fids_lock);
    assert(p->open_files);
    p->open_files--;
    pthread_mutex_unlock(&p->fids_lock);
}

uint8_t *p9_xattr_alloc(struct viv_p9 *p, size_t size)
{
    uint8_t *data = NULL;

    pthread_mutex_lock(&p->fids_lock);
    if (size <= XATTR_TOTAL_MAX - p->xattr_total)
        data = g_try_malloc0(size ? size : 1);
    if (data)
        p->xattr_total += size;
    pthread_mutex_unlock(&p->fids_lock);
    return data;
}

/* ---- descriptors ---- */

/* The name, and the folder it is in: attributes go by that. */
static int where_named(struct viv_p9 *p, struct where *w)
{
    if (!viv_share_listed(p->tree, w->node)) {
        w->file.name = NULL;
        return 0;
    }
    w->dir = viv_share_parent(p->tree, w->node, w->name);
    w->file.dir = viv_share_use(p->tree, w->dir);
    if (w->file.dir >= 0)
        return 0;
    viv_share_unref(p->tree, w->dir);
    w->dir = NULL;
    return w->file.dir;
}

int p9_where(struct viv_p9 *p, struct viv_share_node *node, struct where *w)
{
    int fd, rc = 0;

    *w = (struct where){.node = node, .locked = p->attrs.model == VIV_SHARE_MAPPED_FILE};
    if (w->locked)
        pthread_mutex_lock(&p->attrs.lock);
    fd = viv_share_use(p->tree, node);
    if (fd < 0) {
        p9_where_unlock(p, w);
        return fd;
    }
    w->file = (struct viv_share_file){.fd = fd, .dir = fd, .name = w->name};
    if (w->locked && !viv_share_is_root(p->tree, node))
        rc = where_named(p, w);
    if (rc < 0)
        p9_where_end(p, w);
    return rc;
}

void p9_where_unlock(struct viv_p9 *p, struct where *w)
{
    if (w->locked)
        pthread_mutex_unlock(&p->attrs.lock);
    w->locked = false;
}

void p9_where_end(struct viv_p9 *p, struct where *w)
{
    p9_where_unlock(p, w);
    viv_share_done(p->tree, w->node);
    if (w->dir) {
        viv_share_done(p->tree, w->dir);
        viv_share_unref(p->tree, w->dir);
    }
}

int p9_node_stat(struct viv_p9 *p, struct viv_share_node *node, struct stat *st)
{
    struct where w;
    int rc = p9_where(p, node, &w);

    if (rc < 0)
        return rc;
    rc = viv_share_stat(&p->attrs, &w.file, st);
    p9_where_end(p, &w);
    return rc;
}
