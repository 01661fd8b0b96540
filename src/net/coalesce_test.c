/* Segments cut from random data and merged again: the same bytes, right headers; what differs stays apart. */
#include "net/coalesce.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { HEAD = 54 };

static size_t segment(uint8_t *f, uint32_t seq, uint8_t flags, const uint8_t *data, size_t len)
{
    memset(f, 0, HEAD);
    memcpy(f, "\x52\x54\0\1\2\3\x52\x55\x0a\0\2\2\x08\0\x45", 15);
    viv_st_be16(f + 16, 40 + len);
    viv_st_be16(f + 18, seq / 7); /* identification differs */
    f[22] = 64;
    f[23] = 6;
    viv_st_be32(f + 26, 0x0a000202);
    viv_st_be32(f + 30, 0x0a00020f);
    viv_st_be16(f + 34, 80);
    viv_st_be16(f + 36, 40000);
    viv_st_be32(f + 38, seq);
    viv_st_be32(f + 42, 99);
    f[46] = 0x50;
    f[47] = flags;
    viv_st_be16(f + 48, 65535);
    memcpy(f + HEAD, data, len);
    return HEAD + len;
}

static uint16_t sum(const uint8_t *p, size_t len, uint32_t s)
{
    for (size_t i = 0; i < len; i++)
        s += i % 2 ? p[i] : p[i] << 8;
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return s;
}

static void test_merge(void)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(3);
    static uint8_t data[70000];
    struct viv_coalesce c = {0};
    struct viv_net_hdr gso;
    uint8_t f[2000];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = g_rand_int(rnd);
    for (int round = 0; round < 200; round++) {
        uint32_t mss = g_rand_int_range(rnd, 1, 1461), seq = g_rand_int(rnd);
        size_t total = g_rand_int_range(rnd, 1, 68000), at = 0, merged = 0;
        unsigned count = 0;

        if (total / mss > 2000)
            continue;
        c.len = 0;
        while (at < total) {
            size_t n = MIN(mss, total - at), len = segment(f, seq + at, n < mss ? 24 : 16, data + at, n);

            if (!(count ? viv_coalesce_add(&c, f, len) : viv_coalesce_start(&c, f, len)))
                break;
            merged = at += n;
            count++;
        }
        if (at < total) /* only for its size */
            g_assert_cmpuint(c.len + mss, >, 14 + 65535 - mss);
        viv_coalesce_finish(&c, &gso);
        g_assert_cmpmem(c.buf + HEAD, c.len - HEAD, data, merged);
        g_assert_cmpuint(viv_ld_be16(c.buf + 16), ==, 40 + merged);
        g_assert_cmpuint(gso.gso_size, ==, count == 1 ? 0 : mss);
        if (count == 1)
            continue;
        g_assert_cmphex(sum(c.buf + 14, 20, 0), ==, 0xffff);
        /* a receiver that finishes the checksum as told gets a right one */
        uint16_t whole = ~sum(c.buf + gso.csum_start, c.len - gso.csum_start, 0);

        viv_st_be16(c.buf + gso.csum_start + gso.csum_offset, whole);
        g_assert_cmphex(sum(c.buf + 34, c.len - 34, sum(c.buf + 26, 8, 6 + c.len - 34)), ==, 0xffff);
    }
    g_free(c.buf);
}

static void test_apart(void)
{
    static const struct {
        unsigned at;
        uint8_t bits;
    } changes[] = {{0, 2}, {12, 1}, {14, 1}, {15, 4}, {20, 0x20}, {21, 1}, {22, 1}, {23, 23}, {26, 1}, {33, 1},
                   {35, 1}, {37, 1}, {41, 1}, {45, 1}, {46, 0x10}, {47, 1}, {47, 2}, {47, 4}, {47, 0x20}, {53, 1}};
    uint8_t data[100] = {1}, a[300], b[300];
    struct viv_coalesce c = {0};
    size_t n = segment(a, 1000, 16, data, 100);

    g_assert_cmpuint(n, ==, 154);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        segment(b, 1100, 16, data, 100);
        b[changes[i].at] ^= changes[i].bits;
        g_assert_true(viv_coalesce_start(&c, a, n));
        if (viv_coalesce_add(&c, b, n))
            g_error("merged in spite of byte %u", changes[i].at);
    }
    segment(b, 1100, 16, data, 100);
    g_assert_false(viv_coalesce_add(&c, b, n - 1)); /* cut short */
    segment(b, 1101, 16, data, 100);
    g_assert_false(viv_coalesce_add(&c, b, n)); /* a hole */
    segment(b, 1100, 16, data, 100);
    g_assert_true(viv_coalesce_add(&c, b, n));
    n = segment(b, 1200, 16, data, 50);
    g_assert_true(viv_coalesce_add(&c, b, n)); /* short: the last */
    n = segment(b, 1250, 16, data, 50);
    g_assert_false(viv_coalesce_add(&c, b, n));
    n = segment(a, 1, 24, data, 100);
    g_assert_true(viv_coalesce_start(&c, a, n)); /* pushed: alone */
    n = segment(b, 101, 16, data, 100);
    g_assert_false(viv_coalesce_add(&c, b, n));
    n = segment(a, 1, 16, data, 0);
    g_assert_false(viv_coalesce_start(&c, a, n)); /* a mere ACK */
    g_free(c.buf);
}

static void test_noise(void)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(5);
    struct viv_coalesce c = {0};
    struct viv_net_hdr gso;
    uint8_t data[64] = {0}, f[200];

    for (int i = 0; i < 200000; i++) {
        size_t n = segment(f, c.next_seq, 16, data, g_rand_int_range(rnd, 0, 64));

        for (int k = g_rand_int_range(rnd, 0, 3); k; k--)
            f[g_rand_int_range(rnd, 0, HEAD)] = g_rand_int(rnd);
        n = g_rand_int_range(rnd, 0, 4) ? n : g_rand_int_range(rnd, 0, sizeof(f));
        if (!c.len)
            viv_coalesce_start(&c, f, n);
        else if (!viv_coalesce_add(&c, f, n)) {
            viv_coalesce_finish(&c, &gso);
            c.len = 0;
        }
        g_assert_cmpuint(c.len, <=, VIV_NET_MAX_FRAME);
    }
    g_free(c.buf);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/coalesce/merge", test_merge);
    g_test_add_func("/net/coalesce/apart", test_apart);
    g_test_add_func("/net/coalesce/noise", test_noise);
    return g_test_run();
}
