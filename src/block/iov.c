#include "block/iov.h"

#include <string.h>

int viv_iov_slice(struct iovec *dst, const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    int used = 0;

    for (int i = 0; i < cnt && len; i++) {
        size_t n = iov[i].iov_len;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        n -= skip;
        if (n > len)
            n = len;
        dst[used].iov_base = (char *)iov[i].iov_base + skip;
        dst[used++].iov_len = n;
        skip = 0;
        len -= n;
    }
    return used;
}

enum copy { COPY_ZERO, COPY_PUT, COPY_TAKE };

static void walk(const struct iovec *iov, int cnt, size_t skip, void *buf, size_t len, enum copy how)
{
    for (int i = 0; i < cnt && len; i++) {
        size_t n = iov[i].iov_len;
        char *p = iov[i].iov_base;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        p += skip;
        n -= skip;
        skip = 0;
        if (n > len)
            n = len;
        if (how == COPY_ZERO)
            memset(p, 0, n);
        else if (how == COPY_PUT)
            memcpy(p, buf, n);
        else
            memcpy(buf, p, n);
        if (buf)
            buf = (char *)buf + n;
        len -= n;
    }
}

void viv_iov_zero(const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    walk(iov, cnt, skip, NULL, len, COPY_ZERO);
}

void viv_iov_put(const struct iovec *iov, int cnt, size_t skip, const void *buf, size_t len)
{
    walk(iov, cnt, skip, (void *)buf, len, COPY_PUT);
}

void viv_iov_take(const struct iovec *iov, int cnt, size_t skip, void *buf, size_t len)
{
    walk(iov, cnt, skip, buf, len, COPY_TAKE);
}

size_t viv_iov_bytes(const struct iovec *iov, int cnt)
{
    size_t n = 0;

    for (int i = 0; i < cnt; i++)
        n += iov[i].iov_len;
    return n;
}

bool viv_iov_is_zero(const struct iovec *iov, int cnt, size_t skip, size_t len)
{
    for (int i = 0; i < cnt && len; i++) {
        size_t n = iov[i].iov_len;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        n -= skip;
        if (n > len)
            n = len;
        if (!viv_buf_is_zero((const char *)iov[i].iov_base + skip, n))
            return false;
        skip = 0;
        len -= n;
    }
    return true;
}
