#include "base/units.h"
#include "dev/test_rig.h"

#include <glib.h>

extern const struct viv_dev_class viv_dev_i8254;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i8254, NULL};

#define TICK_NS(n) ((int64_t)(((n)*1000000000ull + 1193181) / 1193182))

static void program(unsigned n, unsigned mode, uint16_t count)
{
    out8(0x43, (uint8_t)(n << 6 | 3 << 4 | mode << 1));
    out8((uint16_t)(0x40 + n), (uint8_t)count);
    out8((uint16_t)(0x40 + n), (uint8_t)(count >> 8));
}

static uint16_t read_latched(unsigned n)
{
    uint16_t v;

    out8(0x43, (uint8_t)(n << 6));
    v = in8((uint16_t)(0x40 + n));
    return (uint16_t)(v | in8((uint16_t)(0x40 + n)) << 8);
}

static void test_rate(void)
{
    rig_init();
    rig_add("i8254", NULL);
    program(0, 2, 11932); /* 100 Hz */
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC + 100000);
    g_assert_cmpuint(rig.rises[0], ==, 100);
    program(0, 3, 0); /* 18.2 Hz */
    rig.rises[0] = 0;
    rig_step(10 * VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[0], ==, 182);
    rig_fini();
}

static void test_one_shot(void)
{
    rig_init();
    rig_add("i8254", NULL);
    program(0, 0, 1000);
    g_assert_cmpint(rig.line[0], ==, 0);
    rig.rises[0] = 0;
    rig_step(TICK_NS(1000));
    g_assert_cmpint(rig.line[0], ==, 0);
    rig_step(TICK_NS(1));
    g_assert_cmpint(rig.line[0], ==, 1);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[0], ==, 1); /* once */
    program(0, 4, 50);
    g_assert_cmpint(rig.line[0], ==, 1); /* strobe: high but for one tick */
    rig_fini();
}

static void test_counting(void)
{
    rig_init();
    rig_add("i8254", NULL);
    program(2, 0, 0x8000);
    rig_step(TICK_NS(101));
    g_assert_cmphex(read_latched(2), ==, 0x8000); /* the gate is low */
    out8(0x61, 1);
    rig_step(TICK_NS(101));
    g_assert_cmpuint(ABS(read_latched(2) - (0x8000 - 101)), <=, 1);
    out8(0x43, 0x80); /* latched: stands still */
    rig_step(TICK_NS(500));
    {
        uint8_t low = in8(0x42), high = in8(0x42);

        g_assert_cmpuint(ABS((high << 8 | low) - (0x8000 - 101)), <=, 1);
    }
    g_assert_cmphex(in8(0x61) & 0x20, ==, 0);
    rig_step(TICK_NS(0x8000));
    g_assert_cmphex(in8(0x61) & 0x20, ==, 0x20);

    program(2, 2, 1000); /* reload at 1 */
    for (int i = 0; i < 3000; i++) {
        uint16_t v = read_latched(2);

        g_assert_cmpuint(v, >=, 1);
        g_assert_cmpuint(v, <=, 1000);
        rig_step(TICK_NS(1));
    }
    out8(0x43, 0xb1); /* BCD, mode 0 */
    out8(0x42, 0x00);
    out8(0x42, 0x10); /* 1000 */
    rig_step(TICK_NS(2) + 10);
    g_assert_cmphex(read_latched(2), ==, 0x0999);
    rig_fini();
}

static void test_read_back(void)
{
    rig_init();
    rig_add("i8254", NULL);
    out8(0x61, 1);
    out8(0x43, 0xb6);                     /* counter 2, both, mode 3 */
    out8(0x43, 0xe8);                     /* status of 2 */
    g_assert_cmphex(in8(0x42), ==, 0xf6); /* out, null count, both, mode 3 */
    program(2, 3, 0x1234);
    out8(0x43, 0xc8); /* status and count of 2: status comes first */
    g_assert_cmphex(in8(0x42) & 0x7f, ==, 0x36);
    g_assert_cmphex(in8(0x42), ==, 0x34);
    g_assert_cmphex(in8(0x42), ==, 0x12);
    out8(0x43, 0x90); /* low byte only, mode 0 */
    out8(0x42, 9);
    g_assert_cmpuint(in8(0x42), ==, 9);
    g_assert_cmpuint(in8(0x42), ==, 9);
    rig_fini();
}

static void test_square_and_refresh(void)
{
    int high = 0, toggles = 0, last = -1;

    rig_init();
    rig_add("i8254", NULL);
    out8(0x61, 1);
    program(2, 3, 1000);
    rig_step(TICK_NS(1));
    for (int i = 0; i < 4000; i++) {
        high += in8(0x61) >> 5 & 1;
        rig_step(TICK_NS(1));
    }
    g_assert_cmpint(ABS(high - 2000), <=, 8);
    for (int i = 0; i < 1000; i++) {
        int r = in8(0x61) >> 4 & 1;

        toggles += r != last;
        last = r;
        rig_step(1000);
    }
    g_assert_cmpint(ABS(toggles - 66), <=, 2);
    rig_fini();
}

/* The smallest counts must not make the process spin. */
static void test_hostile_rate(void)
{
    rig_init();
    rig_add("i8254", NULL);
    program(0, 2, 1);
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC / 10);
    g_assert_cmpuint(rig.rises[0], <=, 5001);
    program(0, 3, 2);
    rig_step(VIV_NS_PER_SEC / 10);
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    rig_init();
    rig_add("i8254", NULL);
    program(0, 2, 11932);
    program(2, 0, 5000);
    out8(0x61, 1);
    rig_step(1234567);
    a = rig_save(&len);
    rig_fini();

    rig_init();
    rig_step(1234567);
    rig_add("i8254", NULL);
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    rig.rises[0] = 0;
    rig_step(VIV_NS_PER_SEC + 100000);
    g_assert_cmpuint(rig.rises[0], ==, 100);
    rig_fini();
    g_free(a);
    g_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8254/rate", test_rate);
    g_test_add_func("/i8254/one-shot", test_one_shot);
    g_test_add_func("/i8254/counting", test_counting);
    g_test_add_func("/i8254/read-back", test_read_back);
    g_test_add_func("/i8254/square-refresh", test_square_and_refresh);
    g_test_add_func("/i8254/hostile-rate", test_hostile_rate);
    g_test_add_func("/i8254/state", test_state);
    return g_test_run();
}
