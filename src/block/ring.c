/* One thread takes what was submitted, asks the map, hands the kernel all of it with one system call, and sleeps in that call until something
 * has ended or an eventfd says that there is more; with nothing in the kernel a condition wakes it, which is faster. What is in the page
 * cache is done before the call returns. */
#include "block/ring.h"
#include "block/plain.h"
#include "block/prepare.h"
#include "block/proto/file/file.h"

#include "base/log.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <liburing.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH  128u /* requests in the kernel */
#define SPARES 4u

struct slot {
    struct viv_blk_req *req;
    struct viv_plain where; /* held while the kernel works */
    struct slot *next;
};

struct viv_ring {
    struct viv_node *node;
    struct viv_ring_user user;
    struct io_uring uring;
    int wake; /* eventfd */
    uint64_t wake_buf;
    bool wake_armed;
    struct slot slot[DEPTH], *idle; /* the thread's */
    unsigned busy;                  /* slots in the kernel; the thread's */
    bool buffered;                  /* no O_DIRECT */

    pthread_mutex_t lock;
    pthread_cond_t ended, work;
    pthread_t thread;
    bool started, ending;
    bool asleep;             /* the thread is in the kernel, or is about to be: the eventfd wakes it */
    struct viv_blk_req *head, **tail;
    unsigned queued, flying; /* flying: taken, and neither done nor given back */
    unsigned drained;        /* depth */
    uint64_t count;
};

/* --- one request --- */

static void release(struct viv_ring *r, struct slot *s)
{
    viv_plain_release(r->node, &s->where);
    s->next = r->idle;
    r->idle = s;
    r->busy--;
}

static void landed(struct viv_ring *r, bool ours)
{
    pthread_mutex_lock(&r->lock);
    r->flying--;
    r->count += ours;
    if (!r->flying)
        pthread_cond_broadcast(&r->ended);
    pthread_mutex_unlock(&r->lock);
}

static void start(struct viv_ring *r, struct viv_blk_req *q)
{
    struct slot *s = r->idle; /* take() saw to it that there is one */
    struct io_uring_sqe *e;
    int fd;

    s->req = q;
    fd = viv_plain_find(r->node, r->user.writable, q, &s->where);
    if (fd < 0) {
        r->user.fallback(r->user.opaque, q);
        landed(r, false);
        return;
    }
    r->idle = s->next;
    r->busy++;
    e = io_uring_get_sqe(&r->uring); /* there are more of them than slots */
    if (q->iovcnt == 1 && q->op == VIV_BLK_READ)
        io_uring_prep_read(e, fd, q->iov->iov_base, q->len, s->where.host);
    else if (q->iovcnt == 1)
        io_uring_prep_write(e, fd, q->iov->iov_base, q->len, s->where.host);
    else if (q->op == VIV_BLK_READ)
        io_uring_prep_readv(e, fd, q->iov, q->iovcnt, s->where.host);
    else
        io_uring_prep_writev(e, fd, q->iov, q->iovcnt, s->where.host);
    io_uring_sqe_set_data(e, s);
}

static void finish(struct viv_ring *r, struct slot *s, int result)
{
    struct viv_blk_req *q = s->req;
    bool whole = result >= 0 && (uint64_t)result == q->len;

    if (q->op == VIV_BLK_WRITE)
        viv_plain_wrote(r->node, &s->where, q, whole);
    release(r, s);
    if (whole) {
        r->user.ended(r->user.opaque, q);
        q->done(q, 0); /* q is the caller's again */
    } else {
        r->user.fallback(r->user.opaque, q);
    }
    landed(r, whole);
}

/* --- the thread --- */

static void arm_wake(struct viv_ring *r)
{
    struct io_uring_sqe *e = r->wake_armed ? NULL : io_uring_get_sqe(&r->uring);

    if (!e)
        return;
    io_uring_prep_read(e, r->wake, &r->wake_buf, sizeof(r->wake_buf), 0);
    io_uring_sqe_set_data(e, NULL);
    r->wake_armed = true;
}

/* As many requests as there are slots, linked; *stop: there will be no more. */
static struct viv_blk_req *take(struct viv_ring *r, bool *stop)
{
    struct viv_blk_req *first, **last = &first;
    struct slot *s = r->idle;

    pthread_mutex_lock(&r->lock);
    r->asleep = false;
    while (!r->busy && (!r->head || r->drained) && !r->ending)
        pthread_cond_wait(&r->work, &r->lock);
    for (; s && r->head && !r->drained; s = s->next) {
        *last = r->head;
        last = &r->head->next;
        r->head = r->head->next;
        r->queued--;
        r->flying++;
    }
    *last = NULL;
    if (!r->head)
        r->tail = &r->head;
    r->asleep = !r->head || r->drained;
    *stop = r->ending && !r->head && !r->flying;
    pthread_mutex_unlock(&r->lock);
    return first;
}

static void reap(struct viv_ring *r)
{
    struct io_uring_cqe *c;

    while (io_uring_peek_cqe(&r->uring, &c) == 0) {
        struct slot *s = io_uring_cqe_get_data(c);
        int result = c->res;

        io_uring_cqe_seen(&r->uring, c);
        if (s)
            finish(r, s, result);
        else
            r->wake_armed = false;
    }
}

static void *ring_main(void *opaque)
{
    struct viv_ring *r = opaque;
    bool stop = false, told = false;

    viv_thread_name("viv-ring");
    while (!stop) {
        struct viv_blk_req *q = take(r, &stop), *next;
        int ret;

        for (; q; q = next) {
            next = q->next;
            start(r, q);
        }
        arm_wake(r);
        ret = r->busy ? io_uring_submit_and_wait(&r->uring, 1) : 0;
        if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY) {
            if (!told)
                viv_error("io_uring of '%s': %s; trying on", r->node->filename, strerror(-ret));
            told = true;
            g_usleep(10000);
        }
        reap(r);
    }
    return NULL;
}

/* Lock held. On the first request: a program may have forked since it opened its disks. */
static int start_thread(struct viv_ring *r)
{
    sigset_t old;
    int ret;

    if (r->started)
        return 0;
    viv_thread_block_signals(&old);
    ret = pthread_create(&r->thread, NULL, ring_main, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret)
        return -ret;
    r->started = true;
    return 0;
}

static void wake(struct viv_ring *r)
{
    uint64_t one = 1;

    while (write(r->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* Lock held. Most file systems do a buffered write in a worker of the kernel's: one alone is done sooner by a thread of ours. */
static bool is_lone_write(const struct viv_ring *r, const struct viv_blk_req *req)
{
    return req->op == VIV_BLK_WRITE && r->buffered && !r->flying && !r->queued;
}

/* --- from outside --- */

void viv_ring_submit(struct viv_ring *r, struct viv_blk_req *req)
{
    bool asleep = false, ours;

    pthread_mutex_lock(&r->lock);
    ours = !is_lone_write(r, req) && start_thread(r) == 0;
    if (ours) {
        req->next = NULL;
        *r->tail = req;
        r->tail = &req->next;
        r->queued++;
        asleep = r->asleep && !r->drained;
        r->asleep &= !asleep;
        pthread_cond_signal(&r->work);
    }
    pthread_mutex_unlock(&r->lock);
    if (!ours)
        r->user.fallback(r->user.opaque, req);
    if (asleep)
        wake(r);
}

void viv_ring_drain(struct viv_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->drained++;
    while (r->flying)
        pthread_cond_wait(&r->ended, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

void viv_ring_hold(struct viv_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->drained++;
    pthread_mutex_unlock(&r->lock);
}

bool viv_ring_is_idle(struct viv_ring *r)
{
    bool idle;

    pthread_mutex_lock(&r->lock);
    idle = !r->flying;
    pthread_mutex_unlock(&r->lock);
    return idle;
}

void viv_ring_move(struct viv_ring *r, struct viv_node *n)
{
    pthread_mutex_lock(&r->lock);
    r->node = n;
    r->buffered = viv_file_is_buffered(n);
    pthread_mutex_unlock(&r->lock);
}

void viv_ring_resume(struct viv_ring *r)
{
    bool some;

    pthread_mutex_lock(&r->lock);
    some = --r->drained == 0 && r->head;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    if (some)
        wake(r);
}

unsigned viv_ring_in_flight(struct viv_ring *r)
{
    unsigned n;

    pthread_mutex_lock(&r->lock);
    n = r->queued + r->flying;
    pthread_mutex_unlock(&r->lock);
    return n;
}

uint64_t viv_ring_count(struct viv_ring *r)
{
    uint64_t n;

    pthread_mutex_lock(&r->lock);
    n = r->count;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static int refused(int ret, struct viv_err *err)
{
    const char *why = ret == -ENOSYS  ? "this kernel has none, or a seccomp filter hides it"
                      : ret == -EPERM ? "sysctl kernel.io_uring_disabled or a seccomp filter forbids it"
                      : ret == -ENOMEM ? "no memory may be locked for it (ulimit -l)"
                                       : strerror(-ret);

    return viv_fail(err, -ret, "io_uring: %s", why);
}

/* Nothing but what is done here: else a ring would be a way to open files and sockets past a filter of system calls. */
static int restrict_to_data(struct io_uring *u)
{
    static const uint8_t ops[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV};
    struct io_uring_restriction r[sizeof(ops)] = {0};
    int ret = 0;

    for (size_t i = 0; i < sizeof(ops); i++)
        r[i] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i]};
    /* liburing 2.3 declares its functions for these and lacks them. */
    if (syscall(SYS_io_uring_register, u->ring_fd, IORING_REGISTER_RESTRICTIONS, r, sizeof(ops)) < 0 ||
        syscall(SYS_io_uring_register, u->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        ret = -errno;
    if (ret)
        io_uring_queue_exit(u);
    return ret;
}

static int make_ring(struct io_uring *u)
{
    int ret = io_uring_queue_init(2 * DEPTH, u, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_R_DISABLED);

    if (ret == -EINVAL) /* before Linux 5.19 */
        ret = io_uring_queue_init(2 * DEPTH, u, IORING_SETUP_R_DISABLED);
    if (!ret)
        return restrict_to_data(u);
    return ret == -EINVAL ? io_uring_queue_init(2 * DEPTH, u, 0) : ret; /* before 5.10 */
}

/* For disks that come when no more rings can be made (the sandbox). */
static struct io_uring spare[SPARES];
static unsigned spares;
static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;

void viv_ring_prepare(void)
{
    pthread_mutex_lock(&spare_lock);
    while (spares < SPARES && make_ring(&spare[spares]) == 0)
        spares++;
    pthread_mutex_unlock(&spare_lock);
}

static bool take_spare(struct io_uring *u)
{
    bool found;

    pthread_mutex_lock(&spare_lock);
    found = spares > 0;
    if (found)
        *u = spare[--spares];
    pthread_mutex_unlock(&spare_lock);
    return found;
}

int viv_ring_new(struct viv_node *n, const struct viv_ring_user *u, struct viv_ring **out, struct viv_err *err)
{
    struct viv_ring *r = g_new0(struct viv_ring, 1);
    int ret = make_ring(&r->uring);

    if (ret == -EPERM && take_spare(&r->uring))
        ret = 0;
    if (ret) {
        g_free(r);
        return refused(ret, err);
    }
    r->wake = eventfd(0, EFD_CLOEXEC);
    if (r->wake < 0) {
        ret = viv_fail_os(err, errno, "io_uring: no eventfd");
        io_uring_queue_exit(&r->uring);
        g_free(r);
        return ret;
    }
    r->node = n;
    r->user = *u;
    r->buffered = viv_file_is_buffered(n);
    r->tail = &r->head;
    for (unsigned i = 0; i < DEPTH; i++) {
        r->slot[i].next = r->idle;
        r->idle = &r->slot[i];
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->ended, NULL);
    pthread_cond_init(&r->work, NULL);
    *out = r;
    return 0;
}

void viv_ring_free(struct viv_ring *r)
{
    if (!r)
        return;
    if (r->started) {
        pthread_mutex_lock(&r->lock);
        r->drained = 0;
        r->ending = true;
        pthread_cond_signal(&r->work);
        pthread_mutex_unlock(&r->lock);
        wake(r);
        pthread_join(r->thread, NULL);
    }
    io_uring_queue_exit(&r->uring);
    close(r->wake);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->ended);
    pthread_mutex_destroy(&r->lock);
    g_free(r);
}
