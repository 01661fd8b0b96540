/* Serial lines, which stand in for chr/; who looks at the screen, types and has the monitor. */
#include "fuzz/device_rig.h"

#include "chr/chr.h"
#include "dev/acpi/ged.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/input/i8042.h"
#include "dev/virtio/virtio_balloon.h"
#include "ui/console.h"
#include "ui/input.h"

#include <glib.h>
#include <string.h>

enum { CHRS = 4 };

/* --- the other end of a serial line: c0 to c3 --- */

struct viv_chr {
    const struct viv_chr_front *ops;
    void *front;
    void (*writable)(void *opaque);
    void *opaque;
};

static struct viv_chr chrs[CHRS];
static unsigned chr_room;

void fuzz_chr_reset(void)
{
    chr_room = UINT32_MAX;
}

struct viv_chr *viv_chr_find(const char *id)
{
    return id[0] == 'c' && id[1] >= '0' && id[1] < '0' + CHRS ? &chrs[id[1] - '0'] : NULL;
}

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front, struct viv_err *err)
{
    g_assert(!c->ops);
    c->ops = ops;
    c->front = front;
    if (ops->event)
        ops->event(front, VIV_CHR_OPENED);
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
    *c = (struct viv_chr){NULL};
}

size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    len = MIN(len, chr_room);
    chr_room -= chr_room == UINT32_MAX ? 0 : (unsigned)len;
    return len;
}

void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque)
{
    c->writable = fn;
    c->opaque = opaque;
}

void viv_chr_accept_input(struct viv_chr *c)
{
}

void fuzz_chr_give(unsigned which, uint8_t byte, unsigned count)
{
    struct viv_chr *c = &chrs[which % CHRS];
    uint8_t buf[256];
    size_t n;

    memset(buf, byte, sizeof(buf));
    n = c->ops ? MIN(c->ops->can_read(c->front), count) : 0;
    if (n)
        c->ops->read(c->front, buf, MIN(n, sizeof(buf)));
}

void fuzz_chr_event(unsigned which, unsigned event)
{
    struct viv_chr *c = &chrs[which % CHRS];

    if (c->ops && c->ops->event)
        c->ops->event(c->front, event % (VIV_CHR_BREAK + 1));
}

void fuzz_chr_set_room(unsigned bytes)
{
    chr_room = bytes;
    for (unsigned i = 0; bytes && i < CHRS; i++) {
        void (*fn)(void *) = chrs[i].writable;

        chrs[i].writable = NULL;
        if (fn)
            fn(chrs[i].opaque);
    }
}

/* --- who looks and types --- */

static struct viv_viewer *viewer;

static void shown(void *opaque, const struct viv_surface *s)
{
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
}

static void gone(void *opaque)
{
    viewer = NULL;
}

void fuzz_screen_reset(void)
{
    viv_viewer_free(viewer);
    viewer = NULL;
}

void fuzz_screen(unsigned what)
{
    static const struct viv_viewer_ops ops = {.shown = shown, .changed = changed, .gone = gone};
    struct viv_console *c = viv_console_at(what >> 4 & 1);

    if (!c)
        return;
    if (what & 2) {
        fuzz_screen_reset();
    } else if (what & 1 && !viewer) {
        viewer = viv_viewer_new(c, &ops, NULL);
        viv_viewer_set_period(viewer, 1000000); /* refreshed when the input says so */
    }
    if (what & 4 && viewer)
        viv_console_room(c, what >> 4 & 0xfff, what >> 6);
    viv_console_refresh(c);
    g_free(viv_console_text(c));
}

void fuzz_balloon(unsigned v)
{
    struct virtio_balloon *b = viv_balloon(NULL);
    struct viv_err err = VIV_ERR_INIT;

    if (b && v & 1)
        viv_balloon_poll(b, v >> 12, &err);
    else if (b)
        viv_balloon_set(b, (uint64_t)v << 8, &err);
    if (b)
        viv_balloon_actual(b);
}

void fuzz_hands(unsigned what, unsigned v)
{
    switch (what & 7) {
    case 0:
        viv_input_key(v & 0xff, v >> 15);
        break;
    case 1:
        viv_input_move(-1, (int8_t)v, (int8_t)(v >> 8));
        viv_input_sync(-1);
        break;
    case 2:
        viv_input_place(-1, v & 0xff, v >> 8, 256, 256);
        viv_input_sync(-1);
        break;
    case 3:
        viv_input_button(-1, (enum viv_button)(v % VIV_BUTTONS), v >> 4 & 1);
        viv_input_wheel(-1, (int)(v & 3) - 1, 0);
        viv_input_sync(-1);
        break;
    case 4:
        viv_input_release_all();
        break;
    case 5:
        if (fuzz_kbc)
            viv_i8042_key(fuzz_kbc, v & 0x1ff);
        break;
    case 6:
        if (fuzz_kbc)
            viv_i8042_mouse(fuzz_kbc, (int8_t)v, (int8_t)(v >> 8), (int)(v & 3) - 1, v >> 4 & 7);
        break;
    default:
        if (fuzz_pm && v & 1)
            viv_piix4_pm_power_button(fuzz_pm);
        if (fuzz_ged && v & 1)
            viv_ged_power_button(fuzz_ged);
        fuzz_take_interrupt(v);
    }
}
