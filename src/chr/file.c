/* Back ends that are one or two opened paths: null, file, pipe, serial (a host terminal line or other character device). */
#include "chr/chr_int.h"

#include "host/broker.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct chr_path {
    struct viv_chr chr;
    struct viv_chr_fdio io;
};

static size_t path_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    return viv_chr_fdio_write(&((struct chr_path *)c)->io, buf, len);
}

static void path_accept(struct viv_chr *c)
{
    viv_chr_fdio_accept(&((struct chr_path *)c)->io);
}

static void path_close(struct viv_chr *c)
{
    struct chr_path *p = (struct chr_path *)c;

    viv_chr_fdio_stop(&p->io);
    if (p->io.in >= 0 && p->io.in != p->io.out)
        close(p->io.in);
    if (p->io.out >= 0)
        close(p->io.out);
}

static void start(struct chr_path *p, int in, int out)
{
    p->io = (struct viv_chr_fdio){.chr = &p->chr, .in = in, .out = out};
    viv_chr_event(&p->chr, VIV_CHR_OPENED);
    viv_chr_fdio_start(&p->io);
}

/* --- null --- */

static int null_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    c->filename = g_strdup("null");
    viv_chr_event(c, VIV_CHR_OPENED);
    return 0;
}

static size_t null_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    return len;
}

static const struct viv_opt_def null_props[] = {VIV_CHR_COMMON_PROPS, VIV_OPT_END};

const struct viv_chr_class viv_chr_null = {
    .name = "null",
    .desc = "takes everything, says nothing",
    .size = sizeof(struct viv_chr),
    .props = null_props,
    .open = null_open,
    .write = null_write,
};

/* --- file --- */

static int file_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    bool append = viv_opts_bool(o, "append");
    const char *path = viv_opts_str(o, "path");
    const char *input = viv_opts_str(o, "input-path");
    int out, in = -1;

    out = viv_open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0666, err);
    if (out >= 0 && input) {
        in = viv_open(input, O_RDONLY | O_NONBLOCK, 0, err);
        if (in < 0)
            close(out);
    }
    if (out < 0 || (input && in < 0)) {
        viv_err_prefix(err, "%s", viv_opts_what(o));
        return out < 0 ? out : in;
    }
    c->filename = g_strdup("file");
    start((struct chr_path *)c, in, out);
    return 0;
}

static const struct viv_opt_def file_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "path", .type = VIV_OPT_STR, .help = "file that gets the output", .required = true},
    {.name = "input-path", .type = VIV_OPT_STR, .help = "file that input is read from"},
    {.name = "append", .type = VIV_OPT_BOOL, .help = "append instead of truncating"},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_file = {
    .name = "file",
    .desc = "output into a file",
    .size = sizeof(struct chr_path),
    .props = file_props,
    .open = file_open,
    .close = path_close,
    .write = path_write,
    .accept_input = path_accept,
};

/* --- pipe: PATH.in and PATH.out, or one FIFO both ways --- */

static int open_fifo(struct viv_chr *c, const char *path, const char *suffix, struct viv_err *err)
{
    g_autofree char *name = g_strconcat(path, suffix, NULL);

    if (c->later) /* the monitor's words name the pair */
        viv_broker_words(name);
    /* Read-write, so that the other side may come and go. */
    return viv_open(name, O_RDWR | O_NONBLOCK, 0, err);
}

static int pipe_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    const char *path = viv_opts_str(o, "path");
    struct viv_err first = VIV_ERR_INIT;
    int in = open_fifo(c, path, ".in", &first);
    int out = open_fifo(c, path, ".out", &first);

    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        in = out = open_fifo(c, path, "", NULL);
    }
    if (in < 0)
        return viv_fail(err, ENOENT, "%s: %s; make the pair with: mkfifo '%s.in' '%s.out'",
                        viv_opts_what(o), first.text, path, path);
    c->filename = g_strdup("pipe");
    start((struct chr_path *)c, in, out);
    return 0;
}

static const struct viv_opt_def pipe_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "path", .type = VIV_OPT_STR, .help = "PATH.in and PATH.out are FIFOs", .required = true},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_pipe = {
    .name = "pipe",
    .desc = "a pair of FIFOs",
    .size = sizeof(struct chr_path),
    .props = pipe_props,
    .open = pipe_open,
    .close = path_close,
    .write = path_write,
    .accept_input = path_accept,
};

/* --- serial: a terminal line, or another character device as it is --- */

/* /dev/stdout and /dev/stderr where they are no terminal: opened by name, a pipe would be read too, which takes from
 * its reader what is written, and a file would be overwritten from its start. */
static int own_output(const char *path)
{
    int fd = !strcmp(path, "/dev/stdout") ? STDOUT_FILENO : !strcmp(path, "/dev/stderr") ? STDERR_FILENO : -1;

    return fd < 0 || isatty(fd) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* /dev/null has been read to its end; it is still written to. */
static void never_again(struct viv_chr *c)
{
    ((struct chr_path *)c)->io.in = -1;
}

static int prepare(int fd, const char *what, const char *path, struct viv_err *err)
{
    struct termios t;
    struct stat st;

    if (tcgetattr(fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(fd, TCSANOW, &t);
        return 0;
    }
    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return viv_fail(err, ENOTTY, "%s: '%s' is neither a terminal line nor another character device; file:%s writes "
                        "into a file, pipe: takes a pair of FIFOs", what, path, path);
    return 0;
}

static int serial_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_path *p = (struct chr_path *)c;
    const char *path = viv_opts_str(o, "path");
    int own = own_output(path), fd, rc;

    c->filename = g_strdup("serial");
    if (own >= 0) {
        start(p, -1, own);
        p->io.ask_first = true; /* O_NONBLOCK would be set for everyone who shares it */
        return 0;
    }
    fd = viv_open(path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0, err);
    if (fd < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(o));
        return fd;
    }
    rc = prepare(fd, viv_opts_what(o), path, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    start(p, fd, fd);
    if (!isatty(fd))
        p->io.eof = never_again;
    return 0;
}

static const struct viv_opt_def serial_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "path", .type = VIV_OPT_STR, .help = "host line, as /dev/ttyS0, or another character device", .required = true},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_serial = {
    .name = "serial",
    .desc = "a terminal line or character device of the host",
    .size = sizeof(struct chr_path),
    .props = serial_props,
    .open = serial_open,
    .close = path_close,
    .write = path_write,
    .accept_input = path_accept,
};
