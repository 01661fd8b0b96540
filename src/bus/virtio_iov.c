#include "bus/virtio.h"

#include <string.h>

/* One of `to` and `from` is the flat side; the list's own const is only about the list. */
static size_t copy(const struct iovec *iov, int n, size_t off, void *to, const void *from, size_t len)
{
    size_t done = 0;

    for (int i = 0; i < n && done < len; i++) {
        uint8_t *at;
        size_t part;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        at = (uint8_t *)iov[i].iov_base + off;
        part = iov[i].iov_len - off;
        if (part > len - done)
            part = len - done;
        if (to)
            memcpy((uint8_t *)to + done, at, part);
        else
            memcpy(at, (const uint8_t *)from + done, part);
        done += part;
        off = 0;
    }
    return done;
}

size_t viv_iov_to_buf(const struct iovec *iov, int n, size_t off, void *buf, size_t len)
{
    return copy(iov, n, off, buf, NULL, len);
}

size_t viv_iov_from_buf(const struct iovec *iov, int n, size_t off, const void *buf, size_t len)
{
    return copy(iov, n, off, NULL, buf, len);
}

int viv_iov_cut(struct iovec *dst, const struct iovec *src, int n, size_t off, size_t len)
{
    int used = 0;

    for (int i = 0; i < n && len; i++) {
        size_t part;

        if (off >= src[i].iov_len) {
            off -= src[i].iov_len;
            continue;
        }
        part = src[i].iov_len - off;
        if (part > len)
            part = len;
        dst[used].iov_base = (uint8_t *)src[i].iov_base + off;
        dst[used++].iov_len = part;
        len -= part;
        off = 0;
    }
    return used;
}
