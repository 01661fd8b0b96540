/* Bytes to and from lists of buffers. */
#include "bus/virtio.h"

#include <glib.h>

static void test_iov(void)
{
    uint8_t a[5] = "abcde", b[3] = "fgh", buf[16];
    struct iovec iov[2] = {{a, 5}, {b, 3}}, cut[2];

    g_assert_cmpuint(viv_iov_to_buf(iov, 2, 3, buf, 16), ==, 5);
    g_assert_cmpmem(buf, 5, "defgh", 5);
    g_assert_cmpuint(viv_iov_from_buf(iov, 2, 4, "XYZ", 3), ==, 3);
    g_assert_cmpmem(a, 5, "abcdX", 5);
    g_assert_cmpmem(b, 3, "YZh", 3);
    g_assert_cmpint(viv_iov_cut(cut, iov, 2, 5, 2), ==, 1);
    g_assert_true(cut[0].iov_base == b && cut[0].iov_len == 2);
    g_assert_cmpint(viv_iov_cut(cut, iov, 2, 8, 2), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-iov/parts", test_iov);
    return g_test_run();
}
