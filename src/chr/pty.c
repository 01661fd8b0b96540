/* A new pseudo-terminal, for screen, minicom and virsh console.
 *
 * While nobody has the other side open, output is dropped. Linux says so by POLLHUP on our side and
 * never tells when somebody opens it: a timer looks once a second, and each write looks too. */
#include "chr/chr_int.h"

#include "base/units.h"
#include "host/broker.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct chr_pty {
    struct viv_chr chr;
    struct viv_chr_fdio io;
    struct viv_timer *look;
};

static bool peer_there(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void look_later(struct chr_pty *p)
{
    viv_timer_set(p->look, viv_clock_ns(VIV_CLOCK_HOST) + (int64_t)VIV_NS_PER_SEC);
}

static void check_peer(struct chr_pty *p)
{
    if (p->chr.is_open || !peer_there(p->io.out))
        return;
    p->io.in = p->io.out;
    viv_chr_event(&p->chr, VIV_CHR_OPENED);
    viv_chr_fdio_start(&p->io);
}

static void on_look(void *opaque)
{
    struct chr_pty *p = opaque;

    check_peer(p);
    if (!p->chr.is_open)
        look_later(p);
}

/* read() says EIO once the last user of the other side is gone. */
static void pty_eof(struct viv_chr *c)
{
    struct chr_pty *p = (struct chr_pty *)c;

    viv_chr_fdio_stop(&p->io);
    p->io.in = -1;
    viv_chr_event(c, VIV_CHR_CLOSED);
    look_later(p);
}

/* Raw, and closed once: only after a close does the master report that nobody is there. */
static int prepare_slave(int master, const char *name, const char *what, struct viv_err *err)
{
    struct termios t;
    int fd = -1;

    if (!tcgetattr(master, &t)) { /* Linux: those of the other side */
        cfmakeraw(&t);
        tcsetattr(master, TCSANOW, &t);
    }
    if (viv_broker_sealed()) /* it may not open it; the broker has done that */
        return 0;
    fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return viv_fail_os(err, errno, "%s: cannot open the new terminal %s", what, name);
    close(fd);
    return 0;
}

static int pty_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_pty *p = (struct chr_pty *)c;
    int fd = viv_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0, err);
    char name[64];
    int rc;

    if (fd < 0) {
        viv_err_prefix(err, "%s: cannot make a pseudo-terminal", viv_opts_what(o));
        return fd;
    }
    if (unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) != 0)
        rc = viv_fail_os(err, errno, "%s: cannot make a pseudo-terminal", viv_opts_what(o));
    else
        rc = prepare_slave(fd, name, viv_opts_what(o), err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    p->io = (struct viv_chr_fdio){.chr = c, .in = -1, .out = fd, .eof = pty_eof};
    p->look = viv_timer_new(VIV_CLOCK_HOST, on_look, p);
    c->filename = g_strdup_printf("pty:%s", name);
    if (!c->later) { /* stdout may be a monitor's by then; it tells itself */
        printf("char device redirected to %s (label %s)\n", name, c->id);
        fflush(stdout);
    }
    look_later(p);
    return 0;
}

static void pty_close(struct viv_chr *c)
{
    struct chr_pty *p = (struct chr_pty *)c;

    viv_chr_fdio_stop(&p->io);
    viv_timer_free(p->look);
    close(p->io.out);
}

static size_t pty_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    struct chr_pty *p = (struct chr_pty *)c;

    check_peer(p);
    return c->is_open ? viv_chr_fdio_write(&p->io, buf, len) : len;
}

static void pty_accept(struct viv_chr *c)
{
    viv_chr_fdio_accept(&((struct chr_pty *)c)->io);
}

static const struct viv_opt_def pty_props[] = {VIV_CHR_COMMON_PROPS, VIV_OPT_END};

const struct viv_chr_class viv_chr_pty = {
    .name = "pty",
    .desc = "a new pseudo-terminal",
    .size = sizeof(struct chr_pty),
    .props = pty_props,
    .open = pty_open,
    .close = pty_close,
    .write = pty_write,
    .accept_input = pty_accept,
};
