#include "base/bytes.h"
#include "base/units.h"
#include "dev/rtc/mc146818.h"
#include "dev/rtc/rtc_date.h"
#include "dev/test_rig.h"

#include <glib.h>
#include <string.h>
#include <time.h>

extern const struct viv_dev_class viv_dev_mc146818;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_mc146818, NULL};

static uint8_t get(uint8_t reg)
{
    out8(0x70, reg);
    return in8(0x71);
}

static void put(uint8_t reg, uint8_t v)
{
    out8(0x70, reg);
    out8(0x71, v);
}

static void test_calendar(void)
{
    for (int64_t s = -2208988800; s < 7258118400; s += 86400 * 3 + 7777) {
        struct rtc_date d = rtc_from_seconds(s);
        time_t t = (time_t)s;
        struct tm tm;

        gmtime_r(&t, &tm);
        g_assert_cmpint(d.year, ==, tm.tm_year + 1900);
        g_assert_cmpint(d.month, ==, tm.tm_mon + 1);
        g_assert_cmpint(d.day, ==, tm.tm_mday);
        g_assert_cmpint(d.hour * 3600 + d.minute * 60 + d.second, ==,
                        tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
        g_assert_cmpint(d.weekday, ==, tm.tm_wday + 1);
        g_assert_cmpint(rtc_to_seconds(&d), ==, s);
    }
}

static void test_time(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2024-02-28T23:59:58,clock=vm");
    g_assert_cmphex(get(0), ==, 0x58);
    g_assert_cmphex(get(4), ==, 0x23);
    g_assert_cmphex(get(7), ==, 0x28);
    g_assert_cmphex(get(9), ==, 0x24);
    g_assert_cmphex(get(0x32), ==, 0x20);
    g_assert_cmphex(get(6), ==, 4); /* Wednesday */
    rig_step(2 * VIV_NS_PER_SEC);
    g_assert_cmphex(get(7), ==, 0x29);
    g_assert_cmphex(get(0), ==, 0);
    put(0x0b, 0x06); /* binary, 24 hours */
    g_assert_cmpuint(get(7), ==, 29);
    put(4, 13); /* without SET: at once */
    put(0x0b, 0x04);
    g_assert_cmphex(get(4), ==, 0x81); /* 1 pm */
    put(0x0b, 0x00);
    put(4, 0x12); /* 12 am */
    put(0x0b, 0x02);
    g_assert_cmphex(get(4), ==, 0);
    rig_fini();
}

/* From the end of one century to the start of another: more than 64 bits of ns (UBSan looks). */
static void test_far(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2199-12-31,clock=vm");
    g_assert_cmphex(get(0x32), ==, 0x21);
    put(0x32, 0x19);
    put(9, 0x01);
    rig_step(2 * VIV_NS_PER_SEC);
    g_assert_cmphex(get(0x32), ==, 0x19);
    g_assert_cmphex(get(9), ==, 0x01);
    rig_fini();
}

static void test_set(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01,clock=vm");
    put(0x0b, 0x82);
    rig_step(5 * VIV_NS_PER_SEC);
    g_assert_cmphex(get(0), ==, 0); /* held */
    put(9, 0x99);
    put(0x32, 0x19);
    put(8, 0x12);
    put(7, 0x31);
    put(4, 0x23);
    put(2, 0x59);
    put(0, 0x59);
    put(0x0b, 0x02);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmphex(get(9), ==, 0);
    g_assert_cmphex(get(0x32), ==, 0x20);
    put(8, 0x77); /* nonsense: clamped, no harm */
    put(7, 0xff);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmphex(get(8), ==, 0x12);
    rig_fini();
}

/* Without SET the registers are independent of each other until the second is over. */
static void test_set_piecemeal(void)
{
    size_t len;
    uint8_t *a;

    rig_init();
    rig_add("mc146818rtc", "base=2024-01-31T12:00:00,clock=vm");
    rig_step(VIV_NS_PER_SEC / 4);
    put(8, 0x02);
    g_assert_cmphex(get(8), ==, 0x02);
    g_assert_cmphex(get(7), ==, 0x31);
    rig_step(VIV_NS_PER_SEC / 4);
    a = rig_save(&len);
    rig_fini();
    rig_init();
    rig_step(VIV_NS_PER_SEC / 2);
    rig_add("mc146818rtc", "clock=vm");
    rig_load(a, len);
    g_free(a);
    put(7, 0x15);
    put(0x0b, 0x12); /* the same form, with an interrupt at each update */
    rig_step(VIV_NS_PER_SEC / 2 - 1);
    g_assert_cmphex(get(0), ==, 0);
    g_assert_cmpint(rig.line[8], ==, 0);
    rig_step(1);
    g_assert_cmpint(rig.line[8], ==, 1);
    g_assert_cmphex(get(0), ==, 1);
    g_assert_cmphex(get(7), ==, 0x15);
    g_assert_cmphex(get(8), ==, 0x02);
    put(8, 0x04); /* looked at long after */
    rig_step(2 * 86400 * VIV_NS_PER_SEC);
    g_assert_cmphex(get(7), ==, 0x17);
    g_assert_cmphex(get(8), ==, 0x04);
    g_assert_cmphex(get(0), ==, 1);
    put(7, 0x31); /* 31 April, the second ends */
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmphex(get(7), ==, 0x01);
    g_assert_cmphex(get(8), ==, 0x05);
    put(7, 0x30); /* goes on with SET, or in another form */
    put(0x0b, 0x82);
    g_assert_cmphex(get(7), ==, 0x30);
    put(0x0b, 0x02);
    put(7, 0x29);
    put(0x0b, 0x06);
    g_assert_cmpuint(get(7), ==, 29);
    g_assert_cmpuint(get(8), ==, 5);
    rig_fini();
}

/* The date stands while the divider is held in reset; the first update comes half a second after. As Linux sets it. */
static void test_divider(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01T10:00:00,clock=vm");
    put(0x0b, 0x82);
    put(0x0a, 0x76);
    put(0, 0x30);
    put(0x0b, 0x02);
    rig_step(5 * VIV_NS_PER_SEC + 123);
    g_assert_cmphex(get(0), ==, 0x30);
    g_assert_cmphex(get(0x0a), ==, 0x76);
    put(0, 0x31);
    g_assert_cmphex(get(0x0c), ==, 0);
    put(0x0a, 0x26);
    rig_step(VIV_NS_PER_SEC / 2 - 1);
    g_assert_cmphex(get(0), ==, 0x31);
    g_assert_cmphex(get(0x0c) & 0x10, ==, 0);
    rig_step(1);
    g_assert_cmphex(get(0), ==, 0x32);
    g_assert_cmphex(get(0x0c) & 0x10, ==, 0x10);
    rig_step(VIV_NS_PER_SEC - 1);
    g_assert_cmphex(get(0), ==, 0x32);
    put(0x0a, 0x66); /* alone */
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmphex(get(0), ==, 0x32);
    put(0x0a, 0x26);
    rig_step(VIV_NS_PER_SEC / 2);
    g_assert_cmphex(get(0), ==, 0x33);
    rig_fini();
}

static void test_update_in_progress(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01,clock=vm");
    g_assert_cmphex(get(0x0a), ==, 0x26);
    rig_step(VIV_NS_PER_SEC - 100 * VIV_NS_PER_US);
    g_assert_cmphex(get(0x0a), ==, 0xa6);
    rig_step(100 * VIV_NS_PER_US);
    g_assert_cmphex(get(0x0a), ==, 0x26);
    g_assert_cmphex(get(0x0c), ==, 0x50); /* update and periodic flags, no interrupt */
    g_assert_cmphex(get(0x0c), ==, 0);
    g_assert_cmphex(get(0x0d), ==, 0x80);
    rig_fini();
}

static void test_interrupts(void)
{
    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01T10:00:00,clock=vm");
    put(0x0b, 0x12);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpint(rig.line[8], ==, 1);
    g_assert_cmphex(get(0x0c) & 0xb0, ==, 0x90);
    g_assert_cmpint(rig.line[8], ==, 0);
    put(0x0b, 0x22);
    put(5, 0xff);
    put(3, 0xff);
    put(1, 0x05); /* at second 5 of every minute */
    rig.rises[8] = 0;
    rig_step(3 * VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[8], ==, 0);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[8], ==, 1);
    g_assert_cmphex(get(0x0c) & 0xa0, ==, 0xa0);
    rig_step(59 * VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[8], ==, 1);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[8], ==, 2);
    (void)get(0x0c);

    put(0x0b, 0x42); /* 1024 Hz */
    rig.rises[8] = 0;
    for (int i = 0; i < 1000; i++) {
        rig_step(VIV_NS_PER_MS);
        (void)get(0x0c);
    }
    g_assert_cmpuint(rig.rises[8], >=, 999);
    put(0x0a, 0x23); /* 8192 Hz */
    rig.rises[8] = 0;
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(rig.rises[8], ==, 1); /* nobody reads C */
    viv_dev_reset_all();
    g_assert_cmpint(rig.line[8], ==, 0);
    rig_fini();
}

/* Reads C whenever the line is up, for `ms` ms; how often that was. */
static unsigned serve(unsigned ms)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ms * 10; i++) {
        rig_step(VIV_NS_PER_MS / 10);
        if (rig.line[8]) {
            (void)get(0x0c);
            n++;
        }
    }
    return n;
}

/* A guest that was busy for half a second: 32 ticks at 64 Hz, of which the flag keeps one. */
static void test_lost_ticks(void)
{
    for (int slew = 0; slew < 2; slew++) {
        rig_init();
        rig_add("mc146818rtc", slew ? "clock=vm,lost_tick_policy=slew" : "clock=vm");
        put(0x0a, 0x2a);
        (void)get(0x0c);
        put(0x0b, 0x42);
        g_assert_cmpuint(serve(500), ==, 32);
        rig_step(VIV_NS_PER_SEC / 2);
        g_assert_cmpuint(serve(500), ==, slew ? 64 : 33);
        g_assert_cmpuint(serve(500), ==, 32);
        rig_step(5 * (int64_t)VIV_NS_PER_SEC);
        (void)get(0x0c);
        put(0x0b, 0x02); /* who does not want ticks any more does not get old ones */
        put(0x0b, 0x42);
        g_assert_cmpuint(serve(500), ==, 32);
        rig_fini();
    }
}

/* The host's time from the start on: the guest's clock has no part in it, and a loaded machine's date goes on. */
static void test_rt(void)
{
    size_t len;
    uint8_t *a;

    rig_init();
    rig_add("mc146818rtc", "base=2024-03-01T10:00:00,clock=rt");
    g_assert_cmphex(get(9), ==, 0x24);
    g_assert_cmphex(get(4), ==, 0x10);
    rig_step(3 * 3600 * VIV_NS_PER_SEC);
    g_assert_cmphex(get(4), ==, 0x10);
    a = rig_save(&len);
    rig_fini();
    rig_init();
    rig_add("mc146818rtc", "clock=rt");
    rig_load(a, len);
    g_free(a);
    g_assert_cmphex(get(9), ==, 0x24);
    g_assert_cmphex(get(8), ==, 0x03);
    g_assert_cmphex(get(4), ==, 0x10);
    rig_fini();
}

static void test_nvram(void)
{
    struct viv_dev *d;

    rig_init();
    d = rig_add("mc146818rtc", NULL);
    viv_mc146818_set_nvram(d, 0x15, 0x80);
    put(0x0f, 0x0a);
    viv_dev_reset_all();
    g_assert_cmphex(get(0x15), ==, 0x80);
    g_assert_cmphex(get(0x0f), ==, 0x0a);
    g_assert_cmphex(get(0x8f), ==, 0x0a); /* bit 7 masks NMI */
    rig_refused("mc146818rtc", "base=yesterday", "is not a date");
    rig_refused("mc146818rtc", "clock=tai", "clock=tai is not possible; possible: host, rt, vm");
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01T10:00:00,clock=vm");
    put(0x0b, 0x72);
    put(0x40, 0x77);
    (void)get(0);
    rig_step(1234567890);
    a = rig_save(&len);
    rig_fini();
    rig_init();
    rig_step(1234567890);
    rig_add("mc146818rtc", "clock=vm");
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmphex(get(4), ==, 0x10);
    g_assert_cmphex(get(0x40), ==, 0x77);
    rig_fini();
    g_free(a);
    g_free(b);
}

/* A state that says that the last second looked at is in no year is refused, and the clock goes on. */
static void test_damaged(void)
{
    uint8_t second[8], *a, *at;
    size_t len;

    rig_init();
    rig_add("mc146818rtc", "base=2024-01-01,clock=vm");
    rig_step(3 * VIV_NS_PER_SEC);
    (void)get(0x0c);
    a = rig_save(&len);
    viv_st_le64(second, 1704067203);
    at = memmem(a, len, second, 8);
    g_assert_nonnull(at);
    at[7] = 0x80;
    rig_load_refused(a, len, "impossible date");
    at[7] = 0;
    rig_load(a, len); /* as a machine is put back */
    rig_step(VIV_NS_PER_SEC);
    (void)get(0x0c);
    g_assert_cmphex(get(0), ==, 4);
    g_assert_cmphex(get(9), ==, 0x24);
    rig_fini();
    g_free(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtc/calendar", test_calendar);
    g_test_add_func("/rtc/time", test_time);
    g_test_add_func("/rtc/set", test_set);
    g_test_add_func("/rtc/set-piecemeal", test_set_piecemeal);
    g_test_add_func("/rtc/divider", test_divider);
    g_test_add_func("/rtc/update-in-progress", test_update_in_progress);
    g_test_add_func("/rtc/interrupts", test_interrupts);
    g_test_add_func("/rtc/lost-ticks", test_lost_ticks);
    g_test_add_func("/rtc/far", test_far);
    g_test_add_func("/rtc/nvram", test_nvram);
    g_test_add_func("/rtc/rt", test_rt);
    g_test_add_func("/rtc/state", test_state);
    g_test_add_func("/rtc/damaged", test_damaged);
    return g_test_run();
}
