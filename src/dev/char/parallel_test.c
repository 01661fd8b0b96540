/* The parallel port by its registers: strobes, interrupts, a printer that is busy, what is saved. */
#include "chr/chr.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_parallel;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_parallel, NULL};

/* A printer that keeps what it got and takes as much as `room` allows. */
struct viv_chr {
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

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front, struct viv_err *err)
{
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
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
    c->writable = fn;
    c->opaque = opaque;
}

static void make_room(size_t n)
{
    void (*fn)(void *opaque) = chr.writable;

    chr.room = n;
    chr.writable = NULL;
    viv_dev_lock();
    fn(chr.opaque);
    viv_dev_unlock();
}

static void make(void)
{
    rig_init();
    memset(&chr, 0, sizeof(chr));
    chr.room = sizeof(chr.sent);
    rig_add("isa-parallel", "chardev=c0");
}

static void print(uint8_t v, uint8_t control)
{
    out8(0x378, v);
    out8(0x37a, control | 1);
    out8(0x37a, control);
}

static void test_print(void)
{
    make();
    g_assert_cmphex(in8(0x37a), ==, 0xcc);
    g_assert_cmphex(in8(0x379), ==, 0xd8);
    out8(0x378, 'h');
    g_assert_cmphex(in8(0x378), ==, 'h');
    g_assert_cmpuint(chr.len, ==, 0); /* not without a strobe */
    print('h', 0x0c);
    out8(0x37a, 0x0d);
    out8(0x37a, 0x0d); /* one edge, one byte */
    out8(0x37a, 0x0c);
    g_assert_cmpuint(rig.rises[7], ==, 0);
    print('i', 0x1c);
    g_assert_cmpuint(rig.rises[7], ==, 1);
    g_assert_cmpint(rig.line[7], ==, 0);
    print('x', 0x08); /* held in reset */
    g_assert_cmpmem(chr.sent, chr.len, "hhi", 3);
    out8(0x37a, 0x2c); /* inwards: nobody speaks */
    g_assert_cmphex(in8(0x378), ==, 0xff);
    g_assert_cmphex(in8(0x37b), ==, 0xff); /* no EPP */
    rig_fini();
}

static void test_busy(void)
{
    g_autofree uint8_t *state = NULL;
    size_t len;

    make();
    chr.room = 0;
    print('a', 0x1c);
    g_assert_cmphex(in8(0x379), ==, 0x58);
    g_assert_cmpuint(rig.rises[7], ==, 0);
    print('b', 0x1c); /* lost */
    state = rig_save(&len);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_cmphex(in8(0x379), ==, 0xd8);
    g_assert_null(chr.writable);
    rig_load(state, len);
    g_assert_cmphex(in8(0x379), ==, 0x58);
    make_room(1);
    g_assert_cmphex(in8(0x379), ==, 0xd8);
    g_assert_cmpuint(rig.rises[7], ==, 1);
    g_assert_cmpmem(chr.sent, chr.len, "a", 1);
    rig_fini();
}

static void test_places(void)
{
    make();
    rig_add("isa-parallel", "chardev=c0");
    g_assert_cmphex(in8(0x279), ==, 0xd8);
    rig_add("isa-parallel", "chardev=c0,index=2,irq=5");
    g_assert_cmphex(in8(0x3bd), ==, 0xd8);
    rig_refused("isa-parallel", "chardev=c0", "all three");
    rig_refused("isa-parallel", "chardev=c0,iobase=0x278", "something else");
    rig_refused("isa-parallel", "chardev=nobody,iobase=0x300", "no -chardev");
    rig_refused("isa-parallel", NULL, "chardev");
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/parallel/print", test_print);
    g_test_add_func("/parallel/busy", test_busy);
    g_test_add_func("/parallel/places", test_places);
    return g_test_run();
}
