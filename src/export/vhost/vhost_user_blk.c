/* Exports of type vhost-user-blk: a virtual machine's process connects and hands over its memory and its queues; from then on
 * requests do not pass through it. One front end at a time; another one may come after it. */
#include "export/export_int.h"
#include "export/vhost/session.h"

#include "base/log.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct vhost_export {
    struct viv_vhost_disk disk;
    struct viv_export_listen listen;
    int stop; /* eventfd */
    pthread_t thread;
    bool connected; /* atomic */
    pthread_mutex_t lock;
    struct viv_vhost_session *session; /* `lock`; NULL: nobody is connected */
};

static const struct viv_opt_def vhost_opts[] = {
    VIV_EXPORT_OPTS,
    VIV_EXPORT_ADDR_OPTS,
    {.name = "num-queues", .type = VIV_OPT_INT, .def = "1", .help = "request queues"},
    {.name = "logical-block-size", .type = VIV_OPT_SIZE, .def = "512", .help = "smallest unit of a request"},
    VIV_OPT_END,
};

/* --- messages on the socket --- */

/* True: there is something to read. */
static bool wait_for(struct vhost_export *v, int fd)
{
    struct pollfd p[2] = {{fd, POLLIN, 0}, {v->stop, POLLIN, 0}};

    while (poll(p, 2, -1) < 0 && errno == EINTR)
        ;
    return !p[1].revents && p[0].revents;
}

static void close_fds(struct vhost_msg *m)
{
    for (unsigned i = 0; i < m->fd_count; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    m->fd_count = 0;
}

static int take_fds(struct vhost_msg *m, struct msghdr *h)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        size_t len;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        len = c->cmsg_len - CMSG_LEN(0);
        memcpy(m->fds, CMSG_DATA(c), len); /* the buffer has room for VHOST_FDS_MAX */
        m->fd_count = len / sizeof(int);
    }
    return h->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

/* The header, and the descriptors that come with its first byte. 0, or a negative errno; -ECONNRESET: the front end has gone. */
static int read_header(struct vhost_export *v, int fd, struct vhost_msg *m)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
    } control;
    size_t got = 0;

    m->fd_count = 0;
    while (got < sizeof(m->h)) {
        struct iovec iov = {(uint8_t *)&m->h + got, sizeof(m->h) - got};
        struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;
        int ret;

        if (!got) {
            h.msg_control = &control;
            h.msg_controllen = sizeof(control);
        }
        if (!wait_for(v, fd))
            return -ECONNRESET;
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        ret = got ? 0 : take_fds(m, &h);
        if (ret)
            return ret;
        got += n;
    }
    return 0;
}

static int read_payload(struct vhost_export *v, int fd, struct vhost_msg *m)
{
    uint32_t got = 0;

    if (m->h.size > sizeof(m->p))
        return -EMSGSIZE;
    memset(&m->p, 0, sizeof(m->p));
    while (got < m->h.size) {
        ssize_t n;

        if (!wait_for(v, fd))
            return -ECONNRESET;
        n = recv(fd, m->p.bytes + got, m->h.size - got, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        got += n;
    }
    return 0;
}

/* A front end waits for its answers: there is room for one. */
static int send_answer(int fd, struct vhost_msg *m)
{
    struct iovec iov[2] = {{&m->h, sizeof(m->h)}, {&m->p, m->h.size}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = 2};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    ssize_t n;

    if (m->answer_fd >= 0) {
        h.msg_control = &control;
        h.msg_controllen = sizeof(control);
        control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.align), &m->answer_fd, sizeof(int));
    }
    m->h.flags = VHOST_VERSION | VHOST_FLAG_REPLY;
    n = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == (ssize_t)(sizeof(m->h) + m->h.size) ? 0 : -EPIPE;
}

/* --- a front end --- */

static int next_message(struct vhost_export *v, struct viv_vhost_session *s, int fd, struct viv_err *err)
{
    struct vhost_msg m = {.answer_fd = -1};
    int ret = read_header(v, fd, &m);

    if (!ret)
        ret = read_payload(v, fd, &m);
    if (ret && ret != -ECONNRESET)
        viv_fail_os(err, -ret, "vhost-user: a message cannot be read");
    if (!ret)
        ret = viv_vhost_session_do(s, &m, err);
    if (ret > 0)
        ret = send_answer(fd, &m);
    if (m.answer_fd >= 0)
        close(m.answer_fd);
    close_fds(&m);
    return ret;
}

static void set_session(struct vhost_export *v, struct viv_vhost_session *s)
{
    pthread_mutex_lock(&v->lock);
    v->session = s;
    pthread_mutex_unlock(&v->lock);
}

/* Who cannot be told finds the old size, and errors behind the new end. */
static void on_resized(void *opaque)
{
    struct viv_export *x = opaque;
    struct vhost_export *v = x->state;

    pthread_mutex_lock(&v->lock);
    if (v->session && !viv_vhost_session_tell_config(v->session))
        viv_warn("vhost-user-blk export '%s': the front end cannot be told that the disk has another size", x->id);
    pthread_mutex_unlock(&v->lock);
}

static void serve_one(struct vhost_export *v, int fd)
{
    struct viv_vhost_session *s = viv_vhost_session_new(&v->disk);
    struct viv_err err = VIV_ERR_INIT;

    __atomic_store_n(&v->connected, true, __ATOMIC_RELAXED);
    set_session(v, s);
    while (!next_message(v, s, fd, &err))
        ;
    set_session(v, NULL);
    viv_vhost_session_free(s);
    close(fd);
    __atomic_store_n(&v->connected, false, __ATOMIC_RELAXED);
    if (err.code)
        viv_guest_error("vhost-user", "the front end is cut off: %s", err.text);
}

static void *serve(void *opaque)
{
    struct vhost_export *v = opaque;

    while (wait_for(v, v->listen.fds[0])) {
        int fd = accept4(v->listen.fds[0], NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            serve_one(v, fd);
        else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            g_usleep(100000); /* no descriptors left */
    }
    return NULL;
}

/* --- the export --- */

static int take_opts(struct vhost_export *v, struct viv_export *x, struct viv_opts *o, struct viv_err *err)
{
    int64_t queues = viv_opts_int(o, "num-queues");
    uint64_t block = viv_opts_size(o, "logical-block-size");

    if (queues < 1)
        return viv_fail(err, EINVAL, "num-queues must be greater than 0");
    if (queues > VIV_VHOST_QUEUES_MAX)
        return viv_fail(err, EINVAL, "num-queues=%lld: %u at most work", (long long)queues, VIV_VHOST_QUEUES_MAX);
    if (block < 512 || block > 2097152 || (block & (block - 1)))
        return viv_fail(err, EINVAL, "Property %s.logical-block-size doesn't take value %llu (a power of two from 512 to 2097152)",
                        x->id, (unsigned long long)block);
    if (viv_blk_size(x->blk) % block)
        return viv_fail(err, EINVAL, "the size of node '%s' is no multiple of logical-block-size=%llu", x->node_name,
                        (unsigned long long)block);
    if (strcmp(viv_opts_str(o, "addr.type"), "inet") == 0)
        return viv_fail(err, EINVAL, "vhost-user-blk: memory is handed over by a socket of this host: addr.type=unix or fd");
    v->disk = (struct viv_vhost_disk){.blk = x->blk, .block_size = block, .queues = queues, .writable = x->writable};
    memcpy(v->disk.id, x->id, MIN(strlen(x->id), sizeof(v->disk.id)));
    return 0;
}

static void destroy(struct vhost_export *v)
{
    viv_export_listen_fini(&v->listen);
    if (v->stop >= 0)
        close(v->stop);
    pthread_mutex_destroy(&v->lock);
    g_free(v);
}

static int vhost_open(struct viv_export *x, struct viv_opts *o, struct viv_err *err)
{
    struct vhost_export *v = g_new0(struct vhost_export, 1);
    int ret = take_opts(v, x, o, err);

    pthread_mutex_init(&v->lock, NULL);
    v->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!ret && v->stop < 0)
        ret = viv_fail_os(err, errno, "no eventfd");
    if (!ret)
        ret = viv_export_listen(o, 1, &v->listen, err);
    if (!ret)
        ret = viv_thread_start(&v->thread, "viv-vhost", serve, v, err);
    if (ret) {
        destroy(v);
        return ret;
    }
    x->state = v;
    viv_blk_on_resize(x->blk, v->disk.block_size, on_resized, x);
    return 0;
}

static int vhost_close(struct viv_export *x, bool hard)
{
    struct vhost_export *v = x->state;
    uint64_t one = 1;

    if (!hard && __atomic_load_n(&v->connected, __ATOMIC_RELAXED))
        return -EBUSY;
    if (write(v->stop, &one, sizeof(one)) < 0)
        viv_error("eventfd: %s", strerror(errno));
    pthread_join(v->thread, NULL);
    destroy(v);
    return 0;
}

const struct viv_export_type viv_export_vhost_user_blk = {
    .name = "vhost-user-blk",
    .opts = vhost_opts,
    .open = vhost_open,
    .close = vhost_close,
};
