/* Metadata clusters in memory: bounded, least recently used goes first, pinned ones never.
 *
 * Dirty refcount blocks may be written at any time (flush.c says why). Dirty L2 tables may not: to make room for
 * one, everything is flushed in order. */
#include "block/event.h"
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

void qcow2_cache_init(struct qcow2_cache *c, uint32_t cluster_size, uint32_t bytes)
{
    c->max = CLAMP(bytes / cluster_size, 8, 1024); /* searched one by one */
    c->slot = g_new0(struct qcow2_table *, c->max);
}

static void table_free(struct qcow2_table *t)
{
    free(t->data);
    g_free(t);
}

void qcow2_cache_fini(struct qcow2_cache *c)
{
    for (unsigned i = 0; i < c->count; i++)
        table_free(c->slot[i]);
    g_free(c->slot);
    *c = (struct qcow2_cache){0};
}

static struct qcow2_table *find(struct qcow2_cache *c, uint64_t offset, unsigned *index)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->slot[i]->offset == offset) {
            *index = i;
            return c->slot[i];
        }
    }
    return NULL;
}

/* The clean, unpinned table that was not used for longest, or NULL. */
static struct qcow2_table *victim(struct qcow2_cache *c, unsigned *index)
{
    struct qcow2_table *best = NULL;

    for (unsigned i = 0; i < c->count; i++) {
        struct qcow2_table *t = c->slot[i];

        if (!t->pins && !t->dirty && (!best || t->used < best->used)) {
            best = t;
            *index = i;
        }
    }
    return best;
}

/* An unused slot and its buffer: a new one while there is room, else the victim's. */
static int make_room(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table **out)
{
    struct qcow2_table *t;
    unsigned index;
    void *data;
    int ret;

    if (c->count == c->max && !victim(c, &index)) {
        ret = c == &q->refblock_cache ? qcow2_cache_write(q, c) : qcow2_flush_all(q);
        if (ret)
            return ret;
    }
    if (c->count == c->max) {
        t = victim(c, &index);
        if (!t)
            return -ENOMEM; /* all pinned */
        c->slot[index] = c->slot[--c->count];
        *out = t;
        return 0;
    }
    if (posix_memalign(&data, 4096, q->cluster_size))
        return -ENOMEM;
    t = g_new0(struct qcow2_table, 1);
    t->data = data;
    *out = t;
    return 0;
}

int qcow2_table_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset, bool fresh,
                    struct qcow2_table **out)
{
    unsigned index;
    struct qcow2_table *t = find(c, offset, &index);
    int ret;

    if (!t) {
        ret = make_room(q, c, &t);
        if (ret)
            return ret;
        t->offset = offset;
        t->dirty = false;
        if (!fresh)
            viv_node_event(q->file, c == &q->l2_cache ? VIV_EVENT_L2_LOAD : VIV_EVENT_REFBLOCK_LOAD);
        if (!fresh && (ret = viv_node_pread(q->file, offset, t->data, q->cluster_size)) != 0) {
            table_free(t);
            return ret;
        }
        c->slot[c->count++] = t;
    }
    t->pins++;
    t->used = ++c->clock;
    if (fresh) {
        memset(t->data, 0, q->cluster_size);
        qcow2_table_dirty(c, t);
    }
    *out = t;
    return 0;
}

void qcow2_table_put(struct qcow2_table *t)
{
    if (t)
        t->pins--;
}

void qcow2_table_dirty(struct qcow2_cache *c, struct qcow2_table *t)
{
    c->dirty += !t->dirty;
    t->dirty = true;
}

void qcow2_table_drop(struct qcow2_cache *c, uint64_t offset)
{
    unsigned index;
    struct qcow2_table *t = find(c, offset, &index);

    if (!t || t->pins)
        return;
    c->dirty -= t->dirty;
    c->slot[index] = c->slot[--c->count];
    table_free(t);
}

int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c)
{
    for (unsigned i = 0; i < c->count && c->dirty; i++) {
        struct qcow2_table *t = c->slot[i];
        int ret;

        if (!t->dirty)
            continue;
        viv_node_event(q->file, c == &q->l2_cache ? VIV_EVENT_L2_UPDATE : VIV_EVENT_REFBLOCK_UPDATE);
        ret = viv_node_pwrite(q->file, t->offset, t->data, q->cluster_size);
        if (ret)
            return ret;
        t->dirty = false;
        c->dirty--;
    }
    return 0;
}
