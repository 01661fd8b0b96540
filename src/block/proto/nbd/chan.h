/* The bytes to and from an NBD peer: a socket, TLS on it, or memory (tests and fuzzers). Reads are buffered.
 *
 * One thread may read while another writes. Negative errno on failure, and the channel is then useless. */
#ifndef VIV_BLOCK_PROTO_NBD_CHAN_H
#define VIV_BLOCK_PROTO_NBD_CHAN_H

#include "base/err.h"
#include "crypto/authz.h"
#include "crypto/tlscreds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct viv_nbd_chan;

/* Takes the connected socket (blocking mode). */
struct viv_nbd_chan *viv_nbd_chan_new(int fd_take);
/* A peer that has said `in` (borrowed) and takes everything. */
struct viv_nbd_chan *viv_nbd_chan_new_memory(const void *in, size_t len);
/* Without goodbye when the peer is gone. NULL allowed. */
void viv_nbd_chan_free(struct viv_nbd_chan *c);

/* Everything after that time (VIV_CLOCK_HOST) fails with -ETIMEDOUT; 0: none. Not while others use the channel. */
void viv_nbd_chan_set_deadline(struct viv_nbd_chan *c, int64_t when_ns);
/* What follows is encrypted. Bytes that were received before this and not read are a violation (somebody in between). */
int viv_nbd_chan_start_tls(struct viv_nbd_chan *c, struct viv_tls_creds *creds, const char *hostname,
                           struct viv_err *err);
/* May who is at the other end, by the name that TLS knows? NULL: everybody may. */
int viv_nbd_chan_check_peer(struct viv_nbd_chan *c, struct viv_authz *authz, struct viv_err *err);
bool viv_nbd_chan_has_tls(const struct viv_nbd_chan *c);

/* All of it; -ECONNRESET when the peer ends before. */
int viv_nbd_chan_read(struct viv_nbd_chan *c, void *buf, size_t len);
int viv_nbd_chan_readv(struct viv_nbd_chan *c, const struct iovec *iov, int cnt, size_t skip, size_t len);
int viv_nbd_chan_skip(struct viv_nbd_chan *c, uint64_t len);
int viv_nbd_chan_write(struct viv_nbd_chan *c, const void *buf, size_t len);
/* Uses up `iov` (changes it). */
int viv_nbd_chan_writev(struct viv_nbd_chan *c, struct iovec *iov, int cnt);

/* Any thread: blocked readers (and writers) fail at once. */
void viv_nbd_chan_shutdown(struct viv_nbd_chan *c, bool writers_too);

#endif
