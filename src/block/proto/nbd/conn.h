/* One connection to a server in transmission: many threads' requests over one channel. */
#ifndef VIV_BLOCK_PROTO_NBD_CONN_H
#define VIV_BLOCK_PROTO_NBD_CONN_H

#include "block/proto/nbd/handshake.h"
#include "block/proto/nbd/wire.h"

#include <pthread.h>
#include <sys/uio.h>

struct viv_nbd_span {
    uint64_t start, end;
};

/* A request, the caller's until viv_nbd_conn_run() returns. */
struct viv_nbd_call {
    uint16_t type, flags;
    uint64_t offset;
    uint32_t len;
    const struct iovec *iov; /* READ, WRITE: len bytes */
    int cnt;
    /* out, BLOCK_STATUS: the first extent */
    uint32_t status_len, status_flags;
    /* the connection's */
    uint64_t cookie;
    int result;
    bool done, waiting;
    struct viv_nbd_span *span; /* READ: what has been covered, sorted, never touching */
    unsigned spans;
    pthread_cond_t cond;
    struct viv_nbd_call *prev, *next;
};

struct viv_nbd_conn;

/* Takes the channel, behind its handshake. */
struct viv_nbd_conn *viv_nbd_conn_new(struct viv_nbd_chan *chan_take, const struct viv_nbd_info *info);
/* 0, the server's error, or -ENOTCONN: the connection is gone and the request may or may not have been done. */
int viv_nbd_conn_run(struct viv_nbd_conn *c, struct viv_nbd_call *call);
bool viv_nbd_conn_dead(struct viv_nbd_conn *c);
unsigned viv_nbd_conn_in_flight(struct viv_nbd_conn *c);
/* Fails everything that is in flight. Any thread. */
void viv_nbd_conn_kill(struct viv_nbd_conn *c);
/* Says goodbye. Nobody may be in run(). */
void viv_nbd_conn_free(struct viv_nbd_conn *c);

#endif
