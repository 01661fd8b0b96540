/* Several front ends on one back end. Input goes to the one with the focus; Ctrl-A is the escape: see help_text. Output
 * of all goes out.
 *
 * Input is always taken, so that Ctrl-A X works when the guest reads nothing; what a front cannot take waits in its
 * ring, and what does not fit there is dropped. */
#include "chr/chr_int.h"

#include "base/log.h"
#include "base/units.h"
#include "bus/vmreq.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_FRONTS 4
#define RING       1024 /* power of two */

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

struct viv_chr_mux *viv_chr_mux_new(struct viv_chr *c)
{
    struct viv_chr_mux *m = g_new0(struct viv_chr_mux, 1);

    m->chr = c;
    m->line_start = true;
    return m;
}

void viv_chr_mux_free(struct viv_chr_mux *m)
{
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

static void drain(struct mux_front *f)
{
    while (f->head != f->tail) {
        size_t room = f->ops->can_read(f->front);
        unsigned at = f->head % RING;
        size_t n = f->tail - f->head;

        if (n > RING - at)
            n = RING - at;
        if (n > room)
            n = room;
        if (!n)
            return;
        f->head += n;
        f->ops->read(f->front, &f->ring[at], n);
    }
}

void viv_chr_mux_accept(struct viv_chr_mux *m)
{
    for (unsigned i = 0; i < m->count; i++)
        drain(&m->fronts[i]);
}

static void put(struct viv_chr_mux *m, uint8_t c)
{
    struct mux_front *f = focused(m);

    if (f && f->tail - f->head < RING)
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
