/* The balloon: pages given are gone, sizes, statistics, free page reporting; drivers that give nonsense. */
#include "dev/virtio/virtio_balloon.h"

#include "base/bytes.h"
#include "base/units.h"
#include "bus/pci.h"
#include "bus/virtio_driver.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "host/loop.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_i440fx, viv_dev_virtio_balloon_pci;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_virtio_balloon_pci, NULL};

enum { STATS_VQ = 1, REPORTING = 5, INFLATE = 0, DEFLATE, STATS, REPORT, FIRST = 0x100 };

static struct td d;

/* Device lock held from here to teardown. */
static struct virtio_balloon *setup(const char *opts, uint64_t features, unsigned queues)
{
    struct viv_dev *dev;

    rig_init();
    rig_add_ram(4 * VIV_MIB);
    rig_add("i440FX", "addr=0");
    dev = rig_add("virtio-balloon-pci", opts);
    d = (struct td){.v = viv_virtio_of(dev), .mem = rig.board.mem};
    viv_dev_lock();
    viv_dev_set_running_all(true);
    td_start(&d, d.v, features, 0x10000);
    for (unsigned q = 0; q < queues; q++)
        td_queue_start(&d, q, 16);
    td_go(&d);
    for (uint64_t at = 0x100000; at < 0x200000; at += 4)
        set_mem32(at, 0xaaaaaaaa);
    return viv_balloon(NULL);
}

static void teardown(void)
{
    viv_dev_unlock();
    rig_fini();
}

static void give(unsigned queue, const uint32_t *pfns, unsigned n)
{
    uint8_t list[64];
    struct td_seg seg = {.len = 4 * n};
    uint16_t id;
    uint32_t used;

    for (unsigned i = 0; i < n; i++)
        viv_st_le32(list + 4 * i, pfns[i]);
    seg.gpa = td_put(&d, list, 4 * n);
    td_add(&d, queue, &seg, 1, false);
    td_kick(&d, queue);
    g_assert_true(td_used(&d, queue, &id, &used));
    g_assert_cmpuint(used, ==, 0);
}

static bool gone(uint32_t pfn)
{
    bool first = !mem32((uint64_t)pfn << 12), last = !mem32(((uint64_t)pfn << 12) + 4092);

    g_assert(first == last);
    return first;
}

static uint32_t config(unsigned off)
{
    uint8_t w[4];

    viv_virtio_config_read(d.v, off, w, 4);
    return viv_ld_le32(w);
}

static void test_inflate(void)
{
    /* A run up, one down, one alone; what is no memory harms nobody. */
    static const uint32_t pfns[] = {FIRST, FIRST + 1, FIRST + 2, FIRST + 9, FIRST + 8, FIRST + 20, 0xffffffff, 0x100000, FIRST + 30};
    static const uint32_t given[] = {0, 1, 2, 8, 9, 20, 30};
    struct virtio_balloon *b = setup("deflate-on-oom=on", 1ull << STATS_VQ, 3);
    struct viv_err err = VIV_ERR_INIT;
    uint8_t actual[4];

    g_assert_cmpuint(d.v->host_features & 0xff, ==, 1 << STATS_VQ | 1 << 2);
    g_assert_cmpuint(viv_balloon_actual(b), ==, 4 * VIV_MIB);
    g_assert_cmpint(viv_balloon_set(b, 3 * VIV_MIB, &err), ==, 0);
    g_assert_cmpuint(config(0), ==, 256);
    g_assert_cmpint(viv_balloon_set(b, 0, &err), <, 0);
    give(INFLATE, pfns, G_N_ELEMENTS(pfns));
    for (unsigned i = 0, k = 0; i < 40; i++) {
        bool want = k < G_N_ELEMENTS(given) && given[k] == i;

        g_assert_true(gone(FIRST + i) == want);
        k += want;
    }
    set_mem32(FIRST << 12, 5); /* it takes one back without a word */
    g_assert_cmphex(mem32(FIRST << 12), ==, 5);
    give(DEFLATE, pfns, 2);
    g_assert_cmphex(mem32(FIRST << 12), ==, 5);
    viv_st_le32(actual, 100);
    viv_virtio_config_write(d.v, 4, actual, 4);
    g_assert_cmpuint(viv_balloon_actual(b), ==, 4 * VIV_MIB - 100 * 4096);
    viv_st_le32(actual, 0xffffffff); /* more than there is */
    viv_virtio_config_write(d.v, 4, actual, 4);
    g_assert_cmpuint(viv_balloon_actual(b), ==, 0);
    viv_virtio_config_write(d.v, 0, actual, 4); /* not the driver's */
    g_assert_cmpuint(config(0), ==, 256);
    g_assert_cmpint(viv_balloon_set(b, VIV_GIB, NULL), ==, 0);
    g_assert_cmpuint(config(0), ==, 0);
    viv_dev_reset_all();
    g_assert_cmpuint(viv_balloon_actual(b), ==, 4 * VIV_MIB);
    teardown();
}

static void pass(uint64_t ns)
{
    viv_dev_unlock();
    rig_step((int64_t)ns);
    viv_dev_lock();
}

static void put_stats(uint64_t gpa, uint64_t available)
{
    uint8_t s[33] = {0};

    viv_st_le16(s, 4);
    viv_st_le64(s + 2, 1000);
    viv_st_le16(s + 10, 99); /* one that nobody knows */
    viv_st_le16(s + 20, 6);
    viv_st_le64(s + 22, available); /* and three bytes of another */
    td_write(&d, gpa, s, sizeof(s));
}

static void test_stats(void)
{
    struct virtio_balloon *b = setup("", 1ull << STATS_VQ, 3);
    uint64_t gpa = td_alloc(&d, 33);
    struct td_seg seg = {gpa, 33, false};
    struct viv_err err = VIV_ERR_INIT;
    uint16_t id;
    uint32_t used;

    g_assert_cmpint(viv_balloon_stats(b)->when, ==, 0);
    put_stats(gpa, 7);
    td_add(&d, STATS, &seg, 1, false);
    td_kick(&d, STATS);
    g_assert_false(td_used(&d, STATS, &id, &used)); /* it keeps it until it wants more */
    g_assert_cmpuint(viv_balloon_stats(b)->value[4], ==, 1000);
    g_assert_cmpuint(viv_balloon_stats(b)->value[6], ==, 7);
    g_assert_cmpuint(viv_balloon_stats(b)->value[0], ==, UINT64_MAX);
    g_assert_cmpint(viv_balloon_stats(b)->when, >, 0);
    g_assert_cmpint(viv_balloon_poll(b, -1, &err), <, 0);
    g_assert_cmpint(viv_balloon_poll(b, 2, &err), ==, 0);
    pass(1900 * VIV_NS_PER_MS);
    g_assert_false(td_used(&d, STATS, &id, &used));
    for (uint64_t i = 8; i < 11; i++) {
        pass(i == 8 ? 200 * VIV_NS_PER_MS : 2000 * VIV_NS_PER_MS);
        g_assert_true(td_used(&d, STATS, &id, &used));
        put_stats(gpa, i);
        td_add(&d, STATS, &seg, 1, false);
        td_kick(&d, STATS);
        g_assert_cmpuint(viv_balloon_stats(b)->value[6], ==, i);
    }
    g_assert_cmpint(viv_balloon_poll(b, 0, &err), ==, 0);
    pass(10 * VIV_NS_PER_SEC);
    g_assert_false(td_used(&d, STATS, &id, &used));
    teardown();
}

static void test_reporting(void)
{
    struct virtio_balloon *b = setup("free-page-reporting=on", 1ull << REPORTING, 4);
    struct td_seg seg[] = {{(FIRST << 12) + 0x1000, 0x3000, true}, {(FIRST << 12) + 0x8800, 0x1800, true}};
    struct viv_err err = VIV_ERR_INIT;
    uint16_t id;
    uint32_t used;

    td_add(&d, REPORT, seg, 2, false);
    td_kick(&d, REPORT);
    g_assert_true(td_used(&d, REPORT, &id, &used));
    for (unsigned i = 0; i < 16; i++)
        g_assert_true(gone(FIRST + i) == ((i >= 1 && i <= 3) || i == 9)); /* whole pages only */
    g_assert_cmpint(viv_balloon_poll(b, 2, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "no statistics"));
    teardown();
}

/* As many pages as can be named: what a kick does not do comes from the loop, and a list is not endless. */
static void test_bounds(void)
{
    struct td_seg pages = {0x200000, 4 * 4096, false}, most = {0x200000, 64 << 10, false}, more = {0x200000, (64 << 10) + 4, false};
    uint32_t used;
    uint16_t id;

    setup("", 0, 2);
    td_add(&d, INFLATE, &pages, 1, false);
    td_add(&d, INFLATE, &most, 1, false);
    td_kick(&d, INFLATE);
    g_assert_true(td_used(&d, INFLATE, &id, &used));
    g_assert_false(td_used(&d, INFLATE, &id, &used));
    viv_dev_unlock();
    viv_loop_serve(true);
    viv_dev_lock();
    g_assert_true(td_used(&d, INFLATE, &id, &used));
    g_assert_false(d.v->broken);
    td_add(&d, INFLATE, &more, 1, false);
    td_kick(&d, INFLATE);
    g_assert_true(d.v->broken);
    teardown();
}

static void test_refused(void)
{
    rig_init();
    rig_add_ram(4 * VIV_MIB);
    rig_add("i440FX", "addr=0");
    rig_refused("virtio-balloon-pci", "free-page-hint=on", "free-page-reporting=on");
    g_assert_null(viv_balloon(NULL));
    rig_fini();
}

/* Each is found by its device; the first one gone, the next is the one that is spoken to. */
static void test_two(void)
{
    struct viv_dev *one, *two;

    rig_init();
    rig_add_ram(4 * VIV_MIB);
    rig_add("i440FX", "addr=0");
    one = rig_add("virtio-balloon-pci", NULL);
    two = rig_add("virtio-balloon-pci", NULL);
    g_assert_true(viv_balloon(NULL) == viv_balloon(one));
    g_assert_nonnull(viv_balloon(two));
    viv_dev_lock();
    viv_dev_free(one);
    viv_dev_unlock();
    g_assert_nonnull(viv_balloon(NULL));
    g_assert_true(viv_balloon(NULL) == viv_balloon(two));
    rig_fini();
    g_assert_null(viv_balloon(NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/balloon/inflate", test_inflate);
    g_test_add_func("/balloon/stats", test_stats);
    g_test_add_func("/balloon/reporting", test_reporting);
    g_test_add_func("/balloon/bounds", test_bounds);
    g_test_add_func("/balloon/two", test_two);
    g_test_add_func("/balloon/refused", test_refused);
    return g_test_run();
}
