/* A pair of descriptors driven by the loop: input while the front wants it, output as far as it goes. */
#include "chr/chr_int.h"

#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 4096
/* Below what poll's POLLOUT promises a pipe (PIPE_BUF), and little enough for a terminal. */
#define ASK_CHUNK 512
/* A front that has taken nothing of what is unread for this long after the other side has gone will not have it. */
#define PATIENCE_NS ((int64_t)VIV_NS_PER_SEC)

int viv_fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static void input_ended(struct viv_chr_fdio *io)
{
    viv_watch_free(io->in_watch);
    io->in_watch = NULL;
    if (io->eof)
        io->eof(io->chr);
}

/* read(2), and what comes beside it. */
static ssize_t receive(struct viv_chr_fdio *io, uint8_t *buf, size_t len)
{
    char control[CMSG_SPACE(VIV_CHR_FDS * sizeof(int))];
    struct iovec iov = {buf, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n = io->passes_fds ? recvmsg(io->in, &m, MSG_CMSG_CLOEXEC) : read(io->in, buf, len);

    for (struct cmsghdr *h = n >= 0 && io->passes_fds ? CMSG_FIRSTHDR(&m) : NULL; h; h = CMSG_NXTHDR(&m, h)) {
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
            viv_chr_put_fd(io->chr, fd);
        }
    }
    return n;
}

/* Hang-up comes even when nothing is asked: do not spin on it; viv_chr_fdio_accept watches again. A TCP connection does
 * not hang up when the other side has closed it: there is no more to read. */
static void input_unwanted(struct viv_chr_fdio *io, short revents)
{
    if (io->hung_timer && !(revents & (POLLHUP | POLLRDHUP | POLLERR))) {
        viv_watch_set_events(io->in_watch, io->passes_fds ? 0 : POLLRDHUP);
        io->unwanted = true;
        return;
    }
    viv_watch_free(io->in_watch);
    io->in_watch = NULL;
    if (io->hung_timer) {
        io->hung = true;
        viv_timer_set(io->hung_timer, viv_clock_ns(VIV_CLOCK_HOST) + PATIENCE_NS);
    }
}

void viv_chr_fdio_hung(void *opaque)
{
    struct viv_chr_fdio *io = opaque;

    if (io->out_watch) /* it has said all, and still takes what it is told */
        viv_timer_set(io->hung_timer, viv_clock_ns(VIV_CLOCK_HOST) + PATIENCE_NS);
    else
        input_ended(io);
}

static void on_input(void *opaque, int fd, short revents)
{
    struct viv_chr_fdio *io = opaque;
    size_t want = viv_chr_wants(io->chr);
    uint8_t buf[CHUNK];
    ssize_t n;

    if (!want) {
        input_unwanted(io, revents);
        return;
    }
    n = receive(io, buf, want < sizeof(buf) ? want : sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        input_ended(io);
        return;
    }
    if (io->filter)
        n = io->filter(io->chr, buf, n);
    viv_chr_deliver(io->chr, buf, n);
}

void viv_chr_fdio_accept(struct viv_chr_fdio *io)
{
    bool wants;

    if (io->in < 0 || (io->in_watch && !io->unwanted))
        return;
    wants = viv_chr_wants(io->chr);
    if (!wants && (!io->hung_timer || io->in_watch || io->hung))
        return;
    if (io->hung)
        viv_timer_cancel(io->hung_timer);
    if (io->in_watch)
        viv_watch_set_events(io->in_watch, POLLIN);
    else
        io->in_watch = viv_watch_new(io->in, POLLIN, on_input, io);
    io->hung = io->unwanted = false;
}

void viv_chr_fdio_start(struct viv_chr_fdio *io)
{
    viv_chr_fdio_accept(io);
}

static void on_room(void *opaque, int fd, short revents)
{
    struct viv_chr_fdio *io = opaque;

    viv_watch_free(io->out_watch);
    io->out_watch = NULL;
    viv_chr_room(io->chr);
}

static bool has_room(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && p.revents;
}

size_t viv_chr_fdio_write(struct viv_chr_fdio *io, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    if (io->out < 0)
        return len;
    while (done < len) {
        size_t chunk = len - done;
        ssize_t n;

        if (io->ask_first) {
            if (!has_room(io->out))
                break;
            chunk = chunk < ASK_CHUNK ? chunk : ASK_CHUNK;
        }
        n = write(io->out, buf + done, chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return len; /* nobody listens (any more): dropped */
        done += n;
    }
    if (done < len && !io->out_watch)
        io->out_watch = viv_watch_new(io->out, POLLOUT, on_room, io);
    return done;
}

void viv_chr_fdio_stop(struct viv_chr_fdio *io)
{
    viv_watch_free(io->in_watch);
    viv_watch_free(io->out_watch);
    io->in_watch = io->out_watch = NULL;
    io->hung = io->unwanted = false;
    if (io->hung_timer)
        viv_timer_cancel(io->hung_timer);
}
