/* I/O limits: the arithmetic on a clock of its own, and held requests. */
#include "block/throttle.h"

#include <glib.h>
#include <string.h>

#define S  1000000000ull
#define MS 1000000ull

/* How many requests of this size pass within `seconds`, when there is always another one. */
static uint64_t passed(struct viv_buckets *b, bool write, uint64_t bytes, uint64_t seconds)
{
    uint64_t start = b->at, n = 0;

    for (uint64_t now = start; now < start + seconds * S;) {
        uint64_t w = viv_buckets_wait(b, write, now);

        if (w) {
            now += w;
            continue;
        }
        viv_buckets_add(b, write, bytes);
        n++;
    }
    return n;
}

static void test_rates(void)
{
    struct viv_buckets b = {.limits.l[VIV_LIMIT_IOPS_TOTAL].avg = 100};
    uint64_t n = passed(&b, false, 4096, 10);

    g_assert_cmpuint(n, >=, 1000);
    g_assert_cmpuint(n, <=, 1012);
    b = (struct viv_buckets){.limits.l[VIV_LIMIT_BPS_WRITE].avg = 1 << 20};
    n = passed(&b, true, 65536, 10);
    g_assert_cmpuint(n, >=, 160);
    g_assert_cmpuint(n, <=, 163);
    g_assert_cmpuint(viv_buckets_wait(&b, false, b.at), ==, 0); /* reads are not limited */
}

/* A burst of 5 s at 1000, then 100 a second. */
static void test_bursts(void)
{
    struct viv_buckets b = {.limits.l[VIV_LIMIT_IOPS_TOTAL] = {.avg = 100, .max = 1000, .length = 5}};
    uint64_t first = passed(&b, false, 512, 1), rest, after;

    g_assert_cmpuint(first, >=, 1000);
    g_assert_cmpuint(first, <=, 1102);
    rest = passed(&b, false, 512, 9);
    g_assert_cmpuint(first + rest, >=, 5900);
    g_assert_cmpuint(first + rest, <=, 6110);
    after = passed(&b, false, 512, 10);
    g_assert_cmpuint(after, >=, 990);
    g_assert_cmpuint(after, <=, 1010);
}

static void test_iops_size(void)
{
    struct viv_buckets b = {.limits = {.l[VIV_LIMIT_IOPS_TOTAL].avg = 100, .iops_size = 4096}};
    uint64_t n = passed(&b, false, 16384, 10);

    g_assert_cmpuint(n, >=, 250);
    g_assert_cmpuint(n, <=, 254);
}

/* A request far above the rate passes whole; the next one waits for it, at most an hour at a time. */
static void test_large(void)
{
    struct viv_buckets b = {.limits.l[VIV_LIMIT_BPS_TOTAL].avg = 1000};
    uint64_t w;

    viv_buckets_add(&b, false, 10100);
    w = viv_buckets_wait(&b, true, 0);
    g_assert_cmpuint(w, >, 9900 * MS);
    g_assert_cmpuint(w, <, 10100 * MS);
    viv_buckets_add(&b, false, 1ull << 60);
    g_assert_cmpuint(viv_buckets_wait(&b, true, 0), ==, 3600 * S);
}

static void test_checks(void)
{
    static const struct {
        struct viv_limits l;
        const char *text; /* NULL: fine */
    } t[] = {
        {{.l[VIV_LIMIT_BPS_TOTAL].avg = 1}, NULL},
        {{.l[VIV_LIMIT_BPS_TOTAL].avg = 1, .l[VIV_LIMIT_BPS_READ].avg = 1}, "exclude"},
        {{.l[VIV_LIMIT_IOPS_TOTAL].avg = 1, .l[VIV_LIMIT_IOPS_WRITE].avg = 1}, "exclude"},
        {{.l[VIV_LIMIT_IOPS_READ].max = 1}, "needs iops-read"},
        {{.l[VIV_LIMIT_IOPS_READ] = {.avg = 2, .max = 1}}, "below"},
        {{.l[VIV_LIMIT_IOPS_READ] = {.avg = 2, .length = 1}}, NULL},
        {{.l[VIV_LIMIT_IOPS_READ] = {.avg = 2, .length = 2}}, "needs iops-read-max"},
        {{.l[VIV_LIMIT_BPS_READ].avg = 1, .iops_size = 1}, "iops-size"},
        {{.l[VIV_LIMIT_BPS_READ].avg = UINT64_MAX}, "out of range"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(t); i++) {
        struct viv_err err = VIV_ERR_INIT;
        int ret = viv_limits_check(&t[i].l, "drive", &err);

        g_assert_cmpint(ret != 0, ==, t[i].text != NULL);
        g_assert_true(!t[i].text || strstr(err.text, t[i].text));
    }
}

/* ---- members ---- */

static int gone; /* atomic */

static void release(struct viv_blk *blk, struct viv_blk_req *req)
{
    g_atomic_int_inc(&gone);
}

/* One request an hour: the second is held, whoever of the group sends it, until all are let go. */
static void test_hold(void)
{
    struct viv_limits l = {.l[VIV_LIMIT_IOPS_WRITE] = {.avg = 1, .max = 1, .length = 1}};
    struct viv_throttled *a = viv_throttle_join(viv_throttle_get("g", &l), NULL, release);
    struct viv_throttled *b = viv_throttle_join(viv_throttle_find("g"), NULL, release);
    struct viv_blk_req w[40] = {{0}}, r = {.op = VIV_BLK_READ, .len = 1 << 20}, f = {.op = VIV_BLK_FLUSH};
    unsigned held = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(w); i++) {
        w[i] = (struct viv_blk_req){.op = VIV_BLK_WRITE, .len = 512};
        held += viv_throttle_hold(i & 1 ? b : a, &w[i]);
    }
    g_assert_cmpuint(held, >=, 30);
    g_assert_cmpuint(viv_throttle_held(a) + viv_throttle_held(b), >=, 25);
    g_assert_false(viv_throttle_hold(a, &r)); /* other kinds pass them */
    g_assert_false(viv_throttle_hold(a, &f));
    viv_throttle_release_all(a);
    g_assert_cmpuint(viv_throttle_held(a), ==, 0);
    viv_throttle_leave(b);
    g_assert_cmpint(g_atomic_int_get(&gone), ==, (int)held);
    viv_throttle_leave(a);
    g_assert_null(viv_throttle_find("g"));
}

/* A raised limit lets the held ones go by themselves. */
static void test_raise(void)
{
    struct viv_limits l = {.l[VIV_LIMIT_IOPS_TOTAL].avg = 1};
    struct viv_throttled *a = viv_throttle_join(viv_throttle_get("h", &l), NULL, release);
    struct viv_blk_req w[100] = {{0}};

    g_atomic_int_set(&gone, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(w); i++) {
        w[i] = (struct viv_blk_req){.op = VIV_BLK_READ, .len = 512};
        if (!viv_throttle_hold(a, &w[i]))
            release(NULL, &w[i]);
    }
    g_assert_cmpuint(viv_throttle_held(a), >, 50);
    l.l[VIV_LIMIT_IOPS_TOTAL].avg = 1000000;
    viv_throttle_put(viv_throttle_get("h", &l));
    while (g_atomic_int_get(&gone) < (int)G_N_ELEMENTS(w))
        g_usleep(1000);
    viv_throttle_leave(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/rates", test_rates);
    g_test_add_func("/throttle/bursts", test_bursts);
    g_test_add_func("/throttle/iops-size", test_iops_size);
    g_test_add_func("/throttle/large", test_large);
    g_test_add_func("/throttle/checks", test_checks);
    g_test_add_func("/throttle/hold", test_hold);
    g_test_add_func("/throttle/raise", test_raise);
    return g_test_run();
}
