/* Slices of scattered buffers. */
#ifndef VIV_BLOCK_IOV_H
#define VIV_BLOCK_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* dst (room for cnt entries) becomes the len bytes from `skip` on. Returns the entries used. The source
 * holds at least skip + len bytes. */
int viv_iov_slice(struct iovec *dst, const struct iovec *iov, int cnt, size_t skip, size_t len);
void viv_iov_zero(const struct iovec *iov, int cnt, size_t skip, size_t len);
/* buf to iov and back. */
void viv_iov_put(const struct iovec *iov, int cnt, size_t skip, const void *buf, size_t len);
void viv_iov_take(const struct iovec *iov, int cnt, size_t skip, void *buf, size_t len);
size_t viv_iov_bytes(const struct iovec *iov, int cnt);
bool viv_iov_is_zero(const struct iovec *iov, int cnt, size_t skip, size_t len);
bool viv_buf_is_zero(const void *buf, size_t len);

#endif
