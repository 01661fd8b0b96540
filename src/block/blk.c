/* A user's handle on a node: requests from any thread, moved by a few threads of its own.
 *
 * submit() only queues: it never blocks on the disk and done() never runs inside it. Threads start when there is
 * work and no idle one, and end after a few idle seconds, so that a disk at rest costs nothing. With aio=io_uring
 * reads and writes go to a ring first (ring.h), which gives back what it cannot do. */
#include "block/blk.h"
#include "block/iov.h"
#include "block/plain.h"
#include "block/ring.h"
#include "block/stats.h"
#include "block/throttle.h"

#include "base/checked.h"
#include "base/log.h"
#include "host/lock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define POOL_MAX     8
#define IDLE_SECONDS 5
#define TRY_MAX      (64u << 10) /* longer copies are for several threads */

struct viv_blk {
    struct viv_node *node;
    struct viv_node_user *user;
    bool writable;
    bool writethrough;
    struct viv_throttled *limits; /* NULL: none */
    struct viv_ring *ring;        /* NULL: none */

    pthread_mutex_t lock;
    pthread_cond_t work; /* for pool threads: queue not empty, or closing */
    pthread_cond_t idle; /* for drain and close: running or threads went down */
    struct viv_blk_req *head, **tail;
    unsigned queued, running;
    unsigned threads, waiting;
    unsigned drained; /* depth */
    bool closing;

    void (*resized)(void *opaque); /* NULL: its user takes no other size; device lock */
    void *resized_opaque;
    uint32_t resize_unit;

    struct viv_blk *next; /* of all there are; under all_lock, as what follows */
    bool held;            /* by viv_blk_hold_all() */
    bool soft;            /* `lock`: held, but others are not idle yet: who has the device lock, which they may need to end, still gets in */
    bool moved;           /* by the viv_blk_move_all() under way */
    struct viv_blk_counters *counters;

    bool ending;          /* it does what it has left, whoever holds all */
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct viv_blk *all;

static int sync_write(struct viv_blk *b, int ret, unsigned flags)
{
    if (!ret && (b->writethrough || (flags & VIV_BLK_FUA)))
        ret = viv_node_flush(b->node);
    return ret;
}

static int run_request(struct viv_blk *b, const struct viv_blk_req *r)
{
    struct viv_node *n = b->node;

    if (r->op != VIV_BLK_FLUSH && !viv_range_inside(r->offset, r->len, viv_node_size(n)))
        return -EINVAL;
    if ((r->op == VIV_BLK_READ || r->op == VIV_BLK_WRITE) &&
        viv_iov_bytes(r->iov, r->iovcnt) != r->len)
        return -EINVAL;
    if (!b->writable && r->op != VIV_BLK_READ)
        return r->op == VIV_BLK_FLUSH ? 0 : -EROFS;
    switch (r->op) {
    case VIV_BLK_READ:
        return viv_node_preadv(n, r->offset, r->iov, r->iovcnt, r->len);
    case VIV_BLK_WRITE:
        return sync_write(b, viv_node_pwritev(n, r->offset, r->iov, r->iovcnt, r->len), r->flags);
    case VIV_BLK_FLUSH:
        return viv_node_flush(n);
    case VIV_BLK_DISCARD:
        return sync_write(b, viv_node_discard(n, r->offset, r->len), r->flags);
    case VIV_BLK_WRITE_ZEROES:
        return sync_write(b, viv_node_write_zeroes(n, r->offset, r->len, r->flags), r->flags);
    }
    return -ENOTSUP;
}

/* Waits for work with the lock held. False: this thread is no longer needed. */
static bool wait_for_work(struct viv_blk *b)
{
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    while (!b->closing && (!b->head || b->drained) && ret == 0) {
        b->waiting++;
        ret = pthread_cond_timedwait(&b->work, &b->lock, &until);
        b->waiting--;
    }
    return b->head && !b->drained;
}

static void *pool_main(void *opaque)
{
    struct viv_blk *b = opaque;

    viv_thread_name("viv-block");
    pthread_mutex_lock(&b->lock);
    while (wait_for_work(b)) {
        struct viv_blk_req *r = b->head;
        int ret;

        b->head = r->next;
        if (!b->head)
            b->tail = &b->head;
        b->queued--;
        b->running++;
        pthread_mutex_unlock(&b->lock);
        ret = run_request(b, r);
        viv_blk_stats_count(b->counters, r, r->start, ret);
        r->done(r, ret); /* r is the caller's again */
        pthread_mutex_lock(&b->lock);
        b->running--;
        pthread_cond_broadcast(&b->idle);
    }
    b->threads--;
    pthread_cond_broadcast(&b->idle);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Lock held. A thread more when there is more work than threads that wait for it. */
static void start_thread(struct viv_blk *b)
{
    pthread_attr_t attr;
    sigset_t old;
    pthread_t t;

    if (b->drained || b->waiting >= b->queued || b->threads >= POOL_MAX)
        return;
    viv_thread_block_signals(&old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    b->threads++;
    if (pthread_create(&t, &attr, pool_main, b) != 0) {
        b->threads--;
        if (!b->threads)
            viv_error("no thread for disk '%s': requests wait for one", b->node->filename);
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void enqueue(struct viv_blk *b, struct viv_blk_req *r)
{
    r->next = NULL;
    pthread_mutex_lock(&b->lock);
    *b->tail = r;
    b->tail = &r->next;
    b->queued++;
    start_thread(b);
    pthread_cond_signal(&b->work);
    pthread_mutex_unlock(&b->lock);
}

static void dispatch(struct viv_blk *b, struct viv_blk_req *r)
{
    if (b->ring && (r->op == VIV_BLK_READ || (r->op == VIV_BLK_WRITE && !b->writethrough)))
        viv_ring_submit(b->ring, r);
    else
        enqueue(b, r);
}

void viv_blk_submit(struct viv_blk *b, struct viv_blk_req *r)
{
    r->start = viv_blk_stats_clock();
    if (!b->limits || !viv_throttle_hold(b->limits, r))
        dispatch(b, r);
}

int viv_blk_set_limits(struct viv_blk *b, const char *group, const struct viv_limits *l, struct viv_err *err)
{
    g_autofree char *own = g_strdup_printf("#%p", (void *)b);
    struct viv_throttle *t;

    if (viv_limits_any(l))
        t = viv_throttle_get(group ? group : own, l);
    else
        t = group ? viv_throttle_find(group) : NULL;
    if (!t && group)
        return viv_fail(err, ENOENT, "there is no throttling group '%s' yet: its first disk says its limits", group);
    viv_blk_join_limits(b, t);
    return 0;
}

void viv_blk_join_limits(struct viv_blk *b, struct viv_throttle *take)
{
    struct viv_throttled *old = b->limits;

    b->limits = take ? viv_throttle_join(take, b, dispatch) : NULL;
    if (old)
        viv_throttle_leave(old);
}

struct viv_throttle *viv_blk_limits(const struct viv_blk *b)
{
    return b->limits ? viv_throttle_group(b->limits) : NULL;
}

void viv_blk_lift_limits(struct viv_blk *b)
{
    if (b->limits)
        viv_throttle_release_all(b->limits);
}

void viv_blk_drain(struct viv_blk *b)
{
    if (b->ring) /* what it gives back waits in the queue */
        viv_ring_drain(b->ring);
    pthread_mutex_lock(&b->lock);
    b->drained++;
    while (b->running)
        pthread_cond_wait(&b->idle, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

void viv_blk_resume(struct viv_blk *b)
{
    pthread_mutex_lock(&b->lock);
    if (--b->drained == 0) {
        for (unsigned i = 0; b->head && i < b->queued && i < POOL_MAX; i++)
            start_thread(b);
        pthread_cond_broadcast(&b->work); /* callers that move their data themselves wait for it too */
    }
    pthread_mutex_unlock(&b->lock);
    if (b->ring)
        viv_ring_resume(b->ring);
}

unsigned viv_blk_in_flight(const struct viv_blk *b)
{
    struct viv_blk *m = (struct viv_blk *)b;
    unsigned n;

    pthread_mutex_lock(&m->lock);
    n = b->queued + b->running;
    pthread_mutex_unlock(&m->lock);
    return n + (m->limits ? viv_throttle_held(m->limits) : 0) + (m->ring ? viv_ring_in_flight(m->ring) : 0);
}

static void from_ring(void *opaque, struct viv_blk_req *r)
{
    enqueue(opaque, r);
}

static void ring_ended(void *opaque, const struct viv_blk_req *r)
{
    struct viv_blk *b = opaque;

    viv_blk_stats_count(b->counters, r, r->start, 0);
}

/* Where there is none, threads do the same work. */
static void open_ring(struct viv_blk *b)
{
    struct viv_ring_user u = {from_ring, ring_ended, b, b->writable};
    const struct viv_node *n = b->node;
    struct viv_err err = VIV_ERR_INIT;

    while (n->file && !n->drv->protocol)
        n = n->file;
    if (n->aio != VIV_AIO_THREADS && viv_ring_new(b->node, &u, &b->ring, &err))
        viv_warn("'%s': %s; threads do the work", b->node->filename, err.text);
}

/* Takes the references, also on failure. */
static int new_handle(struct viv_node *node_take, const char *user, const struct viv_node_use *use, bool writethrough,
                      struct viv_blk_counters *counters_take, struct viv_blk **out, struct viv_err *err)
{
    pthread_condattr_t attr;
    struct viv_blk *b;
    struct viv_node_user *u = NULL;
    int ret = viv_node_attach_as(node_take, user, use, &u, err);

    if (ret) {
        viv_node_put(&node_take);
        viv_blk_stats_put(counters_take);
        return ret;
    }
    b = g_new0(struct viv_blk, 1);
    b->node = node_take;
    b->user = u;
    b->writable = use->perms & VIV_PERM_WRITE;
    b->writethrough = writethrough;
    b->counters = counters_take;
    b->tail = &b->head;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->work, &attr);
    pthread_cond_init(&b->idle, &attr);
    pthread_condattr_destroy(&attr);
    open_ring(b);
    pthread_mutex_lock(&all_lock);
    b->next = all;
    all = b;
    pthread_mutex_unlock(&all_lock);
    *out = b;
    return 0;
}

int viv_blk_new(struct viv_node *node_take, unsigned perms, unsigned shared, const char *user,
                bool writethrough, struct viv_blk **out, struct viv_err *err)
{
    static unsigned long parties;
    const struct viv_node_use use = {.perms = perms, .shared = shared, .party = __atomic_add_fetch(&parties, 1, __ATOMIC_RELAXED)};

    return new_handle(node_take, user, &use, writethrough, viv_blk_stats_new(), out, err);
}

int viv_blk_new_beside(struct viv_blk *b, unsigned perms, const char *user, struct viv_blk **out, struct viv_err *err)
{
    const struct viv_node_use use = {.perms = perms, .shared = b->user->shared, .party = b->user->party};
    struct viv_node *n = b->node;
    int ret;

    viv_node_get(n);
    ret = new_handle(n, user, &use, b->writethrough, viv_blk_stats_ref(b->counters), out, err);
    if (!ret && b->limits)
        viv_blk_join_limits(*out, viv_throttle_ref(viv_blk_limits(b)));
    return ret;
}

/* --- all handles at once --- */

/* all_lock held. What is under way goes on. */
static void hold(struct viv_blk *b)
{
    if (b->held || b->ending)
        return;
    b->held = true;
    if (b->ring)
        viv_ring_hold(b->ring);
    pthread_mutex_lock(&b->lock);
    b->drained++;
    b->soft = true;
    pthread_mutex_unlock(&b->lock);
}

/* False: somebody got in meanwhile. */
static bool shut(struct viv_blk *b, bool on)
{
    bool idle;

    pthread_mutex_lock(&b->lock);
    b->soft = !on && b->held;
    idle = !b->running && !b->ending;
    if (!on)
        pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    return idle;
}

static bool is_idle(struct viv_blk *b)
{
    bool idle;

    pthread_mutex_lock(&b->lock);
    idle = !b->running && !b->ending;
    pthread_mutex_unlock(&b->lock);
    return idle && (!b->ring || viv_ring_is_idle(b->ring));
}

/* Without all_lock while there is something to wait for: requests end in callbacks that may want the device lock, and who has that may
 * be opening or closing a handle. */
void viv_blk_hold_all(void)
{
    for (;;) {
        bool idle = true;

        pthread_mutex_lock(&all_lock);
        for (struct viv_blk *b = all; b; b = b->next) {
            hold(b);
            idle &= is_idle(b);
        }
        for (struct viv_blk *b = all; b && idle; b = b->next)
            idle = shut(b, true);
        if (idle)
            return;
        for (struct viv_blk *b = all; b; b = b->next)
            shut(b, false);
        pthread_mutex_unlock(&all_lock);
        g_usleep(200);
    }
}

void viv_blk_release_all(void)
{
    for (struct viv_blk *b = all; b; b = b->next)
        if (b->held) {
            b->held = false;
            viv_blk_resume(b);
        }
    pthread_mutex_unlock(&all_lock);
}

static int move(struct viv_blk *b, struct viv_node *to, struct viv_err *err)
{
    const struct viv_node_user was = *b->user;
    struct viv_node_user *u = NULL;
    const struct viv_node_use use = {.perms = was.perms, .shared = was.shared, .party = was.party, .moved = true};
    int ret = viv_node_attach_as(to, was.name, &use, &u, err);

    if (ret)
        return ret;
    viv_node_detach(b->node, &b->user);
    viv_node_get(to);
    b->user = u;
    pthread_mutex_lock(&b->lock); /* somebody may be asking for its size */
    b->node = to; /* the caller has a reference to the old one, and drops ours */
    pthread_mutex_unlock(&b->lock);
    if (b->ring)
        viv_ring_move(b->ring, to);
    return 0;
}

int viv_blk_move_all(struct viv_node *from, struct viv_node *to, struct viv_err *err)
{
    int ret = 0;

    for (struct viv_blk *b = all; b && !ret; b = b->next)
        if (b->node == from && (ret = move(b, to, err)) == 0) {
            struct viv_node *old = from;

            b->moved = true;
            viv_node_put(&old);
        }
    for (struct viv_blk *b = all; b; b = b->next) { /* all or none */
        if (ret && b->moved && move(b, from, NULL) == 0) {
            struct viv_node *old = to;

            viv_node_put(&old);
        }
        b->moved = false;
    }
    return ret;
}

int viv_blk_share(struct viv_blk *b, bool writes, struct viv_err *err)
{
    unsigned shared = VIV_PERM_READ | (writes ? VIV_PERM_WRITE | VIV_PERM_RESIZE : 0) | (b->resized ? VIV_PERM_RESIZE : 0);
    int ret = viv_node_user_share(b->user, shared, err);

    if (!ret && writes)
        viv_node_loosen(b->node);
    return ret;
}

/* --- another size --- */

void viv_blk_on_resize(struct viv_blk *b, uint32_t unit, void (*resized)(void *opaque), void *opaque)
{
    b->resized = resized;
    b->resized_opaque = opaque;
    b->resize_unit = unit;
    b->user->shared = resized ? b->user->shared | VIV_PERM_RESIZE : b->user->shared & ~(unsigned)VIV_PERM_RESIZE;
}

int viv_blk_check_resize(struct viv_node *n, uint64_t size, const struct viv_blk *but, struct viv_err *err)
{
    int ret = 0;

    pthread_mutex_lock(&all_lock);
    for (struct viv_blk *b = all; b && !ret; b = b->next) {
        if (b->node != n || b == but)
            continue;
        if (!b->resized)
            ret = viv_fail(err, EBUSY, "%s uses '%s' and cannot be told of another size", b->user->name, n->filename);
        else if (size % b->resize_unit)
            ret = viv_fail(err, EINVAL, "%s has blocks of %u bytes: the new size must be a multiple of that", b->user->name, b->resize_unit);
    }
    pthread_mutex_unlock(&all_lock);
    return ret;
}

/* One at a time: what is called may look at handles. */
void viv_blk_tell_resized(struct viv_node *n, const struct viv_blk *but)
{
    GPtrArray *who = g_ptr_array_new();

    pthread_mutex_lock(&all_lock);
    for (struct viv_blk *b = all; b; b = b->next)
        if (b->node == n && b != but && b->resized)
            g_ptr_array_add(who, b);
    pthread_mutex_unlock(&all_lock);
    for (guint i = 0; i < who->len; i++) { /* the device lock keeps them from being closed by their owners */
        struct viv_blk *b = who->pdata[i];

        if (b->resized)
            b->resized(b->resized_opaque);
    }
    g_ptr_array_free(who, TRUE);
}

/* From here on it is not held any more: what it has left is done. */
static void begin_end(struct viv_blk *b)
{
    pthread_mutex_lock(&all_lock);
    if (b->held && b->ring)
        viv_ring_resume(b->ring);
    b->held = false;
    b->ending = true;
    pthread_mutex_unlock(&all_lock);
}

static void forget(struct viv_blk *b)
{
    struct viv_blk **p = &all;

    pthread_mutex_lock(&all_lock);
    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    pthread_mutex_unlock(&all_lock);
}

int viv_blk_open_path(const char *path, const char *format, unsigned perms, unsigned shared,
                      const char *user, struct viv_blk **out, struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = !(perms & (VIV_PERM_WRITE | VIV_PERM_RESIZE)),
                              .share_write = shared & VIV_PERM_WRITE};
    struct viv_node *n = NULL;
    int ret = viv_node_open_image(path, format, &o, &n, err);

    return ret ? ret : viv_blk_new(n, perms, shared, user, false, out, err);
}

int viv_blk_close(struct viv_blk *b, struct viv_err *err)
{
    char *name;
    int ret, r;

    if (!b)
        return 0;
    begin_end(b);
    if (b->limits)
        viv_throttle_leave(b->limits);
    viv_ring_free(b->ring);
    pthread_mutex_lock(&b->lock);
    b->drained = 0;
    b->closing = true;
    if (b->head)
        start_thread(b);
    pthread_cond_broadcast(&b->work);
    while (b->threads)
        pthread_cond_wait(&b->idle, &b->lock);
    pthread_mutex_unlock(&b->lock);
    name = g_strdup(b->node->filename);
    ret = b->writable ? viv_node_flush(b->node) : 0;
    viv_node_detach(b->node, &b->user);
    r = viv_node_put(&b->node);
    ret = ret ? ret : r;
    forget(b);
    pthread_cond_destroy(&b->idle);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    viv_blk_stats_put(b->counters);
    g_free(b);
    if (ret)
        viv_fail_os(err, -ret, "'%s' could not be written completely", name);
    g_free(name);
    return ret;
}

uint64_t viv_blk_size(const struct viv_blk *b)
{
    struct viv_blk *m = (struct viv_blk *)b;
    uint64_t size;

    pthread_mutex_lock(&m->lock); /* the node may be another one in a moment, and this one gone */
    size = viv_node_size(b->node);
    pthread_mutex_unlock(&m->lock);
    return size;
}

bool viv_blk_writable(const struct viv_blk *b)
{
    return b->writable;
}

const char *viv_blk_format(const struct viv_blk *b)
{
    return b->node->drv->name;
}

const char *viv_blk_filename(const struct viv_blk *b)
{
    return b->node->filename;
}

bool viv_blk_writethrough(const struct viv_blk *b)
{
    return b->writethrough;
}

struct viv_ring *viv_blk_ring(struct viv_blk *b)
{
    return b->ring;
}

const struct viv_blk_counters *viv_blk_counters(const struct viv_blk *b)
{
    return b->counters;
}

void viv_blk_use_counters(struct viv_blk *b, struct viv_blk_counters *c)
{
    viv_blk_stats_put(b->counters);
    b->counters = viv_blk_stats_ref(c);
}

void viv_blk_count(struct viv_blk *b, enum viv_blk_op op, int64_t start, int result)
{
    const struct viv_blk_req r = {.op = op};

    viv_blk_stats_count(b->counters, &r, start, result);
}

struct viv_node *viv_blk_node(struct viv_blk *b)
{
    return b->node;
}

/* A request in the caller's thread begins. False: the handle is drained, and `wait` was not asked for. */
static bool begin(struct viv_blk *b, bool wait)
{
    bool may;

    pthread_mutex_lock(&b->lock);
    while (wait && b->drained > (unsigned)(b->soft && viv_dev_locked()))
        pthread_cond_wait(&b->work, &b->lock);
    may = wait || !b->drained;
    b->running += may;
    pthread_mutex_unlock(&b->lock);
    return may;
}

static void end(struct viv_blk *b)
{
    pthread_mutex_lock(&b->lock);
    b->running--;
    pthread_cond_broadcast(&b->idle);
    pthread_mutex_unlock(&b->lock);
}

int viv_blk_run(struct viv_blk *b, const struct viv_blk_req *r)
{
    int ret;

    begin(b, true);
    ret = run_request(b, r);
    end(b);
    return ret;
}

int viv_blk_try(struct viv_blk *b, const struct viv_blk_req *r)
{
    int64_t start;
    int ret;

    if (b->limits || r->len > TRY_MAX || (r->op == VIV_BLK_WRITE && b->writethrough) || !begin(b, false))
        return -EAGAIN;
    start = viv_blk_stats_clock();
    ret = viv_plain_try(b->node, b->writable, r);
    if (ret != -EAGAIN)
        viv_blk_stats_count(b->counters, r, start, ret);
    end(b);
    return ret;
}

/* The blocking forms run in the caller's thread. */
static int run_sync(struct viv_blk *b, enum viv_blk_op op, uint64_t offset, void *buf, uint64_t len,
                    unsigned flags)
{
    struct iovec v = {buf, buf ? len : 0};
    struct viv_blk_req r = {
        .op = op, .flags = flags, .offset = offset, .len = len, .iov = &v, .iovcnt = 1};

    return viv_blk_run(b, &r);
}

int viv_blk_pread(struct viv_blk *b, uint64_t offset, void *buf, size_t len)
{
    return run_sync(b, VIV_BLK_READ, offset, buf, len, 0);
}

int viv_blk_pwrite(struct viv_blk *b, uint64_t offset, const void *buf, size_t len, unsigned flags)
{
    return run_sync(b, VIV_BLK_WRITE, offset, (void *)buf, len, flags);
}

int viv_blk_pwrite_zeroes(struct viv_blk *b, uint64_t offset, uint64_t len, unsigned flags)
{
    return run_sync(b, VIV_BLK_WRITE_ZEROES, offset, NULL, len, flags);
}

int viv_blk_pdiscard(struct viv_blk *b, uint64_t offset, uint64_t len, unsigned flags)
{
    return run_sync(b, VIV_BLK_DISCARD, offset, NULL, len, flags);
}

int viv_blk_flush(struct viv_blk *b)
{
    return run_sync(b, VIV_BLK_FLUSH, 0, NULL, 0, 0);
}

int viv_blk_truncate(struct viv_blk *b, uint64_t size, struct viv_err *err)
{
    int ret;

    viv_blk_drain(b);
    ret = viv_node_truncate(b->node, size, VIV_PREALLOC_OFF, err);
    viv_blk_resume(b);
    return ret;
}
