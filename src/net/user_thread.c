/* The thread that runs libslirp, and the callbacks libslirp makes. */
#include "net/user.h"

#include "base/log.h"
#include "base/units.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/thread.h"
#include "net/csum.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

/* --- callbacks: slirp thread (or a caller that holds u->lock) --- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    struct user_net *u = opaque;
    struct iovec iov = {(void *)buf, len};

    /* A full queue drops, as a wire would; sockets are left alone long before. */
    viv_frameq_push(&u->to_guest, &iov, 1, len);
    return len;
}

static void guest_error(const char *msg, void *opaque)
{
    viv_guest_error(((struct user_net *)opaque)->n.id, "%s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    return viv_clock_ns(VIV_CLOCK_HOST);
}

static void *timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    struct user_net *u = opaque;
    struct user_timer *t = g_new0(struct user_timer, 1);

    t->id = id;
    t->opaque = cb_opaque;
    t->expiry_ms = INT64_MAX;
    t->next = u->timers;
    u->timers = t;
    return t;
}

static void timer_free(void *timer, void *opaque)
{
    struct user_net *u = opaque;

    for (struct user_timer **p = &u->timers; *p; p = &(*p)->next) {
        if (*p == timer) {
            *p = (*p)->next;
            g_free(timer);
            return;
        }
    }
}

static void timer_mod(void *timer, int64_t expire_time, void *opaque)
{
    ((struct user_timer *)timer)->expiry_ms = expire_time;
}

static void no_poll_fd(int fd, void *opaque)
{
}

static void notify(void *opaque)
{
    user_wake(opaque);
}

static void init_completed(Slirp *slirp, void *opaque)
{
}

const SlirpCb user_callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = no_poll_fd,
    .unregister_poll_fd = no_poll_fd,
    .notify = notify,
    .init_completed = init_completed,
    .timer_new_opaque = timer_new_opaque,
};

/* --- waking --- */

/* The thread clears nothing before it is in poll: it announces itself, looks at its queues once more, and polls.
 * Whoever puts work in looks at `sleeping` afterwards. One of the two sees the other. */
void user_wake(struct user_net *u)
{
    uint64_t one = 1;

    if (__atomic_exchange_n(&u->sleeping, false, __ATOMIC_SEQ_CST) &&
        write(u->wake_fd, &one, sizeof(one)) < 0)
        viv_warn("%s: cannot wake the network thread: %s", u->n.id, g_strerror(errno));
}

/* --- the thread --- */

static int add_poll(int fd, int events, void *opaque)
{
    struct user_net *u = opaque;
    short e = 0;

    if (u->nfds == u->fds_room) {
        u->fds_room *= 2;
        u->fds = g_renew(struct pollfd, u->fds, u->fds_room);
    }
    if (events & SLIRP_POLL_IN)
        e |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        e |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        e |= POLLPRI;
    u->fds[u->nfds] = (struct pollfd){.fd = fd, .events = e};
    return u->nfds++;
}

static int get_revents(int idx, void *opaque)
{
    struct user_net *u = opaque;
    short r = idx >= 0 && (unsigned)idx < u->nfds ? u->fds[idx].revents : 0;

    return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
           (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* Frames from the guest. True when the NIC waits to hear that there is room again. */
static bool take_from_guest(struct user_net *u)
{
    struct viv_net_hdr hdr;
    uint8_t *frame;
    size_t len;

    /* libslirp takes TCP segments of any size, so what was left for us to cut stays whole. */
    while (viv_frameq_used(&u->to_guest) < USER_QUEUE_HIGH &&
           (frame = viv_frameq_peek(&u->to_host, &len))) {
        memcpy(&hdr, frame, sizeof(hdr));
        frame += sizeof(hdr);
        len -= sizeof(hdr);
        if (!(hdr.flags & VIV_NET_HDR_NEEDS_CSUM) || viv_net_finish_csum(frame, len, &hdr))
            slirp_input(u->slirp, frame, len);
        viv_frameq_pop(&u->to_host);
    }
    return viv_frameq_used(&u->to_host) < USER_QUEUE_LOW && viv_frameq_take_refused(&u->to_host);
}

static uint32_t run_timers(struct user_net *u, uint32_t timeout)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_HOST) / (int64_t)VIV_NS_PER_MS;

    for (struct user_timer *t = u->timers; t; t = t->next) {
        if (t->expiry_ms <= now) {
            t->expiry_ms = INT64_MAX;
            slirp_handle_timer(u->slirp, t->id, t->opaque);
        }
        if (t->expiry_ms != INT64_MAX && t->expiry_ms - now < timeout)
            timeout = t->expiry_ms > now ? t->expiry_ms - now : 0;
    }
    return timeout;
}

/* What to wait for. Returns the time to wait in ms. */
static uint32_t prepare(struct user_net *u)
{
    uint32_t timeout = UINT32_MAX;

    u->nfds = 0;
    add_poll(u->wake_fd, SLIRP_POLL_IN, u);
    __atomic_store_n(&u->throttled, viv_frameq_used(&u->to_guest) >= USER_QUEUE_HIGH,
                     __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&u->throttled, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&u->look_again, false, __ATOMIC_SEQ_CST);
        slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    }
    return run_timers(u, timeout);
}

static bool work_waits(struct user_net *u)
{
    size_t len;

    return __atomic_load_n(&u->quit, __ATOMIC_SEQ_CST) ||
           (!__atomic_load_n(&u->throttled, __ATOMIC_SEQ_CST) &&
            (__atomic_load_n(&u->look_again, __ATOMIC_SEQ_CST) || viv_frameq_peek(&u->to_host, &len))) ||
           (__atomic_load_n(&u->throttled, __ATOMIC_SEQ_CST) &&
            viv_frameq_used(&u->to_guest) < USER_QUEUE_LOW);
}

/* True when poll returned (not an error). */
static bool wait_for_work(struct user_net *u, uint32_t timeout)
{
    uint64_t count;
    int n, ms = timeout > INT32_MAX ? -1 : (int)timeout;

    __atomic_store_n(&u->sleeping, true, __ATOMIC_SEQ_CST);
    if (work_waits(u))
        ms = 0;
    do
        n = poll(u->fds, u->nfds, ms);
    while (n < 0 && errno == EINTR);
    __atomic_store_n(&u->sleeping, false, __ATOMIC_SEQ_CST);
    if (n > 0 && u->fds[0].revents && read(u->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        viv_warn("%s: reading the wake-up descriptor: %s", u->n.id, g_strerror(errno));
    return n >= 0;
}

/* Collects segments that can go to the guest as one. False: the oldest frame goes as it is. */
static bool collect(struct user_net *u, const uint8_t *frame, size_t len)
{
    if (!(u->n.rx & VIV_NET_TSO4) || !viv_coalesce_start(&u->big, frame, len))
        return false;
    do
        viv_frameq_pop(&u->to_guest);
    while ((frame = viv_frameq_peek(&u->to_guest, &len)) && viv_coalesce_add(&u->big, frame, len));
    viv_coalesce_finish(&u->big, &u->big_gso);
    return true;
}

/* False: the guest has no room. */
static bool give_big(struct user_net *u)
{
    bool taken;

    if (!u->big_gso.gso_size)
        taken = viv_netdev_deliver(&u->n, u->big.buf, u->big.len, NULL);
    else if (u->n.rx & VIV_NET_TSO4)
        taken = viv_netdev_deliver(&u->n, u->big.buf, u->big.len, &u->big_gso);
    else
        taken = true; /* the guest was reset meanwhile: nobody waits for it */
    if (taken)
        u->big.len = 0;
    return taken;
}

/* Device lock held. Runs on the slirp thread, and on a vCPU that made room. */
void user_deliver(struct user_net *u)
{
    const uint8_t *frame;
    bool any = false;
    size_t len;

    VIV_ASSERT_DEV_LOCKED();
    while (viv_netdev_can_deliver(&u->n)) {
        if (!u->big.len) {
            frame = viv_frameq_peek(&u->to_guest, &len);
            if (!frame)
                break;
            if (!collect(u, frame, len)) {
                if (!viv_netdev_deliver(&u->n, frame, len, NULL))
                    break;
                viv_frameq_pop(&u->to_guest);
                any = true;
                continue;
            }
        }
        if (!give_big(u))
            break;
        any = true;
    }
    if (any)
        viv_netdev_deliver_done(&u->n);
    if (__atomic_load_n(&u->throttled, __ATOMIC_SEQ_CST) &&
        viv_frameq_used(&u->to_guest) < USER_QUEUE_LOW)
        user_wake(u);
}

static void hand_over(struct user_net *u, bool send_ready)
{
    if (!send_ready && !viv_frameq_used(&u->to_guest))
        return;
    viv_dev_lock();
    user_deliver(u);
    if (send_ready && u->n.ops && u->n.ops->send_ready)
        u->n.ops->send_ready(u->n.nic);
    viv_dev_unlock();
}

static void *slirp_thread(void *opaque)
{
    struct user_net *u = opaque;

    u->fds_room = 16;
    u->fds = g_new(struct pollfd, u->fds_room);
    while (!__atomic_load_n(&u->quit, __ATOMIC_SEQ_CST)) {
        bool send_ready, polled, throttled;
        uint32_t timeout;

        pthread_mutex_lock(&u->lock);
        send_ready = take_from_guest(u);
        timeout = prepare(u);
        throttled = __atomic_load_n(&u->throttled, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&u->lock);
        hand_over(u, send_ready);
        polled = wait_for_work(u, timeout);
        pthread_mutex_lock(&u->lock);
        if (!throttled)
            slirp_pollfds_poll(u->slirp, !polled, get_revents, u);
        pthread_mutex_unlock(&u->lock);
    }
    g_free(u->fds);
    viv_dev_lock();
    u->exited = true;
    pthread_cond_broadcast(&u->exited_cond);
    viv_dev_unlock();
    return NULL;
}

static bool still_there(struct user_net *u)
{
    struct viv_netdev *n = NULL;

    while ((n = viv_netdev_next(n)) && n != &u->n)
        ;
    return n && n->type == &viv_netdev_user;
}

static void start_now(void *opaque)
{
    struct user_net *u = opaque;
    struct viv_err err = VIV_ERR_INIT;

    if (!still_there(u))
        return; /* gone before the loop ran */
    u->start_queued = false;
    if (u->started || __atomic_load_n(&u->quit, __ATOMIC_SEQ_CST))
        return;
    if (viv_thread_start(&u->thread, "slirp", slirp_thread, u, &err) < 0) {
        viv_error("%s: %s; the guest has no network", u->n.id, err.text);
        return;
    }
    u->started = true;
}

void user_thread_start(struct user_net *u)
{
    if (u->started || u->start_queued)
        return;
    u->start_queued = true;
    viv_loop_call(start_now, u);
}

void user_thread_stop(struct user_net *u)
{
    uint64_t one = 1;

    if (!u->started)
        return;
    __atomic_store_n(&u->quit, true, __ATOMIC_SEQ_CST);
    if (write(u->wake_fd, &one, sizeof(one)) < 0)
        viv_warn("%s: cannot wake the network thread: %s", u->n.id, g_strerror(errno));
    while (!u->exited)
        viv_dev_wait(&u->exited_cond);
    pthread_join(u->thread, NULL); /* it only has to return: it holds no lock any more */
    u->started = false;
}
