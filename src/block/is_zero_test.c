/* viv_buf_is_zero and viv_iov_is_zero against the plain loop: all lengths around the blocks, all alignments, one byte anywhere. */
#include "block/iov.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>

#define ROOM 2304

static void test_places(void)
{
    static const size_t lens[] = {1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 520, 1023, 1024, 1025, 1536, 2047, 2048, 2049};
    uint8_t *room = g_malloc0(ROOM);

    for (size_t i = 0; i < G_N_ELEMENTS(lens); i++)
        for (size_t align = 1; align < 65; align += 7) {
            uint8_t *p = room + align;

            p[-1] = p[lens[i]] = 0xff; /* the neighbours do not count */
            g_assert_true(viv_buf_is_zero(p, lens[i]));
            for (size_t at = 0; at < lens[i]; at++) {
                p[at] = 1u << (at % 8);
                g_assert_false(viv_buf_is_zero(p, lens[i]));
                p[at] = 0;
            }
            p[-1] = p[lens[i]] = 0;
        }
    g_free(room);
}

static void test_lengths(void)
{
    /* Each length in a block of its own: a read past its end is seen by the sanitizer. */
    for (size_t len = 0; len < 1200; len++) {
        uint8_t *p = g_malloc0(len + 1);

        p = g_realloc(p, MAX(len, 1));
        g_assert_true(viv_buf_is_zero(p, len));
        if (len) {
            p[len - 1] = 0x80;
            g_assert_false(viv_buf_is_zero(p, len));
        }
        g_free(p);
    }
}

static void test_iov(void)
{
    uint8_t a[100] = {0}, b[3] = {0}, c[1000] = {0};
    struct iovec v[] = {{a, sizeof(a)}, {b, 0}, {b, sizeof(b)}, {c, sizeof(c)}};

    g_assert_true(viv_iov_is_zero(v, 4, 0, 1103));
    c[600] = 1;
    g_assert_false(viv_iov_is_zero(v, 4, 0, 1103));
    g_assert_true(viv_iov_is_zero(v, 4, 0, 703));
    g_assert_false(viv_iov_is_zero(v, 4, 0, 704));
    g_assert_true(viv_iov_is_zero(v, 4, 704, 399));
    b[1] = 1;
    g_assert_true(viv_iov_is_zero(v, 4, 0, 101));
    g_assert_false(viv_iov_is_zero(v, 4, 101, 1));
    g_assert_true(viv_iov_is_zero(v, 4, 102, 10));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/is-zero/places", test_places);
    g_test_add_func("/block/is-zero/lengths", test_lengths);
    g_test_add_func("/block/is-zero/iov", test_iov);
    return g_test_run();
}
