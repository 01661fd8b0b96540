#include "base/units.h"
#include "chr/chr.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_ns16550;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_ns16550, NULL};

/* A back end that keeps what was sent and takes as much as `room` allows. */
struct viv_chr {
    const struct viv_chr_front *ops;
    void *front;
    uint8_t sent[64];
    size_t len, room;
    void (*writable)(void *opaque);
    void *opaque;
};
static struct viv_chr chr;

struct viv_chr *viv_chr_find(const char *id)
{
    return strcmp(id, "c0") ? NULL : &chr;
}

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front,
                   struct viv_err *err)
{
    c->ops = ops;
    c->front = front;
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
    c->ops = NULL;
}

size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, c->room);

    memcpy(c->sent + c->len, buf, n);
    c->len += n;
    c->room -= n;
    return n;
}

void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque)
{
    if (!fn && opaque != c->opaque) /* somebody else's wait */
        return;
    c->writable = fn;
    c->opaque = opaque;
}

void viv_chr_accept_input(struct viv_chr *c)
{
}

static size_t receive(const char *text)
{
    size_t n = MIN(strlen(text), chr.ops->can_read(chr.front));

    chr.ops->read(chr.front, (const uint8_t *)text, n);
    return n;
}

static void begin(void)
{
    memset(&chr, 0, sizeof(chr));
    chr.room = 64;
    rig_init();
    rig_add("isa-serial", "chardev=c0");
    out8(0x3fc, 0x08); /* OUT2 lets interrupts through */
}

static void test_send(void)
{
    begin();
    g_assert_cmphex(in8(0x3fd), ==, 0x60);
    out8(0x3f8, 'A');
    g_assert_cmpmem(chr.sent, chr.len, "A", 1);
    chr.room = 0;
    out8(0x3fa, 0x01);
    for (int i = 0; i < 17; i++)
        out8(0x3f8, (uint8_t)('a' + i));
    g_assert_cmphex(in8(0x3fd), ==, 0);
    chr.room = 64;
    chr.writable(chr.opaque);
    g_assert_cmpmem(chr.sent, chr.len, "Aabcdefghijklmnoq",
                    17); /* the 17th took the place of the 16th */
    g_assert_cmphex(in8(0x3fd), ==, 0x60);
    chr.room = 0;
    out8(0x3f8, 'x');
    g_assert_nonnull(chr.writable);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_null(chr.writable); /* what was on its way is gone */
    rig_fini();
}

static void test_thre_interrupt(void)
{
    begin();
    out8(0x3f9, 2);
    g_assert_cmpint(rig.line[4], ==, 1); /* empty when enabled */
    g_assert_cmphex(in8(0x3fa), ==, 0x02);
    g_assert_cmpint(rig.line[4], ==, 0); /* reading IIR answers it */
    g_assert_cmphex(in8(0x3fa), ==, 0x01);
    out8(0x3f8, 'x');
    g_assert_cmphex(in8(0x3fa), ==, 0x02);
    out8(0x3fc, 0); /* OUT2 off */
    out8(0x3f8, 'x');
    g_assert_cmpint(rig.line[4], ==, 0);
    rig_fini();
}

static void test_receive(void)
{
    begin();
    out8(0x3f9, 1);
    g_assert_cmpuint(receive("xyz"), ==, 1); /* no FIFO */
    g_assert_cmpint(rig.line[4], ==, 1);
    g_assert_cmphex(in8(0x3fa), ==, 0x04);
    g_assert_cmphex(in8(0x3fd), ==, 0x61);
    g_assert_cmpint(in8(0x3f8), ==, 'x');
    g_assert_cmpint(rig.line[4], ==, 0);

    out8(0x3fa, 0x41); /* FIFO, trigger at 4 */
    g_assert_cmpuint(receive("abc"), ==, 3);
    g_assert_cmpint(rig.line[4], ==, 0);
    g_assert_cmphex(in8(0x3fa), ==, 0xc1);
    rig_step(10 * VIV_NS_PER_MS); /* 9600 baud: four characters are 3 ms */
    g_assert_cmphex(in8(0x3fa), ==, 0xcc);
    g_assert_cmpint(in8(0x3f8), ==, 'a');
    g_assert_cmphex(in8(0x3fa), ==, 0xc1);
    g_assert_cmpuint(receive("0123456789abcdef"), ==, 14);
    g_assert_cmphex(in8(0x3fa), ==, 0xc4);
    for (int i = 0; i < 16; i++)
        (void)in8(0x3f8);
    g_assert_cmphex(in8(0x3fd), ==, 0x60);
    g_assert_cmpint(in8(0x3f8), ==, 0);

    out8(0x3f9, 4);
    chr.ops->event(chr.front, VIV_CHR_BREAK);
    g_assert_cmphex(in8(0x3fa), ==, 0xc6);
    g_assert_cmphex(in8(0x3fd), ==, 0x71);
    g_assert_cmphex(in8(0x3fd), ==, 0x61);
    rig_fini();
}

static void test_loopback_and_modem(void)
{
    begin();
    g_assert_cmphex(in8(0x3fe), ==, 0xb0);
    out8(0x3fc, 0x1a); /* what drivers probe with: RTS, OUT2, loop */
    g_assert_cmphex(in8(0x3fe) & 0xf0, ==, 0x90);
    out8(0x3fc, 0x15);
    g_assert_cmphex(in8(0x3fe), ==, 0x6b); /* DSR, RI now; CTS, DSR, DCD changed */
    out8(0x3f8, 0x5a);
    g_assert_cmphex(in8(0x3f8), ==, 0x5a);
    g_assert_cmpuint(chr.len, ==, 0);
    g_assert_cmpuint(chr.ops->can_read(chr.front), ==, 0);
    out8(0x3f8, 1);
    out8(0x3f8, 2);
    g_assert_cmphex(in8(0x3fd) & 2, ==, 2); /* overrun */
    out8(0x3fc, 0x08);
    g_assert_cmphex(in8(0x3fe) & 0xf0, ==, 0xb0);
    g_assert_cmphex(in8(0x3fe), ==, 0xb0); /* deltas were read */
    rig_fini();
}

static void test_registers(void)
{
    begin();
    out8(0x3ff, 0x5a);
    g_assert_cmphex(in8(0x3ff), ==, 0x5a);
    out8(0x3fb, 0x83);
    out8(0x3f8, 1);
    out8(0x3f9, 2);
    g_assert_cmphex(in16(0x3f8), ==, 0x0201);
    out8(0x3fb, 0x03);
    g_assert_cmphex(in8(0x3f9), ==, 0);
    out8(0x3f9, 0xff);
    g_assert_cmphex(in8(0x3f9), ==, 0x0f); /* probes for a 16750 and later read 0 above */
    rig_fini();
}

static void test_options(void)
{
    rig_init();
    rig_add("isa-serial", NULL);
    rig_refused("isa-serial", "index=0", "something else is at port 0x3f8");
    rig_refused("isa-serial", "chardev=nope", "no -chardev with id 'nope'");
    rig_add("isa-serial", "iobase=0x5000,irq=10");
    out8(0x5007, 7);
    g_assert_cmphex(in8(0x5007), ==, 7);
    for (int i = 0; i < 3; i++)
        rig_add("isa-serial", "");
    rig_refused("isa-serial", "", "all four serial ports");
    rig_refused("isa-serial", "index=4", "index");
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    begin();
    out8(0x3fa, 0xc1);
    out8(0x3f9, 3);
    receive("hello");
    chr.room = 0;
    out8(0x3f8, '!');
    a = rig_save(&len);
    rig_fini();

    begin();
    chr.room = 0;
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmpint(in8(0x3f8), ==, 'h');
    chr.room = 9;
    chr.writable(chr.opaque);
    g_assert_cmpmem(chr.sent, chr.len, "!", 1);
    rig_fini();
    g_free(a);
    g_free(b);
}

/* A state with more to send than there is room for: 16 bytes, and no FIFO. */
static void test_hostile_state(void)
{
    g_autofree uint8_t *a = NULL;
    struct viv_err err = VIV_ERR_INIT;
    unsigned refused = 0;
    size_t len;

    begin();
    out8(0x3fa, 0xc1);
    chr.room = 0;
    for (unsigned i = 0; i < 16; i++)
        out8(0x3f8, '!');
    a = rig_save(&len);
    viv_dev_lock();
    for (size_t i = 0; i < len; i++) {
        struct viv_state_reader *r = viv_state_reader_new(a, len);

        if (a[i] == 0xc1) { /* FCR, or something else that looks like it */
            a[i] = 0xc0;
            refused += viv_dev_load_all(r, &err) < 0;
            a[i] = 0xc1;
        }
        viv_state_reader_free(r);
    }
    viv_dev_unlock();
    g_assert_cmpuint(refused, ==, 1);
    g_assert_cmpstr(err.text, ==, "isa-serial.0: UART FIFO out of bounds");
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uart/send", test_send);
    g_test_add_func("/uart/thre", test_thre_interrupt);
    g_test_add_func("/uart/receive", test_receive);
    g_test_add_func("/uart/loopback-modem", test_loopback_and_modem);
    g_test_add_func("/uart/registers", test_registers);
    g_test_add_func("/uart/options", test_options);
    g_test_add_func("/uart/state", test_state);
    g_test_add_func("/uart/hostile-state", test_hostile_state);
    return g_test_run();
}
