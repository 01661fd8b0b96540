/* Test support: a protocol node in memory that can record what is done to it. Not part of any program. */
#ifndef VIV_BLOCK_MEM_TEST_H
#define VIV_BLOCK_MEM_TEST_H

#include "block/iov.h"
#include "block/node.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum mem_op { MEM_WRITE, MEM_ZERO, MEM_TRUNCATE, MEM_FLUSH };

struct mem_entry {
    enum mem_op op;
    unsigned file; /* mem.id */
    uint64_t offset, len;
    uint8_t *data; /* WRITE */
};

struct mem {
    pthread_mutex_t lock;
    uint8_t *data;
    uint64_t size, room;
    bool device; /* of fixed size, full of garbage */
    unsigned id; /* tells files apart that share a log */
    GArray *log; /* struct mem_entry; NULL: not recorded */
};

#define MEM_MAX (64u << 20)

static inline int mem_grow(struct mem *m, uint64_t end)
{
    if (end > MEM_MAX)
        return -ENOSPC;
    if (end > m->room) {
        uint64_t room = MAX(end, m->room * 2);

        m->data = g_realloc(m->data, room);
        memset(m->data + m->room, 0, room - m->room);
        m->room = room;
    }
    m->size = MAX(m->size, end);
    return 0;
}

static inline void mem_log(struct mem *m, enum mem_op op, uint64_t offset, uint64_t len)
{
    struct mem_entry e = {.op = op, .file = m->id, .offset = offset, .len = len};

    if (!m->log)
        return;
    if (op == MEM_WRITE)
        e.data = g_memdup2(m->data + offset, len);
    g_array_append_val(m->log, e);
}

static inline int mem_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                             size_t len)
{
    struct mem *m = n->state;
    uint64_t there;

    pthread_mutex_lock(&m->lock);
    there = offset >= m->size ? 0 : MIN(len, m->size - offset);
    viv_iov_put(iov, cnt, 0, m->data + offset, there);
    viv_iov_zero(iov, cnt, there, len - there);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static inline int mem_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt,
                              size_t len)
{
    struct mem *m = n->state;
    int ret;

    pthread_mutex_lock(&m->lock);
    ret = offset > MEM_MAX ? -ENOSPC : mem_grow(m, offset + len);
    if (!ret) {
        viv_iov_take(iov, cnt, 0, m->data + offset, len);
        mem_log(m, MEM_WRITE, offset, len);
        __atomic_store_n(&n->size, m->size, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&m->lock);
    return ret;
}

static inline int mem_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len,
                                   unsigned flags)
{
    struct mem *m = n->state;
    int ret;

    pthread_mutex_lock(&m->lock);
    ret = offset > MEM_MAX || len > MEM_MAX ? -ENOSPC : mem_grow(m, offset + len);
    if (!ret) {
        memset(m->data + offset, 0, len);
        mem_log(m, MEM_ZERO, offset, len);
        __atomic_store_n(&n->size, m->size, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&m->lock);
    return ret;
}

static inline int mem_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    if (offset >= n->size)
        return 0;
    return mem_write_zeroes(n, offset, MIN(len, n->size - offset), 0);
}

static inline int mem_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc,
                               struct viv_err *err)
{
    struct mem *m = n->state;
    int ret = 0;

    pthread_mutex_lock(&m->lock);
    if (m->device) {
        ret = size > m->size ? -ENOSPC : 0;
        size = m->size;
    } else if (size < m->size) {
        memset(m->data + size, 0, m->size - size);
        m->size = size;
    } else {
        ret = mem_grow(m, size);
    }
    if (!ret)
        mem_log(m, MEM_TRUNCATE, 0, size);
    n->size = m->size;
    pthread_mutex_unlock(&m->lock);
    return ret ? viv_fail(err, -ret, "no room") : 0;
}

static inline int mem_flush(struct viv_node *n)
{
    struct mem *m = n->state;

    pthread_mutex_lock(&m->lock);
    mem_log(m, MEM_FLUSH, 0, 0);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

/* The bytes belong to the test: they outlive the node. */
static inline int mem_close(struct viv_node *n)
{
    n->state = NULL;
    return 0;
}

static const struct viv_blk_driver mem_driver = {
    .name = "mem-test",
    .protocol = true,
    .close = mem_close,
    .preadv = mem_preadv,
    .pwritev = mem_pwritev,
    .write_zeroes = mem_write_zeroes,
    .discard = mem_discard,
    .truncate = mem_truncate,
    .flush = mem_flush,
};

static inline void mem_init(struct mem *m)
{
    *m = (struct mem){0};
    pthread_mutex_init(&m->lock, NULL);
    mem_grow(m, 4096);
    m->size = 0;
}

static inline void mem_fini(struct mem *m)
{
    if (m->log) {
        for (guint i = 0; i < m->log->len; i++)
            g_free(g_array_index(m->log, struct mem_entry, i).data);
        g_array_free(m->log, TRUE);
    }
    g_free(m->data);
    pthread_mutex_destroy(&m->lock);
}

static inline void mem_copy(struct mem *to, const struct mem *from)
{
    mem_grow(to, MAX(from->size, 1));
    memset(to->data, 0, to->room);
    memcpy(to->data, from->data, from->size);
    to->size = from->size;
}

static inline struct viv_node *mem_node(struct mem *m)
{
    struct viv_node *n = viv_node_new(&mem_driver, "mem");

    n->state = m;
    n->size = m->size;
    n->unmap = true;
    n->zero_init = !m->device;
    return n;
}

/* Does a recorded entry again, or only some of its sectors: bit i of a random stream decides sector i. */
static inline void mem_replay(struct mem *m, const struct mem_entry *e, GRand *some)
{
    uint64_t step;

    if (e->op == MEM_FLUSH || (e->op == MEM_TRUNCATE && some && g_rand_boolean(some)))
        return;
    if (e->op == MEM_TRUNCATE) {
        if (e->len < m->size) {
            memset(m->data + e->len, 0, m->size - e->len);
            m->size = e->len;
        } else {
            mem_grow(m, e->len);
        }
        return;
    }
    for (uint64_t at = 0; at < e->len; at += step) {
        step = MIN(e->len - at, 512 - (e->offset + at) % 512);
        if (some && g_rand_boolean(some))
            continue;
        mem_grow(m, e->offset + at + step);
        if (e->op == MEM_WRITE)
            memcpy(m->data + e->offset + at, e->data + at, step);
        else
            memset(m->data + e->offset + at, 0, step);
    }
}

/* What tests/block/power_cuts.py adds up. */
static inline void mem_tell_cuts(guint entries, guint images)
{
    g_assert_cmpuint(images, >, 0);
    g_test_message("power cuts: %u entries in the record, %u images", entries, images);
}

#endif
