/* Nodes: references, names, backing images. */
#include "block/node_int.h"

#include "block/bitmap.h"
#include "base/log.h"
#include "block/crypt/crypt.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

pthread_mutex_t viv_node_lock = PTHREAD_MUTEX_INITIALIZER;
static GHashTable *by_name; /* name -> node, borrowed */

struct viv_node *viv_node_new(const struct viv_blk_driver *drv, const char *filename)
{
    struct viv_node *n = g_new0(struct viv_node, 1);

    n->drv = drv;
    n->filename = g_strdup(filename);
    n->granule = 1;
    n->refs = 1;
    viv_range_lock_init(&n->ranges);
    pthread_mutex_init(&n->bitmap_lock, NULL);
    viv_flush_init(&n->flush);
    return n;
}

void viv_node_get(struct viv_node *n)
{
    pthread_mutex_lock(&viv_node_lock);
    n->refs++;
    pthread_mutex_unlock(&viv_node_lock);
}

static int put_child(struct viv_node **child)
{
    if (*child)
        (*child)->parents--;
    return viv_node_put(child);
}

static int close_node(struct viv_node *n)
{
    struct viv_node *below;
    int ret = 0, r;

    if (n->state && !n->read_only)
        ret = viv_node_flush(n);
    if (n->state && n->drv->close) {
        r = n->drv->close(n);
        ret = ret ? ret : r;
    }
    for (unsigned i = 0; i < n->children; i++) {
        r = put_child(&n->child[i]);
        ret = ret ? ret : r;
    }
    g_free(n->child);
    r = put_child(&n->file);
    ret = ret ? ret : r;
    if (n->crypt)
        n->crypt->free(n->crypt);
    below = viv_node_set_backing(n, NULL);
    r = viv_node_put(&below);
    ret = ret ? ret : r;
    g_free(n->overlay);
    viv_bitmaps_free(n);
    pthread_mutex_destroy(&n->bitmap_lock);
    viv_flush_fini(&n->flush);
    viv_range_lock_fini(&n->ranges);
    viv_raw_free(n->given);
    g_free(n->name);
    g_free(n->filename);
    g_free(n);
    return ret;
}

int viv_node_put(struct viv_node **np)
{
    struct viv_node *n = *np;
    bool last;

    if (!n)
        return 0;
    *np = NULL;
    pthread_mutex_lock(&viv_node_lock);
    last = --n->refs == 0;
    if (last && n->name && by_name)
        g_hash_table_remove(by_name, n->name);
    pthread_mutex_unlock(&viv_node_lock);
    return last ? close_node(n) : 0;
}

int viv_node_register(struct viv_node *n, const char *name, struct viv_err *err)
{
    static uint64_t count;
    int ret = 0;

    pthread_mutex_lock(&viv_node_lock);
    if (!by_name)
        by_name = g_hash_table_new(g_str_hash, g_str_equal);
    if (g_hash_table_contains(by_name, name)) {
        ret = viv_fail(err, EEXIST, "node-name '%s' is taken by another block node", name);
    } else {
        n->name = g_strdup(name);
        n->named = ++count;
        g_hash_table_insert(by_name, n->name, n);
    }
    pthread_mutex_unlock(&viv_node_lock);
    return ret;
}

struct viv_node *viv_node_find(const char *name)
{
    struct viv_node *n;

    pthread_mutex_lock(&viv_node_lock);
    n = by_name ? g_hash_table_lookup(by_name, name) : NULL;
    pthread_mutex_unlock(&viv_node_lock);
    return n;
}

bool viv_node_is_shared(const struct viv_node *n)
{
    bool shared;

    pthread_mutex_lock(&viv_node_lock);
    shared = n->parents || n->overlays || (n->users && n->users->next);
    pthread_mutex_unlock(&viv_node_lock);
    return shared;
}

/* --- backing images; viv_node_lock for their overlays --- */

struct viv_node *viv_node_set_backing(struct viv_node *n, struct viv_node *backing)
{
    struct viv_node *old = n->backing;
    struct viv_err err = VIV_ERR_INIT;

    if (backing && viv_node_settle(backing, VIV_SHARING_ALONE, &err)) /* it shows, and has to stay as it is */
        viv_warn("backing image '%s' may change: %s", backing->filename, err.text);
    pthread_mutex_lock(&viv_node_lock);
    for (unsigned i = 0; old && i < old->overlays; i++)
        if (old->overlay[i] == n) {
            old->overlay[i] = old->overlay[--old->overlays];
            break;
        }
    if (backing) {
        backing->overlay = g_renew(struct viv_node *, backing->overlay, backing->overlays + 1);
        backing->overlay[backing->overlays++] = n;
    }
    n->backing = backing;
    __atomic_store_n(&n->lost, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&viv_node_lock);
    return old;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **viv_node_names(void)
{
    GPtrArray *names = g_ptr_array_new();
    GHashTableIter it;
    gpointer name;

    pthread_mutex_lock(&viv_node_lock);
    if (by_name) {
        g_hash_table_iter_init(&it, by_name);
        while (g_hash_table_iter_next(&it, &name, NULL))
            g_ptr_array_add(names, g_strdup(name));
    }
    pthread_mutex_unlock(&viv_node_lock);
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static int compare_named(const void *a, const void *b)
{
    uint64_t x = (*(const struct viv_node *const *)a)->named, y = (*(const struct viv_node *const *)b)->named;

    return x < y ? -1 : x > y;
}

struct viv_node **viv_nodes_named(unsigned *count)
{
    struct viv_node **nodes = NULL;
    GHashTableIter it;
    gpointer n;

    pthread_mutex_lock(&viv_node_lock);
    *count = 0;
    if (by_name) {
        nodes = g_new(struct viv_node *, g_hash_table_size(by_name));
        g_hash_table_iter_init(&it, by_name);
        while (g_hash_table_iter_next(&it, NULL, &n))
            nodes[(*count)++] = n;
    }
    pthread_mutex_unlock(&viv_node_lock);
    if (*count)
        qsort(nodes, *count, sizeof(nodes[0]), compare_named);
    return nodes;
}

int viv_aio_parse(const char *text, enum viv_aio *out)
{
    static const char *const names[] = {[VIV_AIO_THREADS] = "threads", [VIV_AIO_URING] = "io_uring", [VIV_AIO_NATIVE] = "native"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    return -ENOENT;
}
