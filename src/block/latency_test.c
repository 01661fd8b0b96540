/* Histograms and intervals, on a clock of the test's own. */
#include "block/latency.h"

#include <glib.h>

#define S 1000000000ll

static void test_boundaries(void)
{
    const uint64_t good[] = {1, 2, UINT64_MAX}, zero[] = {0, 1}, falling[] = {10, 5}, same[] = {5, 5};

    g_assert_true(viv_latency_are_boundaries(good, 3));
    g_assert_true(viv_latency_are_boundaries(good, 0));
    g_assert_false(viv_latency_are_boundaries(zero, 2));
    g_assert_false(viv_latency_are_boundaries(falling, 2));
    g_assert_false(viv_latency_are_boundaries(same, 2));
}

static void check_bins(struct viv_latency *l, unsigned kind, unsigned bins, const uint64_t *want)
{
    uint64_t *boundaries, *got;
    unsigned n;

    g_assert_true(viv_latency_histogram(l, kind, &boundaries, &got, &n));
    g_assert_cmpuint(n + 1, ==, bins);
    for (unsigned i = 0; i < bins; i++)
        g_assert_cmpuint(got[i], ==, want[i]);
    g_free(boundaries);
    g_free(got);
}

/* A boundary belongs to the bin above it. */
static void test_histogram(void)
{
    const uint64_t boundaries[] = {10, 50, 100}, times[] = {0, 9, 10, 49, 50, 100, UINT64_MAX}, want[] = {2, 2, 1, 2}, none[4] = {0};
    struct viv_latency *l = viv_latency_new();
    uint64_t *a, *b;
    unsigned n;

    viv_latency_add(l, VIV_LATENCY_READ, 5, 0, true);
    viv_latency_set_histogram(l, VIV_LATENCY_READ, boundaries, 3);
    g_assert_false(viv_latency_histogram(l, VIV_LATENCY_WRITE, &a, &b, &n));
    for (unsigned i = 0; i < G_N_ELEMENTS(times); i++)
        viv_latency_add(l, VIV_LATENCY_READ, times[i], 0, false);
    viv_latency_add(l, VIV_LATENCY_WRITE, 1, 0, true);
    check_bins(l, VIV_LATENCY_READ, 4, want);
    viv_latency_set_histogram(l, VIV_LATENCY_READ, boundaries, 3);
    check_bins(l, VIV_LATENCY_READ, 4, none);
    viv_latency_set_histogram(l, VIV_LATENCY_FLUSH, NULL, 0); /* one bin */
    viv_latency_add(l, VIV_LATENCY_FLUSH, 7, 0, true);
    check_bins(l, VIV_LATENCY_FLUSH, 1, (uint64_t[]){1});
    viv_latency_clear_histogram(l, VIV_LATENCY_READ);
    g_assert_false(viv_latency_histogram(l, VIV_LATENCY_READ, &a, &b, &n));
    viv_latency_free(l);
}

/* What is older than the interval is forgotten; what is younger than half of it never is. */
static void test_interval(void)
{
    struct viv_latency *l = viv_latency_new();
    struct viv_latency_figures f[VIV_LATENCIES];

    viv_latency_add_interval(l, 10, 0);
    viv_latency_add(l, VIV_LATENCY_READ, 4 * S, 4 * S, true);
    viv_latency_add(l, VIV_LATENCY_READ, 2 * S, 4 * S, true);
    viv_latency_add(l, VIV_LATENCY_READ, 9 * S, 4 * S, false); /* failed: of no interval */
    g_assert_cmpuint(viv_latency_interval(l, 0, 4 * S, f), ==, 10);
    g_assert_cmpuint(f[VIV_LATENCY_READ].min, ==, 2 * S);
    g_assert_cmpuint(f[VIV_LATENCY_READ].max, ==, 4 * S);
    g_assert_cmpuint(f[VIV_LATENCY_READ].avg, ==, 3 * S);
    g_assert_cmpuint(f[VIV_LATENCY_WRITE].max, ==, 0);
    g_assert_cmpuint(viv_latency_interval(l, 0, 9 * S, f), ==, 10); /* the window from 0 to 10 s */
    g_assert_cmpuint(f[VIV_LATENCY_READ].avg, ==, 3 * S);
    g_assert_cmpfloat_with_epsilon(f[VIV_LATENCY_READ].depth, 6.0 / 9, 1e-9);
    viv_latency_interval(l, 0, 11 * S, f); /* now that from 5 to 15 s */
    g_assert_cmpuint(f[VIV_LATENCY_READ].max, ==, 0);
    viv_latency_add(l, VIV_LATENCY_READ, S, 1000 * S + 1, true); /* much later, still half an interval apart */
    viv_latency_interval(l, 0, 1004 * S, f);
    g_assert_cmpuint(f[VIV_LATENCY_READ].avg, ==, S);
    viv_latency_interval(l, 0, 1006 * S, f);
    g_assert_cmpuint(f[VIV_LATENCY_READ].avg, ==, S);
    viv_latency_interval(l, 0, 1011 * S, f);
    g_assert_cmpuint(f[VIV_LATENCY_READ].avg, ==, 0);
    g_assert_cmpuint(viv_latency_interval(l, 1, 0, f), ==, 0);
    viv_latency_free(l);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/latency/boundaries", test_boundaries);
    g_test_add_func("/latency/histogram", test_histogram);
    g_test_add_func("/latency/interval", test_interval);
    return g_test_run();
}
