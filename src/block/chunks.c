#include "block/chunks.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct entry {
    uint64_t index;
    uint8_t *data;
    size_t cost; /* counted in bytes */
    unsigned users;
    bool loading;
    GList link;
};

static void free_entry(void *p)
{
    struct entry *e = p;

    g_free(e->data);
    g_free(e);
}

void viv_chunks_init(struct viv_chunks *c, int (*load)(void *, uint64_t, uint8_t *, size_t), void *opaque)
{
    *c = (struct viv_chunks){.limit = VIV_CHUNKS_LIMIT, .load = load, .opaque = opaque};
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->entry = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_entry);
    g_queue_init(&c->lru);
}

void viv_chunks_fini(struct viv_chunks *c)
{
    if (!c->entry)
        return;
    g_hash_table_destroy(c->entry);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

static void drop(struct viv_chunks *c, struct entry *e)
{
    c->bytes -= e->cost;
    g_queue_unlink(&c->lru, &e->link);
    g_hash_table_remove(c->entry, &e->index);
    pthread_cond_broadcast(&c->changed);
}

/* Is there room for `cost` more? The longest unused ones make it. */
static bool make_room(struct viv_chunks *c, size_t cost)
{
    GList *l = c->lru.tail;

    while (l && c->bytes && c->bytes + cost > c->limit) {
        struct entry *e = l->data;

        l = l->prev;
        if (!e->users && !e->loading)
            drop(c, e);
    }
    return !c->bytes || c->bytes + cost <= c->limit;
}

/* The entry, used by us: there, or to be loaded by us (e->loading). */
static struct entry *find(struct viv_chunks *c, uint64_t index, size_t cost)
{
    struct entry *e;

    for (;;) {
        e = g_hash_table_lookup(c->entry, &index);
        if (e && !e->loading) {
            g_queue_unlink(&c->lru, &e->link);
            g_queue_push_head_link(&c->lru, &e->link);
            break;
        }
        if (!e && make_room(c, cost)) {
            e = g_new0(struct entry, 1);
            *e = (struct entry){.index = index, .cost = cost, .loading = true, .link.data = e};
            c->bytes += cost;
            g_hash_table_insert(c->entry, &e->index, e);
            g_queue_push_head_link(&c->lru, &e->link);
            break;
        }
        pthread_cond_wait(&c->changed, &c->lock);
    }
    e->users++;
    return e;
}

/* A chunk that failed is not kept: the next reader tries again. */
static int load(struct viv_chunks *c, struct entry *e, size_t len)
{
    uint8_t *data = g_try_malloc(len);
    int ret = data ? c->load(c->opaque, e->index, data, len) : -ENOMEM;

    pthread_mutex_lock(&c->lock);
    if (ret) {
        g_free(data);
        drop(c, e);
    } else {
        c->bytes -= e->cost - len;
        e->cost = len;
        e->data = data;
        e->loading = false;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

int viv_chunks_read(struct viv_chunks *c, uint64_t index, size_t len, size_t packed, size_t skip, uint8_t *buf, size_t n)
{
    struct entry *e;
    bool mine;
    int ret;

    if (skip > len || n > len - skip)
        return -EINVAL;
    pthread_mutex_lock(&c->lock);
    e = find(c, index, len + packed);
    mine = e->loading;
    pthread_mutex_unlock(&c->lock);
    if (mine && (ret = load(c, e, len)) != 0)
        return ret;
    memcpy(buf, e->data + skip, n);
    pthread_mutex_lock(&c->lock);
    if (!--e->users)
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return 0;
}
