/* Several front ends on one back end. Input goes to the one with the focus; Ctrl-A is the escape: see help_text. Output
 * of all goes out.
 *
 * What a front cannot take waits in its ring, and what does not fit there stays with the back end. Only a front that
 * takes nothing for a while loses input: Ctrl-A X is seen when the guest reads nothing, too. */
#include "chr/chr_int.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/vmreq.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_FRONTS  4
#define RING        1024 /* power of two */
#define PATIENCE_NS (500 * (int64_t)VIV_NS_PER_MS) /* with a front whose ring is full */

struct mux_front {
    const struct viv_chr_front *ops;
    void *front;
    uint8_t ring[RING];
    unsigned head, tail; /* taken at head, put at tail; free-running */
};

struct viv_chr_mux {
    struct viv_chr *chr;
    struct mux_front fronts[MAX_FRONTS];
    unsigned count, focus;
    bool draining, again; /* a front is being given input; meanwhile one has said that it takes more */
    bool dropping;        /* patience has ended: what does not fit is lost */
    struct viv_timer *patience;
    bool escaped;
    bool timestamps;
    bool line_start;
    int64_t stamp_base_ns;
};

static uint8_t escape = 1;
static int (*on_save)(struct viv_err *err);

void viv_chr_on_save(int (*fn)(struct viv_err *err))
{
    on_save = fn;
}

void viv_chr_set_escape(uint8_t c)
{
    escape = c;
}

static void patience_ended(void *opaque)
{
    struct viv_chr_mux *m = opaque;

    m->dropping = true;
    if (m->chr->cls->accept_input)
        m->chr->cls->accept_input(m->chr);
}

struct viv_chr_mux *viv_chr_mux_new(struct viv_chr *c)
{
    struct viv_chr_mux *m = g_new0(struct viv_chr_mux, 1);

    m->chr = c;
    m->line_start = true;
    m->patience = viv_timer_new(VIV_CLOCK_HOST, patience_ended, m);
    return m;
}

void viv_chr_mux_free(struct viv_chr_mux *m)
{
    viv_timer_free(m->patience);
    g_free(m);
}

bool viv_chr_mux_attached(const struct viv_chr_mux *m)
{
    return m->count;
}

static void tell(struct mux_front *f, enum viv_chr_event ev)
{
    if (f->ops && f->ops->event)
        f->ops->event(f->front, ev);
}

static struct mux_front *focused(struct viv_chr_mux *m)
{
    return m->count ? &m->fronts[m->focus] : NULL;
}

int viv_chr_mux_attach(struct viv_chr_mux *m, const struct viv_chr_front *ops, void *front,
                       struct viv_err *err)
{
    struct mux_front *f;

    if (m->count == MAX_FRONTS)
        return viv_fail(err, EBUSY, "chardev '%s' has %d front ends already: no more fit", m->chr->id,
                        MAX_FRONTS);
    f = &m->fronts[m->count++];
    *f = (struct mux_front){.ops = ops, .front = front};
    if (m->chr->is_open)
        tell(f, VIV_CHR_OPENED);
    if (m->count == 1)
        tell(f, VIV_CHR_MUX_IN);
    if (m->chr->cls->accept_input)
        m->chr->cls->accept_input(m->chr);
    return 0;
}

void viv_chr_mux_detach(struct viv_chr_mux *m, void *front)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (m->fronts[i].front != front)
            continue;
        memmove(&m->fronts[i], &m->fronts[i + 1], (m->count - i - 1) * sizeof(m->fronts[0]));
        m->count--;
        if (m->focus > i || m->focus >= m->count)
            m->focus = m->focus ? m->focus - 1 : 0;
        return;
    }
}

void viv_chr_mux_event(struct viv_chr_mux *m, enum viv_chr_event ev)
{
    for (unsigned i = 0; i < m->count; i++)
        tell(&m->fronts[i], ev);
}

static size_t room_in(const struct mux_front *f)
{
    return RING - (f->tail - f->head);
}

/* What the front takes. It may say in between that it takes more, or even go: it gets a copy, and f is not used after. */
static size_t give_some(struct mux_front *f)
{
    uint8_t buf[RING];
    size_t n = f->tail - f->head, room = n ? f->ops->can_read(f->front) : 0;

    n = n < room ? n : room;
    for (size_t i = 0; i < n; i++)
        buf[i] = f->ring[f->head++ % RING];
    if (n)
        f->ops->read(f->front, buf, n);
    return n;
}

static void watch_patience(struct viv_chr_mux *m, bool progress)
{
    const struct mux_front *f = focused(m);

    if (progress || !f || room_in(f)) {
        m->dropping = false;
        viv_timer_cancel(m->patience);
    }
    if (f && !room_in(f) && !m->dropping && viv_timer_expiry_ns(m->patience) == INT64_MAX)
        viv_timer_set(m->patience, viv_clock_ns(VIV_CLOCK_HOST) + PATIENCE_NS);
}

/* A front that is given input may ask for more before it has done with what it has (a monitor that answers): that
 * is its turn again when it returns, or the input would come in another order. */
void viv_chr_mux_accept(struct viv_chr_mux *m)
{
    bool progress = false;

    m->again = true;
    if (m->draining)
        return;
    m->draining = true;
    while (m->again) {
        m->again = false;
        for (unsigned i = 0; i < m->count; i++) {
            while (i < m->count && give_some(&m->fronts[i]))
                progress = true;
        }
    }
    m->draining = false;
    watch_patience(m, progress);
}

size_t viv_chr_mux_wants(struct viv_chr_mux *m)
{
    const struct mux_front *f = focused(m);

    return f && !m->dropping ? room_in(f) : RING;
}

static void put(struct viv_chr_mux *m, uint8_t c)
{
    struct mux_front *f = focused(m);

    if (f && room_in(f))
        f->ring[f->tail++ % RING] = c;
}

static void say(struct viv_chr_mux *m, const char *text)
{
    m->chr->cls->write(m->chr, (const uint8_t *)text, strlen(text));
}

static void print_help(struct viv_chr_mux *m)
{
    static const char *const lines[] = {
        "h    print this help", "x    exit emulator",
        "s    save disk data back to file (if -snapshot)", "t    toggle console timestamps",
        "b    send break (magic sysrq)", "c    switch between console and monitor",
    };
    char name[8], text[96];

    if (escape >= 1 && escape <= 26)
        snprintf(name, sizeof(name), "C-%c", escape - 1 + 'a');
    else
        snprintf(name, sizeof(name), "0x%02x", escape);
    say(m, "\r\n");
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        snprintf(text, sizeof(text), "%s %s\r\n", name, lines[i]);
        say(m, text);
    }
    snprintf(text, sizeof(text), "%s %s  sends %s\r\n", name, name, name);
    say(m, text);
}

static void save(struct viv_chr_mux *m)
{
    struct viv_err err = VIV_ERR_INIT;
    g_autofree char *text = NULL;

    if (on_save && on_save(&err))
        text = g_strdup_printf("\r\nviv-vm: %s\r\n", err.text);
    say(m, text ? text : "\r\nviv-vm: disks saved\r\n");
}

static void switch_focus(struct viv_chr_mux *m)
{
    if (m->count < 2)
        return;
    tell(focused(m), VIV_CHR_MUX_OUT);
    m->focus = (m->focus + 1) % m->count;
    m->dropping = false;
    viv_timer_cancel(m->patience);
    tell(focused(m), VIV_CHR_MUX_IN);
}

static void escape_command(struct viv_chr_mux *m, uint8_t c)
{
    switch (c) {
    case 'h':
    case '?':
        print_help(m);
        break;
    case 'x':
        say(m, "\r\nviv-vm: terminated\r\n");
        viv_vm_request(VIV_VM_QUIT, 0, "Ctrl-A X");
        break;
    case 's':
        save(m);
        break;
    case 'b':
        if (focused(m))
            tell(focused(m), VIV_CHR_BREAK);
        break;
    case 'c':
        switch_focus(m);
        break;
    case 't':
        m->timestamps = !m->timestamps;
        m->stamp_base_ns = 0;
        m->line_start = false;
        break;
    default:
        if (c == escape)
            put(m, c);
    }
}

void viv_chr_mux_input(struct viv_chr_mux *m, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (m->escaped) {
            m->escaped = false;
            escape_command(m, buf[i]);
        } else if (buf[i] == escape) {
            m->escaped = true;
        } else {
            put(m, buf[i]);
            continue;
        }
        /* What was typed before the escape reaches whom it was typed for. */
        viv_chr_mux_accept(m);
    }
    viv_chr_mux_accept(m);
}

static size_t write_stamp(struct viv_chr_mux *m)
{
    int64_t now = viv_clock_ns(VIV_CLOCK_HOST);
    char text[32];
    int64_t s;

    if (!m->stamp_base_ns)
        m->stamp_base_ns = now;
    s = (now - m->stamp_base_ns) / (int64_t)VIV_NS_PER_SEC;
    snprintf(text, sizeof(text), "[%02d:%02d:%02d.%03d] ", (int)(s / 3600), (int)(s / 60 % 60),
             (int)(s % 60), (int)((now - m->stamp_base_ns) / (int64_t)VIV_NS_PER_MS % 1000));
    return m->chr->cls->write(m->chr, (const uint8_t *)text, strlen(text));
}

size_t viv_chr_mux_write(struct viv_chr_mux *m, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    if (!m->timestamps)
        return m->chr->cls->write(m->chr, buf, len);
    while (done < len) {
        const uint8_t *nl = memchr(buf + done, '\n', len - done);
        size_t n = nl ? (size_t)(nl - buf) + 1 - done : len - done;
        size_t taken;

        if (m->line_start && !write_stamp(m))
            return done;
        m->line_start = false;
        taken = m->chr->cls->write(m->chr, buf + done, n);
        done += taken;
        if (taken < n)
            break;
        m->line_start = nl != NULL;
    }
    return done;
}
