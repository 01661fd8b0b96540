/* throttle: requests wait their turn in a group of -object throttle-group. */
#include "block/throttle.h"
#include "block/filter/filter.h"
#include "opt/opt.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>

struct throttle {
    struct viv_throttled *member;
};

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool released;
};

static const struct viv_opt_def opts[] = {
    {"throttle-group", VIV_OPT_STR, "id of a throttle-group object", .required = true},
    VIV_OPT_END,
};

/* Under the group's lock. */
static void release(struct viv_blk *unused, struct viv_blk_req *req)
{
    struct waiter *w = req->opaque;

    pthread_mutex_lock(&w->lock);
    w->released = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void wait_turn(struct viv_node *n, bool write, size_t len)
{
    struct throttle *t = n->state;
    struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    struct viv_blk_req req = {.op = write ? VIV_BLK_WRITE : VIV_BLK_READ, .len = len, .opaque = &w};

    if (viv_throttle_hold(t->member, &req)) {
        pthread_mutex_lock(&w.lock);
        while (!w.released)
            pthread_cond_wait(&w.cond, &w.lock);
        pthread_mutex_unlock(&w.lock);
    }
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
}

static int throttle_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    wait_turn(n, false, len);
    return viv_filter_preadv(n, offset, iov, cnt, len);
}

static int throttle_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    wait_turn(n, true, len);
    return viv_filter_pwritev(n, offset, iov, cnt, len);
}

/* No bytes of data: only the number of requests counts. */
static int throttle_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    wait_turn(n, true, 0);
    return viv_filter_write_zeroes(n, offset, len, flags);
}

static int throttle_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    wait_turn(n, true, 0);
    return viv_filter_discard(n, offset, len);
}

static int throttle_close(struct viv_node *n)
{
    struct throttle *t = n->state;

    viv_throttle_leave(t->member);
    return viv_filter_close(n);
}

static int throttle_open(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    const char *id = o->own ? viv_opts_str(o->own, "throttle-group") : NULL;
    struct viv_throttle *group = id ? viv_throttle_find(id) : NULL;
    struct throttle *t;

    if (!group)
        return viv_fail(err, ENOENT, "Throttle group '%s' does not exist; -object throttle-group,id=%s,x-iops-total=... makes it",
                        id ? id : "", id ? id : "ID");
    t = g_new0(struct throttle, 1);
    t->member = viv_throttle_join(group, NULL, release);
    viv_filter_init(n, t);
    return 0;
}

const struct viv_blk_driver viv_blk_throttle = {
    .name = "throttle",
    .protocol = true,
    .filter = true,
    .open_opts = opts,
    .open_children = (const struct viv_child_def[]){{.name = "file"}, {0}},
    .open = throttle_open,
    .close = throttle_close,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .status = viv_filter_status,
    .write_zeroes = throttle_write_zeroes,
    .discard = throttle_discard,
    .truncate = viv_filter_truncate,
};
