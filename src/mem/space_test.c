#include "mem/dma.h"
#include "mem/space.h"

#include "base/units.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* A handler that is 64 bytes of registers and notes each call. */
struct regs {
    uint8_t b[64];
    unsigned calls;
    uint64_t off[16];
    unsigned size[16];
};

static void note(struct regs *r, uint64_t off, unsigned size)
{
    g_assert_cmpuint(off + size, <=, sizeof(r->b));
    if (r->calls < 16) {
        r->off[r->calls] = off;
        r->size[r->calls] = size;
    }
    r->calls++;
}

static uint64_t regs_read(void *o, uint64_t off, unsigned size)
{
    struct regs *r = o;
    uint64_t v = 0;

    note(r, off, size);
    memcpy(&v, r->b + off, size);
    return v;
}

static void regs_write(void *o, uint64_t off, uint64_t v, unsigned size)
{
    struct regs *r = o;

    note(r, off, size);
    memcpy(r->b + off, &v, size);
}

static struct viv_region *io(struct viv_space *s, struct regs *r, const struct viv_region_ops *ops,
                             uint64_t size)
{
    return viv_region_new(
        s, &(struct viv_region_desc){
               .name = "regs", .kind = VIV_REGION_IO, .size = size, .ops = ops, .opaque = r});
}

static struct viv_ram *ram(uint64_t size)
{
    struct viv_ram *r = NULL;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_ram_new("t", size, &r, &err), ==, 0);
    return r;
}

static struct viv_region *ram_region(struct viv_space *s, enum viv_region_kind kind,
                                     struct viv_ram *r, uint64_t off, uint64_t size)
{
    return viv_region_new(
        s, &(struct viv_region_desc){
               .name = "ram", .kind = kind, .size = size, .ram = r, .ram_offset = off});
}

static void fill(struct regs *r)
{
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < sizeof(r->b); i++)
        r->b[i] = i + 1;
}

static void test_split_and_widen(void)
{
    static const struct viv_region_ops byte = {regs_read, regs_write, 1, 1, false, false};
    static const struct viv_region_ops dword = {regs_read, regs_write, 4, 4, false, false};
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 8, true, false};
    struct viv_space *s = viv_space_new("mem", 64);
    struct regs r;
    struct viv_region *b = io(s, &r, &byte, 64), *d = io(s, &r, &dword, 64),
                      *a = io(s, &r, &any, 64);

    viv_region_map(b, 0x1000, 0);
    viv_region_map(d, 0x2000, 0);
    viv_region_map(a, 0x3000, 0);

    fill(&r);
    g_assert_cmphex(viv_space_read(s, 0x1004, 4), ==, 0x08070605);
    g_assert_cmpuint(r.calls, ==, 4);
    g_assert_cmpuint(r.off[0], ==, 4); /* lowest address first */

    fill(&r);
    g_assert_cmphex(viv_space_read(s, 0x2006, 1), ==, 0x07); /* widened */
    g_assert_cmpuint(r.calls, ==, 1);
    g_assert_cmpuint(r.off[0], ==, 4);
    g_assert_cmpuint(r.size[0], ==, 4);
    viv_space_write(s, 0x2006, 0xaabb, 2);
    g_assert_cmphex(viv_space_read(s, 0x2004, 4), ==, 0xaabb0000);

    fill(&r);
    g_assert_cmphex(viv_space_read(s, 0x2003, 4), ==, 0x07060504); /* misaligned: 03 and 04-06 */
    fill(&r);
    g_assert_cmphex(viv_space_read(s, 0x2008, 8), ==, 0x100f0e0d0c0b0a09);
    g_assert_cmpuint(r.calls, ==, 2);

    fill(&r);
    g_assert_cmphex(viv_space_read(s, 0x3003, 8), ==, 0x0b0a090807060504);
    g_assert_cmpuint(r.calls, ==, 1);
    viv_space_free(s);
}

static void test_borders(void)
{
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 8, false, false};
    struct viv_space *s = viv_space_new("mem", 64);
    struct viv_ram *m = ram(VIV_PAGE_SIZE);
    struct viv_region *mr = ram_region(s, VIV_REGION_RAM, m, 0, VIV_PAGE_SIZE);
    struct regs r;
    struct viv_region *dr = io(s, &r, &any, 64);

    fill(&r);
    viv_region_map(mr, 0x1000, 0);
    viv_region_map(dr, 0x2000, 0);
    m->hva[0xffe] = 0xee;
    m->hva[0xfff] = 0xff;
    g_assert_cmphex(viv_space_read(s, 0x1ffe, 4), ==, 0x0201ffee);
    g_assert_cmphex(viv_space_read(s, 0xffe, 4), ==, 0x0000ffff);  /* hole, then RAM */
    g_assert_cmphex(viv_space_read(s, 0x203e, 4), ==, 0xffff403f); /* registers, then hole */
    g_assert_cmphex(viv_space_read(s, 0x9000, 8), ==, UINT64_MAX);
    viv_space_write(s, 0x1ffe, 0x44332211, 4);
    g_assert_cmphex(m->hva[0xffe], ==, 0x11);
    g_assert_cmphex(m->hva[0xfff], ==, 0x22);
    g_assert_cmphex(r.b[0], ==, 0x33);
    g_assert_cmphex(r.b[1], ==, 0x44);
    viv_space_free(s);
}

static unsigned changes;
static void count_change(void *opaque)
{
    changes++;
}

/* Two views: what is mapped in the second one is over all of the first, and each change of the first shows in both. */
static void test_over(void)
{
    struct viv_space *s = viv_space_new("mem", 40), *over = viv_space_new_over("smm", s);
    struct viv_ram *m = ram(2 * VIV_MIB);
    struct viv_region *low = ram_region(s, VIV_REGION_RAM, m, 0, VIV_PAGE_SIZE);
    struct viv_region *top = ram_region(s, VIV_REGION_RAM, m, VIV_MIB, VIV_PAGE_SIZE);
    struct viv_region *own = ram_region(over, VIV_REGION_RAM, m, VIV_PAGE_SIZE, 16);
    unsigned before;

    changes = 0;
    viv_space_listen(over, count_change, NULL);
    m->hva[0] = 1;
    m->hva[VIV_PAGE_SIZE] = 2;
    m->hva[VIV_MIB] = 3;
    viv_region_map(low, 0, 0);
    g_assert_cmpuint(changes, ==, 1);
    g_assert_cmphex(viv_space_read(over, 0, 1), ==, 1);
    viv_region_map(own, 0, 0);
    viv_region_map(top, 0, 7);
    g_assert_cmphex(viv_space_read(s, 0, 1), ==, 3);
    g_assert_cmphex(viv_space_read(over, 0, 1), ==, 2); /* whatever the priority */
    g_assert_true(viv_space_covers(over, 15));
    g_assert_false(viv_space_covers(over, 16));
    g_assert_false(viv_space_covers(s, 0));
    g_assert_cmphex(viv_space_read(over, 16, 1), ==, viv_space_read(s, 16, 1));
    viv_space_write(over, 0, 9, 1);
    g_assert_cmphex(m->hva[VIV_PAGE_SIZE], ==, 9);
    g_assert_cmphex(viv_space_read(s, 0, 1), ==, 3);
    viv_space_set_a20(s, false);
    g_assert_cmphex(viv_space_read(over, VIV_MIB, 1), ==, 9);
    viv_space_set_a20(s, true);
    g_assert_cmphex(viv_space_read(over, VIV_MIB, 1), ==, 0xff);
    before = changes;
    viv_space_begin(s);
    viv_region_unmap(top);
    viv_region_unmap(low);
    viv_space_commit(s);
    g_assert_cmpuint(changes, ==, before + 1);
    g_assert_cmphex(viv_space_read(over, 16, 1), ==, 0xff);
    viv_region_unmap(own);
    g_assert_cmphex(viv_space_read(over, 0, 1), ==, 0xff);
    viv_space_free(over);
    viv_region_map(low, 0, 0);
    g_assert_cmphex(viv_space_read(s, 0, 1), ==, 1);
    viv_space_free(s);
}

static void test_ports_end(void)
{
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 4, false, false};
    struct viv_space *s = viv_space_new("io", 16);
    struct regs r;
    struct viv_region *d = io(s, &r, &any, 64);

    fill(&r);
    viv_region_map(d, 0xfffe, 0); /* reaches past the top: only two ports are there */
    g_assert_cmphex(viv_space_read(s, 0xfffe, 4), ==, 0xffff0201);
    g_assert_cmphex(viv_space_read(s, 0xffff, 2), ==, 0xff02);
    g_assert_cmphex(viv_space_read(s, 0, 1), ==, 0xff);
    viv_space_free(s);
}

static void test_priority(void)
{
    struct viv_space *s = viv_space_new("mem", 64);
    struct viv_ram *m = ram(16 * VIV_PAGE_SIZE);
    struct viv_region *low = ram_region(s, VIV_REGION_RAM, m, 0, 8 * VIV_PAGE_SIZE);
    struct viv_region *over = ram_region(s, VIV_REGION_ROM, m, 8 * VIV_PAGE_SIZE, VIV_PAGE_SIZE);
    struct viv_space_range f, *all;
    size_t n;

    changes = 0;
    viv_space_listen(s, count_change, NULL);
    viv_space_begin(s);
    viv_region_map(low, 0x10000, 0);
    viv_region_map(over, 0x12000, 2);
    g_assert_false(viv_space_find(s, 0x10000, &f));
    viv_space_commit(s);
    g_assert_cmpuint(changes, ==, 1);

    viv_dev_lock();
    all = viv_space_ranges(s, &n);
    viv_dev_unlock();
    g_assert_cmpuint(n, ==, 3);
    g_assert_cmphex(all[0].last, ==, 0x11fff);
    g_assert_cmpint(all[1].kind, ==, VIV_REGION_ROM);
    g_assert_true(all[1].hva == m->hva + 8 * VIV_PAGE_SIZE);
    g_assert_cmphex(all[2].start, ==, 0x13000);
    g_assert_cmphex(all[2].region_offset, ==, 0x3000);
    g_assert_true(all[2].hva == m->hva + 0x3000);
    g_free(all);

    viv_space_write(s, 0x12000, 0x77, 1); /* ROM: dropped */
    g_assert_cmpint(m->hva[8 * VIV_PAGE_SIZE], ==, 0);
    viv_region_unmap(over);
    viv_region_unmap(over);
    g_assert_cmpuint(changes, ==, 2);
    g_assert_true(viv_space_find(s, 0x12000, &f));
    g_assert_cmphex(f.start, ==, 0x10000); /* one range again */
    g_assert_cmphex(f.last, ==, 0x17fff);

    /* Equal priority: the last one mapped is on top. */
    viv_region_map(over, 0x17000, 0);
    g_assert_true(viv_space_find(s, 0x17800, &f));
    g_assert_true(f.region == over);
    viv_space_free(s);
}

static void test_whole_64_bits(void)
{
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 4, false, false};
    struct viv_space *s = viv_space_new("mem", 64);
    struct regs r;
    struct viv_region *d = io(s, &r, &any, UINT64_MAX);
    struct viv_space_range f;

    viv_region_map(d, 0, 0);
    g_assert_true(viv_space_find(s, UINT64_MAX - 1, &f));
    g_assert_false(viv_space_find(s, UINT64_MAX, &f));
    viv_region_map(d, 0x1000, 0); /* clamped, not wrapped */
    g_assert_true(viv_space_find(s, UINT64_MAX, &f));
    g_assert_false(viv_space_find(s, 0xfff, &f));
    viv_space_free(s);
}

static void test_dma(void)
{
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 4, false, false};
    struct viv_space *s = viv_space_new("mem", 64);
    struct viv_ram *m = ram(8 * VIV_PAGE_SIZE);
    struct regs r;
    uint8_t buf[VIV_PAGE_SIZE];
    uint64_t len = 4 * VIV_PAGE_SIZE;
    uint32_t v;

    viv_region_map(ram_region(s, VIV_REGION_RAM, m, 0, 2 * VIV_PAGE_SIZE), 0x0, 0);
    viv_region_map(ram_region(s, VIV_REGION_RAM, m, 2 * VIV_PAGE_SIZE, VIV_PAGE_SIZE), 0x2000, 0);
    viv_region_map(ram_region(s, VIV_REGION_ROM, m, 4 * VIV_PAGE_SIZE, VIV_PAGE_SIZE), 0x3000, 0);
    viv_region_map(io(s, &r, &any, 64), 0x4000, 0);

    memset(buf, 0xab, sizeof(buf));
    g_assert_cmpint(viv_dma_write(s, 0x1800, buf, VIV_PAGE_SIZE), ==, 0);
    g_assert_cmphex(m->hva[0x1800], ==, 0xab);
    g_assert_cmphex(m->hva[0x27ff], ==, 0xab);
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(viv_dma_read(s, 0x1801, buf, 0xfff), ==, 0);
    g_assert_cmphex(buf[0xffe], ==, 0xab);
    g_assert_cmpint(viv_dma_read(s, 0x3000, buf, 16), ==, 0);
    g_assert_cmpint(viv_dma_write(s, 0x3000, buf, 16), ==, -EFAULT);
    g_assert_cmpint(viv_dma_write(s, 0x2ff8, buf, 16), ==, -EFAULT);
    g_assert_cmpint(viv_dma_read(s, 0x4000, buf, 4), ==, -EFAULT);
    g_assert_cmpint(viv_dma_read(s, 0x5000, buf, 4), ==, -EFAULT);
    g_assert_cmpint(viv_dma_read(s, UINT64_MAX - 1, buf, 16), ==, -EFAULT);
    g_assert_cmpint(viv_dma_read(s, 0x5000, buf, 0), ==, 0);

    v = viv_ram_mark_code(m->hva + 0x2000);
    g_assert_true(viv_dma_map(s, 0x1000, &len, true) == m->hva + 0x1000);
    g_assert_cmphex(len, ==, 0x2000); /* two neighbours, then ROM */
    viv_dma_unmap(m->hva + 0x1000, len, 0x1000);
    g_assert_cmpuint(viv_arena_version[viv_arena_page(m->hva + 0x2000)], ==, v);
    viv_dma_unmap(m->hva + 0x1000, len, 0x1001);
    g_assert_cmpuint(viv_arena_version[viv_arena_page(m->hva + 0x2000)], ==, v + 1);
    len = 4;
    g_assert_null(viv_dma_map(s, 0x3000, &len, true));
    g_assert_null(viv_dma_map(s, 0x4000, &len, false));
    viv_space_free(s);
}

/* Readers look up two addresses, one of which is always mapped, while the map changes and grows. */
struct churn {
    struct viv_space *s;
    _Atomic bool stop;
    _Atomic unsigned wrong, looks;
};

static void *looker(void *p)
{
    struct churn *c = p;

    while (!atomic_load(&c->stop)) {
        struct viv_space_range f;

        if (!viv_space_find(c->s, 0x100000, &f) || f.start != 0x100000 || f.last != 0x100fff ||
            !f.hva)
            atomic_fetch_add(&c->wrong, 1);
        if (viv_space_find(c->s, 0x8000, &f) && (f.start > 0x8000 || f.last < 0x8000 || f.hva))
            atomic_fetch_add(&c->wrong, 1);
        atomic_fetch_add(&c->looks, 1);
    }
    return NULL;
}

static void test_lookup_while_changing(void)
{
    static const struct viv_region_ops any = {regs_read, regs_write, 1, 4, false, false};
    struct churn c = {.s = viv_space_new("mem", 64)};
    struct viv_region *d[200];
    struct regs r;
    pthread_t t;

    viv_region_map(ram_region(c.s, VIV_REGION_RAM, ram(VIV_PAGE_SIZE), 0, VIV_PAGE_SIZE), 0x100000,
                   0);
    pthread_create(&t, NULL, looker, &c);
    for (unsigned i = 0; i < 200; i++) {
        d[i] = io(c.s, &r, &any, 64);
        viv_region_map(d[i], (uint64_t)i * 0x200, 0);
    }
    for (unsigned i = 0; i < 2000 || atomic_load(&c.looks) < 1000; i++)
        viv_region_map(d[i % 200], 0x8000 + (i & 0x3c0), i % 3);
    atomic_store(&c.stop, true);
    pthread_join(t, NULL);
    g_assert_cmpuint(c.wrong, ==, 0);
    viv_space_free(c.s);
}

/* Without the device lock a plain handler is called with it, a lockless one without. */
static uint64_t locked_read(void *o, uint64_t off, unsigned size)
{
    return viv_dev_locked();
}

static void test_lock(void)
{
    static const struct viv_region_ops normal = {.read = locked_read};
    static const struct viv_region_ops lockless = {.read = locked_read, .lockless = true};
    struct viv_space *s = viv_space_new("mem", 64);

    viv_region_map(io(s, NULL, &normal, 16), 0x0, 0);
    viv_region_map(io(s, NULL, &lockless, 16), 0x10, 0);
    g_assert_cmpuint(viv_space_read(s, 0, 4), ==, 1);
    g_assert_cmpuint(viv_space_read(s, 0x10, 4), ==, 0);
    g_assert_false(viv_dev_locked());
    viv_space_write(s, 0, 1, 4); /* no write handler: dropped */
    viv_space_free(s);
}

/* Without line 20 the second MiB is the first one: RAM, registers, holes; what begins below it and ends behind it is cut. */
static void test_a20(void)
{
    static const struct viv_region_ops ops = {regs_read, regs_write, 1, 4, false, false};
    struct viv_space *s = viv_space_new("mem", 40);
    struct regs r = {0};
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = 4 * VIV_MIB, .ram = ram(4 * VIV_MIB)};
    struct viv_space_range f;
    size_t before, after;

    viv_dev_lock();
    viv_region_map(viv_region_new(s, &d), 0, 0);
    viv_region_map(io(s, &r, &ops, 64), 0xb8000, 1);
    for (uint64_t mib = 0; mib < 4; mib++)
        viv_space_write_locked(s, mib * VIV_MIB + 0x500, mib + 10, 4);
    g_free(viv_space_ranges(s, &before));
    viv_space_set_a20(s, false);
    for (uint64_t mib = 0; mib < 4; mib++)
        g_assert_cmpuint(viv_space_read_locked(s, mib * VIV_MIB + 0x500, 4), ==, (mib == 1 ? 0 : mib) + 10);
    viv_space_write_locked(s, 0x1b8008, 0x1234, 2);
    g_assert_cmpuint(r.off[0], ==, 8);
    g_assert_cmphex(viv_space_read_locked(s, 0xb8008, 2), ==, 0x1234);
    g_assert_true(viv_space_find(s, 2 * VIV_MIB + 8, &f));
    g_assert_cmpuint(f.start, ==, 2 * VIV_MIB);
    g_assert_cmpuint(f.region_offset, ==, 2 * VIV_MIB);
    g_assert_cmpuint(f.last, ==, 4 * VIV_MIB - 1);
    viv_space_write_locked(s, 0x100500, 99, 4);
    viv_space_set_a20(s, true);
    g_assert_cmpuint(viv_space_read_locked(s, 0x500, 4), ==, 99);
    g_assert_cmpuint(viv_space_read_locked(s, 0x100500, 4), ==, 11);
    g_free(viv_space_ranges(s, &after));
    g_assert_cmpuint(before, ==, after);
    viv_dev_unlock();
    viv_space_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/space/split-and-widen", test_split_and_widen);
    g_test_add_func("/space/borders", test_borders);
    g_test_add_func("/space/ports-end", test_ports_end);
    g_test_add_func("/space/over", test_over);
    g_test_add_func("/space/priority", test_priority);
    g_test_add_func("/space/64-bits", test_whole_64_bits);
    g_test_add_func("/space/dma", test_dma);
    g_test_add_func("/space/a20", test_a20);
    g_test_add_func("/space/while-changing", test_lookup_while_changing);
    g_test_add_func("/space/lock", test_lock);
    return g_test_run();
}
