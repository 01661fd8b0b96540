/* What is packed comes back: by ourselves, and by zlib with the window of 4 KiB that other programs give it for clusters of qcow2. */
#include "block/fmt/deflate/deflate.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <zlib.h>

enum kind { ZEROES, TEXT, FAR_BACK, NOISE, KINDS };

static void fill(uint8_t *buf, size_t len, enum kind kind, GRand *r)
{
    for (size_t i = 0; i < len; i++) {
        if (kind == ZEROES)
            buf[i] = 0;
        else if (kind == TEXT)
            buf[i] = "etaoin shrdlu"[g_rand_int_range(r, 0, 13)];
        else if (kind == FAR_BACK && i >= 30000 && i % 200 < 150) /* only a match from further back than 4 KiB shrinks it */
            buf[i] = buf[i - 30000];
        else
            buf[i] = g_rand_int(r);
    }
}

/* As qemu-img and nbdkit do it: one call, the whole cluster as its buffer. */
static void inflate_as_others(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {.next_in = (uint8_t *)in, .avail_in = in_len, .next_out = out, .avail_out = out_len};
    int ret;

    g_assert_cmpint(inflateInit2(&z, -12), ==, Z_OK);
    ret = inflate(&z, Z_FINISH);
    g_assert_true(ret == Z_STREAM_END || (ret == Z_BUF_ERROR && !z.avail_out));
    g_assert_cmpuint(z.avail_out, ==, 0);
    inflateEnd(&z);
}

static void check_one(const uint8_t *data, size_t len, bool zlib_stream, enum kind kind)
{
    size_t room = len + len / 8 + 64, used = 0, again = 0;
    g_autofree uint8_t *packed = g_malloc(room), *got = g_malloc(len);

    g_assert_cmpint(viv_deflate(data, len, packed, room, zlib_stream, &used), ==, 0);
    g_assert_cmpint(viv_inflate(packed, used, got, len, zlib_stream ? 15 : -15), ==, 0);
    g_assert_cmpint(memcmp(got, data, len), ==, 0);
    if (!zlib_stream) {
        memset(got, 0xee, len);
        inflate_as_others(packed, used, got, len);
        g_assert_cmpint(memcmp(got, data, len), ==, 0);
    }
    if (kind == FAR_BACK && len > 60000)
        g_assert_cmpuint(used, <, len * 3 / 4);
    /* Room for some less: an error, or what fits, and nothing behind it. */
    packed[used - 1] = 0x5a;
    if (viv_deflate(data, len, packed, used - 1, zlib_stream, &again) == 0)
        g_assert_cmpuint(again, <, used);
    g_assert_cmpuint(packed[used - 1], ==, 0x5a);
    g_assert_cmpint(viv_deflate(data, len, packed, 1, zlib_stream, &again), ==, -E2BIG);
}

static void test_round(void)
{
    GRand *r = g_rand_new_with_seed(1);

    for (size_t len = 512; len <= 2u << 20; len *= 8)
        for (enum kind kind = 0; kind < KINDS; kind++) {
            g_autofree uint8_t *data = g_malloc(len);

            fill(data, len, kind, r);
            check_one(data, len, false, kind);
            check_one(data, len, true, kind);
        }
    g_rand_free(r);
}

/* All of it must be there, and what follows does not matter. */
static void test_cut(void)
{
    GRand *r = g_rand_new_with_seed(2);
    uint8_t data[4096], packed[8192], got[4096];
    size_t used;

    fill(data, sizeof(data), TEXT, r);
    g_assert_cmpint(viv_deflate(data, sizeof(data), packed, sizeof(packed), false, &used), ==, 0);
    g_assert_cmpint(viv_inflate(packed, used / 2, got, sizeof(got), -15), ==, -EIO);
    memset(packed + used, 0xff, sizeof(packed) - used);
    g_assert_cmpint(viv_inflate(packed, sizeof(packed), got, sizeof(got), -15), ==, 0);
    g_assert_cmpint(memcmp(got, data, sizeof(got)), ==, 0);
    memset(packed, 0xff, sizeof(packed));
    g_assert_cmpint(viv_inflate(packed, sizeof(packed), got, sizeof(got), -15), ==, -EIO);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/deflate/round", test_round);
    g_test_add_func("/block/deflate/cut", test_cut);
    return g_test_run();
}
