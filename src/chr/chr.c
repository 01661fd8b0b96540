/* The registry of character back ends and the part all of them share. */
#include "chr/chr_int.h"

#include "base/log.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct viv_chr_waiter {
    void (*fn)(void *opaque);
    void *opaque;
};

static struct viv_chr *all;

static const struct {
    const char *name;
    const struct viv_chr_class *cls;
    const char *refusal; /* cls NULL */
} backends[] = {
    {"null", &viv_chr_null, NULL},
    {"file", &viv_chr_file, NULL},
    {"pipe", &viv_chr_pipe, NULL},
    {"serial", &viv_chr_serial, NULL},
    {"tty", &viv_chr_serial, NULL},
    {"stdio", &viv_chr_stdio, NULL},
    {"pty", &viv_chr_pty, NULL},
    {"socket", &viv_chr_socket, NULL},
    {"ringbuf", &viv_chr_ringbuf, NULL},
    {"memory", &viv_chr_ringbuf, NULL},
    {"vc", &viv_chr_vc, NULL},
    {"udp", NULL, "there is no UDP; socket is TCP (host=, port=) or a Unix socket (path=)"},
    {"mux", NULL, "add mux=on to another back end"},
    {"hub", NULL, "use one back end a front end, or mux=on"},
    {"parallel", NULL, "a port of the host's cannot be given to a guest; file, socket and pty take what is printed"},
    {"parport", NULL, "a port of the host's cannot be given to a guest; file, socket and pty take what is printed"},
    {"spicevmc", NULL, "there is no SPICE yet"},
    {"spiceport", NULL, "there is no SPICE yet"},
    {"qemu-vdagent", NULL, "there is no clipboard in common with the guest yet; leave it out"},
    {"dbus", NULL, "there is no D-Bus display yet"},
    {"braille", NULL, "braille displays are not supported"},
    {"msmouse", NULL, "there are no serial mice; pc has a PS/2 mouse, and there is -device usb-mouse"},
    {"wctablet", NULL, "there are no serial tablets; there is -device usb-tablet"},
    {"testdev", NULL, "use -device isa-debug-exit"},
};

const char *viv_chr_backend_at(unsigned i)
{
    for (size_t k = 0; k < G_N_ELEMENTS(backends); k++) {
        if (backends[k].cls && i-- == 0)
            return backends[k].name;
    }
    return NULL;
}

bool viv_chr_help(const char *backend, FILE *to)
{
    for (size_t i = 0; backend && i < G_N_ELEMENTS(backends); i++) {
        if (backends[i].cls && !strcmp(backends[i].name, backend)) {
            g_autofree char *what = g_strdup_printf("-chardev %s", backend);

            viv_opts_print_help(what, backends[i].cls->props, to);
            return true;
        }
    }
    if (backend)
        return false;
    fprintf(to, "Available chardev backend types:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (backends[i].cls)
            fprintf(to, "  %s\n", backends[i].name);
    }
    return true;
}

static int find_class(const char *what, const char *name, const struct viv_chr_class **out,
                      struct viv_err *err)
{
    const char *names[G_N_ELEMENTS(backends) + 1];
    const char *near;
    size_t n = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (!strcmp(backends[i].name, name)) {
            if (!backends[i].cls)
                return viv_fail(err, ENOTSUP, "%s: back end '%s' is not supported: %s", what, name,
                                backends[i].refusal);
            *out = backends[i].cls;
            return 0;
        }
        if (backends[i].cls)
            names[n++] = backends[i].name;
    }
    names[n] = NULL;
    near = viv_nearest(name, names);
    return viv_fail(err, EINVAL, "%s: there is no back end '%.60s'%s%s%s; '-chardev help' lists them",
                    what, name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int open_log(struct viv_chr *c, struct viv_opts *o, struct viv_err *err)
{
    const char *path = viv_opts_str(o, "logfile");
    bool append = viv_opts_bool(o, "logappend");

    c->log_fd = -1;
    if (!path)
        return viv_opts_given(o, "logappend")
                   ? viv_fail(err, EINVAL, "%s: logappend= needs logfile=", viv_opts_what(o))
                   : 0;
    c->log_fd = viv_open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0666, err);
    return c->log_fd < 0 ? c->log_fd : 0;
}

static void chr_free(struct viv_chr *c)
{
    if (c->mux)
        viv_chr_mux_free(c->mux);
    if (c->log_fd >= 0)
        close(c->log_fd);
    viv_chr_drop_fds(c);
    g_slist_free_full(c->waiters, g_free);
    g_free(c->filename);
    g_free(c->id);
    g_free(c);
}

/* Not in the list yet. */
static int make(const struct viv_chr_class *cls, struct viv_opts *o, bool later, struct viv_chr **out,
                struct viv_err *err)
{
    struct viv_chr *c = g_malloc0(cls->size);
    int rc;

    c->cls = cls;
    c->later = later;
    c->id = g_strdup(viv_opts_str(o, "id"));
    rc = open_log(c, o, err);
    if (rc < 0)
        goto fail;
    if (viv_opts_bool(o, "mux"))
        c->mux = viv_chr_mux_new(c);
    rc = cls->open(c, o, err);
    if (rc < 0)
        goto fail;
    *out = c;
    return 0;
fail:
    chr_free(c);
    return rc;
}

static int parse(struct viv_raw_opts *r, const struct viv_chr_class **cls, struct viv_opts **o, struct viv_err *err)
{
    const char *what = viv_raw_what(r);
    g_autofree char *name = viv_raw_take(r, "backend");
    int rc;

    if (!name)
        return viv_fail(err, EINVAL, "%s: no back end named; '-chardev help' lists them", what);
    rc = find_class(what, name, cls, err);
    return rc < 0 ? rc : viv_opts_from_raw(what, (*cls)->props, r, o, err);
}

static int add(struct viv_raw_opts *r, bool later, struct viv_chr **out, struct viv_err *err)
{
    const char *what = viv_raw_what(r);
    const struct viv_chr_class *cls = NULL;
    struct viv_chr **tail = &all;
    struct viv_opts *o;
    const char *id;
    int rc = parse(r, &cls, &o, err);

    if (rc < 0)
        return rc;
    id = viv_opts_str(o, "id");
    if (!id)
        rc = viv_fail(err, EINVAL, "%s: 'id=' is missing: the name a device refers to", what);
    else if (!viv_is_id(id))
        rc = viv_fail(err, EINVAL, "%s: id='%.60s' is no identifier: " VIV_ID_FORM, what, id);
    else if (viv_chr_find(id))
        rc = viv_fail(err, EEXIST, "%s: id '%.60s' is already in use", what, id);
    else
        rc = make(cls, o, later, out, err);
    viv_opts_free(o);
    if (rc < 0)
        return rc;
    while (*tail)
        tail = &(*tail)->next;
    *tail = *out;
    return 0;
}

int viv_chr_new(struct viv_raw_opts *r, struct viv_chr **out, struct viv_err *err)
{
    return add(r, false, out, err);
}

int viv_chr_add(struct viv_raw_opts *r, struct viv_chr **out, struct viv_err *err)
{
    return add(r, true, out, err);
}

struct viv_chr *viv_chr_find(const char *id)
{
    struct viv_chr *c = all;

    while (c && strcmp(c->id, id))
        c = c->next;
    return c;
}

struct viv_chr *viv_chr_next(const struct viv_chr *prev)
{
    return prev ? prev->next : all;
}

const char *viv_chr_id(const struct viv_chr *c)
{
    return c->id;
}

const char *viv_chr_filename(const struct viv_chr *c)
{
    return c->filename;
}

bool viv_chr_is_mux(const struct viv_chr *c)
{
    return c->mux;
}

bool viv_chr_attached(const struct viv_chr *c)
{
    return c->mux ? viv_chr_mux_attached(c->mux) : c->ops != NULL;
}

bool viv_chr_front_open(const struct viv_chr *c)
{
    return viv_chr_attached(c) && (c->mux || !c->ops->open || c->ops->open(c->front));
}

bool viv_chr_uses_stdio(void)
{
    for (struct viv_chr *c = all; c; c = c->next) {
        if (c->cls == &viv_chr_stdio)
            return true;
    }
    return false;
}

/* ---- descriptors beside the bytes ---- */

int viv_chr_take_fd(struct viv_chr *c)
{
    int fd = c->fd_count ? c->fds[0] : -1;

    if (c->fd_count)
        memmove(c->fds, c->fds + 1, --c->fd_count * sizeof(*c->fds));
    return fd;
}

void viv_chr_put_fd(struct viv_chr *c, int fd)
{
    if (c->fd_count == VIV_CHR_FDS)
        close(viv_chr_take_fd(c));
    c->fds[c->fd_count++] = fd;
}

void viv_chr_drop_fds(struct viv_chr *c)
{
    while (c->fd_count)
        close(viv_chr_take_fd(c));
}

/* Where the list says that it is. */
static struct viv_chr **place(const struct viv_chr *c)
{
    struct viv_chr **at = &all;

    while (*at != c)
        at = &(*at)->next;
    return at;
}

static void close_and_free(struct viv_chr *c)
{
    if (c->cls->close)
        c->cls->close(c);
    chr_free(c);
}

void viv_chr_free(struct viv_chr *c)
{
    g_assert(!viv_chr_attached(c));
    *place(c) = c->next;
    close_and_free(c);
}

void viv_chr_keep(struct viv_chr *c)
{
    c->kept = true;
}

int viv_chr_remove(struct viv_chr *c, struct viv_err *err)
{
    if (viv_chr_attached(c) || c->kept)
        return viv_fail(err, EBUSY, "Chardev '%s' is busy", c->id);
    viv_chr_free(c);
    return 0;
}

/* The front end leaves `from` for `to`: its other side goes, and another one comes. */
static void hand_over(struct viv_chr *from, struct viv_chr *to)
{
    const struct viv_chr_front *ops = from->ops;
    void *front = from->front;

    from->ops = NULL;
    from->front = NULL;
    to->waiters = g_steal_pointer(&from->waiters);
    if (from->is_open && ops->event)
        ops->event(front, VIV_CHR_CLOSED);
    ops->moved(front, to);
    to->ops = ops;
    to->front = front;
    if (to->is_open && ops->event)
        ops->event(front, VIV_CHR_OPENED);
}

int viv_chr_change(struct viv_chr *c, struct viv_raw_opts *r, struct viv_chr **out, struct viv_err *err)
{
    const char *what = viv_raw_what(r);
    const struct viv_chr_class *cls = NULL;
    struct viv_chr *to = NULL;
    struct viv_opts *o;
    int rc;

    if (c->mux)
        return viv_fail(err, ENOTSUP, "Mux device hotswap not supported yet: '%s' has mux=on", c->id);
    if (c->kept || (c->ops && !c->ops->moved))
        return viv_fail(err, ENOTSUP, "Chardev user does not support chardev hotswap: '%s' stays as it is", c->id);
    if (viv_raw_get(r, "id"))
        return viv_fail(err, EINVAL, "%s: 'id=' stays '%s'", what, c->id);
    viv_raw_set(r, "id", c->id);
    rc = parse(r, &cls, &o, err);
    if (rc < 0)
        return rc;
    rc = viv_opts_bool(o, "mux") ? viv_fail(err, ENOTSUP, "%s: mux=on is for a new chardev", what) : make(cls, o, true, &to, err);
    viv_opts_free(o);
    if (rc < 0)
        return rc;
    to->next = c->next;
    *place(c) = to;
    if (c->ops)
        hand_over(c, to);
    close_and_free(c);
    viv_chr_room(to); /* what waited for the old one */
    viv_chr_accept_input(to);
    *out = to;
    return 0;
}

void viv_chr_break(struct viv_chr *c)
{
    viv_chr_event(c, VIV_CHR_BREAK);
}

void viv_chr_free_all(void)
{
    while (all) {
        struct viv_chr *c = all;

        all = c->next;
        close_and_free(c);
    }
}

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front,
                   struct viv_err *err)
{
    if (c->mux)
        return viv_chr_mux_attach(c->mux, ops, front, err);
    if (c->ops)
        return viv_fail(err, EBUSY, "chardev '%s' is already in use; mux=on lets several share it",
                        c->id);
    c->ops = ops;
    c->front = front;
    if (c->is_open && ops->event)
        ops->event(front, VIV_CHR_OPENED);
    viv_chr_accept_input(c);
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
    viv_chr_on_writable(c, NULL, front);
    if (c->mux) {
        viv_chr_mux_detach(c->mux, front);
    } else if (c->front == front) {
        c->ops = NULL;
        c->front = NULL;
    }
}

static void log_output(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t n = write(c->log_fd, buf, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            viv_warn("chardev '%s': cannot write its logfile: %s; logging ends", c->id,
                     strerror(errno));
            close(c->log_fd);
            c->log_fd = -1;
            return;
        }
        buf += n;
        len -= n;
    }
}

size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    size_t taken = c->mux ? viv_chr_mux_write(c->mux, buf, len) : c->cls->write(c, buf, len);

    if (c->log_fd >= 0)
        log_output(c, buf, taken);
    return taken;
}

void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque)
{
    for (GSList *l = c->waiters; l; l = l->next) {
        struct viv_chr_waiter *w = l->data;

        if (w->opaque == opaque) {
            c->waiters = g_slist_delete_link(c->waiters, l);
            g_free(w);
            break;
        }
    }
    if (fn) {
        struct viv_chr_waiter *w = g_new(struct viv_chr_waiter, 1);

        *w = (struct viv_chr_waiter){fn, opaque};
        c->waiters = g_slist_append(c->waiters, w);
    }
}

void viv_chr_room(struct viv_chr *c)
{
    /* Each may wait anew from inside its call: only those that wait now. */
    for (guint n = g_slist_length(c->waiters); n-- > 0 && c->waiters;) {
        struct viv_chr_waiter *w = c->waiters->data;

        c->waiters = g_slist_delete_link(c->waiters, c->waiters);
        w->fn(w->opaque);
        g_free(w);
    }
}

void viv_chr_accept_input(struct viv_chr *c)
{
    if (c->mux)
        viv_chr_mux_accept(c->mux);
    if (c->cls->accept_input)
        c->cls->accept_input(c);
}

size_t viv_chr_wants(struct viv_chr *c)
{
    if (c->mux)
        return viv_chr_mux_wants(c->mux);
    return c->ops ? c->ops->can_read(c->front) : 0;
}

void viv_chr_deliver(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    if (c->mux)
        viv_chr_mux_input(c->mux, buf, len);
    else if (c->ops && len)
        c->ops->read(c->front, buf, len);
}

void viv_chr_event(struct viv_chr *c, enum viv_chr_event ev)
{
    if (ev == VIV_CHR_OPENED)
        c->is_open = true;
    if (ev == VIV_CHR_CLOSED)
        c->is_open = false;
    if (c->mux)
        viv_chr_mux_event(c->mux, ev);
    else if (c->ops && c->ops->event)
        c->ops->event(c->front, ev);
    /* What comes next is dropped: nobody waits for room for it. */
    if (ev == VIV_CHR_CLOSED)
        viv_chr_room(c);
}
