/* The standard input and output of the process; a terminal goes raw and is put back at the end. */
#include "chr/chr_int.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

struct chr_stdio {
    struct viv_chr chr;
    struct viv_chr_fdio io;
};

static struct {
    struct viv_chr *user; /* there is one standard input */
    bool is_tty;
    bool raw;
    struct termios saved, active;
} term;

static bool signals_default = true;

void viv_chr_stdio_signals(bool on)
{
    signals_default = on;
}

static const char *refusal;

void viv_chr_stdio_refuse(const char *why)
{
    refusal = why;
}

static void restore_terminal(void)
{
    if (term.raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &term.saved);
    term.raw = false;
}

/* Back from Ctrl-Z: the shell has put its own settings there. */
static void on_sigcont(int signo)
{
    if (term.raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &term.active);
}

static void make_raw(bool signals)
{
    static bool registered;
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &term.saved) < 0)
        return;
    t = term.saved;
    t.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        t.c_lflag &= ~ISIG;
    t.c_cflag = (t.c_cflag & ~(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    term.active = t;
    if (!registered)
        atexit(restore_terminal);
    registered = true;
    signal(SIGCONT, on_sigcont);
    term.raw = true;
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static int stdio_open(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    struct chr_stdio *s = (struct chr_stdio *)c;
    bool signals =
        viv_opts_given(o, "signal") ? viv_opts_bool(o, "signal") : signals_default;

    if (refusal)
        return viv_fail(err, EINVAL, "%s", refusal);
    if (term.user)
        return viv_fail(err, EBUSY, "%s: stdio is already used by '%s'; 'mon:stdio' or mux=on shares it",
                        viv_opts_what(o), term.user->id);
    term.user = c;
    term.is_tty = isatty(STDIN_FILENO);
    if (term.is_tty)
        make_raw(signals);
    /* Descriptors 0 and 1 are shared with the shell and our parents: O_NONBLOCK on them would be seen there. */
    s->io = (struct viv_chr_fdio){.chr = c, .in = STDIN_FILENO, .out = STDOUT_FILENO, .ask_first = true};
    c->filename = g_strdup("stdio");
    viv_chr_event(c, VIV_CHR_OPENED);
    viv_chr_fdio_start(&s->io);
    return 0;
}

static void stdio_close(struct viv_chr *c)
{
    viv_chr_fdio_stop(&((struct chr_stdio *)c)->io);
    restore_terminal();
    term.user = NULL;
}

static size_t stdio_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    return viv_chr_fdio_write(&((struct chr_stdio *)c)->io, buf, len);
}

static void stdio_accept(struct viv_chr *c)
{
    viv_chr_fdio_accept(&((struct chr_stdio *)c)->io);
}

static const struct viv_opt_def stdio_props[] = {
    VIV_CHR_COMMON_PROPS,
    {.name = "signal", .type = VIV_OPT_BOOL, .help = "Ctrl-C ends the machine instead of going to the guest"},
    VIV_OPT_END,
};

const struct viv_chr_class viv_chr_stdio = {
    .name = "stdio",
    .desc = "standard input and output",
    .size = sizeof(struct chr_stdio),
    .props = stdio_props,
    .open = stdio_open,
    .close = stdio_close,
    .write = stdio_write,
    .accept_input = stdio_accept,
};
