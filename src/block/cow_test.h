/* Test support: a file over bytes that stay as they are: what is written goes into pages of its own. For damaged images, many of them,
 * most of whose bytes nobody reads. Not part of any program. */
#ifndef VIV_BLOCK_COW_TEST_H
#define VIV_BLOCK_COW_TEST_H

#include "block/iov.h"
#include "block/node.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define COW_PAGE  4096u
#define COW_MAX  (16u << 20) /* bytes of the file */

struct cow {
    const uint8_t *below;
    uint64_t below_size;
    uint8_t **page; /* NULL: as below; COW_MAX / COW_PAGE of them */
    uint64_t pages; /* none but these is not NULL */
};

static uint8_t cow_zero[COW_PAGE]; /* a page of zeroes that was not written */

/* What a page holds, from `in` on. */
static inline void cow_get(const struct cow *c, uint64_t at, uint8_t *to, size_t len)
{
    const uint8_t *p = c->page[at / COW_PAGE];
    size_t there = at >= c->below_size ? 0 : MIN(len, c->below_size - at);

    if (p) {
        memcpy(to, p + at % COW_PAGE, len);
        return;
    }
    memcpy(to, c->below + at, there);
    memset(to + there, 0, len - there);
}

static inline uint8_t *cow_own(struct cow *c, uint64_t index)
{
    uint8_t *p = c->page[index];

    if (!p || p == cow_zero) {
        p = g_malloc(COW_PAGE);
        cow_get(c, index * COW_PAGE, p, COW_PAGE);
        c->page[index] = p;
        c->pages = MAX(c->pages, index + 1);
    }
    return p;
}

static inline int cow_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    uint8_t buf[COW_PAGE];

    for (size_t done = 0, step; done < len; done += step) {
        uint64_t at = offset + done;

        step = MIN(len - done, COW_PAGE - at % COW_PAGE);
        if (at >= n->size) {
            viv_iov_zero(iov, cnt, done, len - done);
            break;
        }
        step = MIN(step, n->size - at);
        cow_get(n->state, at, buf, step);
        viv_iov_put(iov, cnt, done, buf, step);
    }
    return 0;
}

static inline int cow_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    if (offset > COW_MAX || len > COW_MAX - offset)
        return -ENOSPC;
    for (size_t done = 0, step; done < len; done += step) {
        uint64_t at = offset + done;

        step = MIN(len - done, COW_PAGE - at % COW_PAGE);
        viv_iov_take(iov, cnt, done, cow_own(n->state, at / COW_PAGE) + at % COW_PAGE, step);
    }
    n->size = MAX(n->size, offset + len);
    return 0;
}

static inline void cow_clear(struct cow *c, uint64_t from, uint64_t to)
{
    for (uint64_t at = from, step; at < to; at += step) {
        uint8_t **p = &c->page[at / COW_PAGE];

        step = MIN(to - at, COW_PAGE - at % COW_PAGE);
        if (step < COW_PAGE) {
            memset(cow_own(c, at / COW_PAGE) + at % COW_PAGE, 0, step);
            continue;
        }
        if (*p != cow_zero)
            g_free(*p);
        *p = cow_zero;
        c->pages = MAX(c->pages, at / COW_PAGE + 1);
    }
}

static inline int cow_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    if (offset > COW_MAX || len > COW_MAX - offset)
        return -ENOSPC;
    cow_clear(n->state, offset, offset + len);
    n->size = MAX(n->size, offset + len);
    return 0;
}

static inline int cow_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return offset >= n->size ? 0 : cow_write_zeroes(n, offset, MIN(len, n->size - offset), 0);
}

static inline int cow_truncate(struct viv_node *n, uint64_t size, enum viv_prealloc prealloc, struct viv_err *err)
{
    if (size > COW_MAX)
        return viv_fail(err, ENOSPC, "no room");
    cow_clear(n->state, MIN(size, n->size), MAX(size, n->size));
    n->size = size;
    return 0;
}

static inline int cow_flush(struct viv_node *n)
{
    return 0;
}

static inline int cow_close(struct viv_node *n)
{
    struct cow *c = n->state;

    for (uint64_t i = 0; i < c->pages; i++)
        if (c->page[i] != cow_zero)
            g_free(c->page[i]);
    g_free(c->page);
    g_free(c);
    n->state = NULL;
    return 0;
}

static const struct viv_blk_driver cow_driver = {
    .name = "cow-test",
    .protocol = true,
    .close = cow_close,
    .preadv = cow_preadv,
    .pwritev = cow_pwritev,
    .write_zeroes = cow_write_zeroes,
    .discard = cow_discard,
    .truncate = cow_truncate,
    .flush = cow_flush,
};

static inline struct viv_node *cow_node(const uint8_t *below, uint64_t size)
{
    struct viv_node *n = viv_node_new(&cow_driver, "cow");
    struct cow *c = g_new0(struct cow, 1);

    c->below = below;
    c->below_size = size;
    c->page = g_new0(uint8_t *, COW_MAX / COW_PAGE);
    n->state = c;
    n->size = size;
    n->unmap = true;
    n->zero_init = true;
    return n;
}

#endif
