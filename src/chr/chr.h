/* Character back ends: -chardev, -serial and the like. One front end (a UART, a console port, a monitor)
 * per back end, several through a mux. Device lock held for all calls; callbacks run on the loop thread. */
#ifndef VIV_CHR_CHR_H
#define VIV_CHR_CHR_H

#include "base/byname.h"
#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct viv_chr;

enum viv_chr_event { VIV_CHR_OPENED, VIV_CHR_CLOSED, VIV_CHR_BREAK, VIV_CHR_MUX_IN, VIV_CHR_MUX_OUT };

struct viv_chr_front {
    /* How many bytes can be taken now; 0 stops reading until viv_chr_accept_input. */
    size_t (*can_read)(void *front);
    void (*read)(void *front, const uint8_t *buf, size_t len);
    void (*event)(void *front, enum viv_chr_event ev); /* may be NULL */
    /* viv_chr_change: the back end is this one from now on, which has what waited for room. NULL: it must stay. */
    void (*moved)(void *front, struct viv_chr *to);
    bool (*open)(void *front); /* is anybody there to read? NULL: always */
} VIV_BY_NAME;

/* `-chardev backend,id=...`; "backend" is the implied key. Waits for a client where it says so (wait=on). */
int viv_chr_new(struct viv_raw_opts *opts, struct viv_chr **out, struct viv_err *err);
/* The short form of -serial/-monitor: "stdio", "mon:stdio", "null", "none" (*out NULL), "pty", "file:F",
 * "unix:P,server,nowait", "tcp:h:p,server=on", "telnet:...", "pipe:F", "/dev/ttyX", "chardev:ID", "ringbuf".
 * `id` names it; `what` opens errors ("-serial"). After "mon:" the caller attaches a monitor as well. */
int viv_chr_new_short(const char *what, const char *id, const char *text, struct viv_chr **out,
                      struct viv_err *err);
/* The same while the machine runs: nobody is waited for (wait=on is refused), nothing is printed, and the device lock is let go
 * while names are looked up and connections made. */
int viv_chr_add(struct viv_raw_opts *opts, struct viv_chr **out, struct viv_err *err);
/* Puts another back end in the place of `c`, under its front end, if it has one; `c` is freed then. `opts` as for -chardev, without
 * id=. On failure all is as before. */
int viv_chr_change(struct viv_chr *c, struct viv_raw_opts *opts, struct viv_chr **out, struct viv_err *err);
/* Frees it, if nobody is attached and nobody keeps it. */
int viv_chr_remove(struct viv_chr *c, struct viv_err *err);
/* Who made it also ends it: nobody else changes or removes it. */
void viv_chr_keep(struct viv_chr *c);
/* The front end (of a mux: all) sees a break. */
void viv_chr_break(struct viv_chr *c);
struct viv_chr *viv_chr_find(const char *id);
const char *viv_chr_id(const struct viv_chr *c);
/* Nobody is attached; not from within a callback of its own. */
void viv_chr_free(struct viv_chr *c);
void viv_chr_free_all(void); /* restores the terminal */
const char *viv_chr_backend_at(unsigned i); /* names of those that work; NULL: there are no more */
bool viv_chr_help(const char *backend, FILE *to); /* its options, or (NULL) the back ends; false: there is none */
/* All in the order they were made; NULL starts and ends the walk. What QEMU calls its filename ("pty:/dev/pts/3"). */
struct viv_chr *viv_chr_next(const struct viv_chr *prev);
const char *viv_chr_filename(const struct viv_chr *c);
bool viv_chr_attached(const struct viv_chr *c);
bool viv_chr_front_open(const struct viv_chr *c); /* attached, and that front is open */
/* Does some back end use the standard input and output of the process? */
bool viv_chr_uses_stdio(void);

/* -EBUSY when it has a front already and is no mux (or a full one). VIV_CHR_OPENED follows at once where it is
 * open. On a mux the first front has the focus. */
int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front,
                   struct viv_err *err);
void viv_chr_detach(struct viv_chr *c, void *front);
/* Takes up to len bytes, returns how many; fewer when the back end is full (then viv_chr_on_writable tells).
 * A back end nobody listens to (a socket without a client) takes and drops all. */
size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len);
/* Calls fn(opaque) once, when there is room again; NULL fn cancels that of `opaque`. */
void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque);
/* A descriptor that the other side has passed (SCM_RIGHTS on a unix socket), the oldest first; the caller's to close. -1: none. */
int viv_chr_take_fd(struct viv_chr *c);
/* The front can read again. */
void viv_chr_accept_input(struct viv_chr *c);
bool viv_chr_is_mux(const struct viv_chr *c);
/* What signal= of stdio is when not given (QEMU: on, off with -nographic). */
void viv_chr_stdio_signals(bool on);
/* From now on nothing gets stdio, whichever option asks: this is why (it stays the caller's). */
void viv_chr_stdio_refuse(const char *why);
/* -echr: the escape character of all muxes (Ctrl-A), an ASCII code. */
void viv_chr_set_escape(uint8_t c);
/* What "Ctrl-A S" does: disks that write to overlays save what these hold. */
void viv_chr_on_save(int (*fn)(struct viv_err *err));
/* Takes up to len bytes out of a ringbuf; -EINVAL when it is something else. */
int viv_chr_ringbuf_read(struct viv_chr *c, uint8_t *buf, size_t len, size_t *got,
                         struct viv_err *err);
int viv_chr_ringbuf_write(struct viv_chr *c, const uint8_t *buf, size_t len, struct viv_err *err);

/* Text consoles of the machine's screen (ui/vc): who knows both hands them in before "vc" is asked for. */
struct viv_chr_screens {
    /* 0 columns and rows: as usual. */
    void *(*make)(const char *name, unsigned columns, unsigned rows, size_t (*typed)(void *opaque, const uint8_t *bytes, size_t len),
                  void *opaque);
    void (*free)(void *screen);
    void (*write)(void *screen, const uint8_t *buf, size_t len);
    void (*input_wanted)(void *screen); /* what was typed and not taken is offered again */
};
void viv_chr_set_screens(const struct viv_chr_screens *s); /* borrowed */

#endif
