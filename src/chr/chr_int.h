/* Inside chr/: what a back end is.
 *
 * A back end embeds struct viv_chr first. It hands input over with viv_chr_deliver, at most viv_chr_wants() bytes, and
 * says viv_chr_event(OPENED/CLOSED) as its other side comes and goes. Its write never blocks. */
#ifndef VIV_CHR_CHR_INT_H
#define VIV_CHR_CHR_INT_H

#include "base/byname.h"
#include "chr/chr.h"
#include "host/clock.h"
#include "host/loop.h"

#include <glib.h>

struct viv_chr_mux;

struct viv_chr_class {
    const char *name;
    const char *desc;
    size_t size; /* of the instance */
    const struct viv_opt_def *props;
    /* Sets filename. On failure nothing is left behind. */
    int (*open)(struct viv_chr *c, struct viv_opts *o, struct viv_err *err);
    void (*close)(struct viv_chr *c); /* may be NULL */
    size_t (*write)(struct viv_chr *c, const uint8_t *buf, size_t len);
    void (*accept_input)(struct viv_chr *c); /* may be NULL */
} VIV_BY_NAME;

#define VIV_CHR_FDS 8

struct viv_chr {
    const struct viv_chr_class *cls;
    char *id;
    char *filename;
    bool is_open;
    bool later; /* made while the machine runs */
    bool kept;  /* viv_chr_keep */
    int log_fd; /* logfile=, or -1 */
    const struct viv_chr_front *ops;
    void *front;
    struct viv_chr_mux *mux;
    GSList *waiters; /* of struct viv_chr_waiter */
    int fds[VIV_CHR_FDS]; /* passed by the other side, not yet taken */
    unsigned fd_count;
    struct viv_chr *next;
};

/* Properties that every back end has, spliced into its schema. */
#define VIV_CHR_COMMON_PROPS                                                                       \
    {.name = "id", .type = VIV_OPT_STR, .help = "name, unique"},                                   \
    {.name = "mux", .type = VIV_OPT_BOOL, .help = "several front ends; Ctrl-A C switches"},        \
    {.name = "logfile", .type = VIV_OPT_STR, .help = "file that gets a copy of the output"},       \
    {.name = "logappend", .type = VIV_OPT_BOOL, .help = "append to the logfile"}

extern const struct viv_chr_class viv_chr_null, viv_chr_file, viv_chr_pipe, viv_chr_serial,
    viv_chr_stdio, viv_chr_pty, viv_chr_socket, viv_chr_ringbuf, viv_chr_vc;

/* For back ends. */
size_t viv_chr_wants(struct viv_chr *c);
void viv_chr_deliver(struct viv_chr *c, const uint8_t *buf, size_t len);
void viv_chr_event(struct viv_chr *c, enum viv_chr_event ev);
void viv_chr_room(struct viv_chr *c); /* there is room again: wakes who waits */

void viv_chr_put_fd(struct viv_chr *c, int fd); /* takes it; the oldest goes when there are too many */
void viv_chr_drop_fds(struct viv_chr *c);

/* The mux, between back end and fronts. */
struct viv_chr_mux *viv_chr_mux_new(struct viv_chr *c);
void viv_chr_mux_free(struct viv_chr_mux *m);
int viv_chr_mux_attach(struct viv_chr_mux *m, const struct viv_chr_front *ops, void *front,
                       struct viv_err *err);
void viv_chr_mux_detach(struct viv_chr_mux *m, void *front);
void viv_chr_mux_input(struct viv_chr_mux *m, const uint8_t *buf, size_t len);
void viv_chr_mux_event(struct viv_chr_mux *m, enum viv_chr_event ev);
void viv_chr_mux_accept(struct viv_chr_mux *m);
size_t viv_chr_mux_wants(struct viv_chr_mux *m);
bool viv_chr_mux_attached(const struct viv_chr_mux *m);
/* Adds the time stamps of Ctrl-A T. */
size_t viv_chr_mux_write(struct viv_chr_mux *m, const uint8_t *buf, size_t len);

/* A descriptor pair read and written through the loop. */
struct viv_chr_fdio {
    struct viv_chr *chr;
    int in, out; /* -1: none; may be the same */
    bool passes_fds; /* a unix socket: descriptors may come beside the bytes */
    bool ask_first; /* descriptors shared with others: not O_NONBLOCK, poll before each write */
    /* Input ended or failed; in is no longer watched. */
    void (*eof)(struct viv_chr *c);
    /* Optional: rewrites input in place (telnet); returns the new length. */
    size_t (*filter)(struct viv_chr *c, uint8_t *buf, size_t len);
    /* Sockets whose end matters although the front does not read what came before it (the next client waits, or it is
     * to connect again): calls viv_chr_fdio_hung. The caller's; may be NULL. */
    struct viv_timer *hung_timer;
    bool unwanted; /* in_watch is there for the end alone */
    bool hung;     /* the other side has gone, the timer runs */
    struct viv_watch *in_watch, *out_watch;
};

void viv_chr_fdio_start(struct viv_chr_fdio *io);
void viv_chr_fdio_accept(struct viv_chr_fdio *io);
void viv_chr_fdio_hung(void *io);
size_t viv_chr_fdio_write(struct viv_chr_fdio *io, const uint8_t *buf, size_t len);
/* Stops watching; closes nothing. */
void viv_chr_fdio_stop(struct viv_chr_fdio *io);
int viv_fd_set_nonblock(int fd);

#endif
