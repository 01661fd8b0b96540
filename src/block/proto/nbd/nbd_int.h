/* Between nbd.c (the driver) and pool.c (its connections). */
#ifndef VIV_BLOCK_PROTO_NBD_NBD_INT_H
#define VIV_BLOCK_PROTO_NBD_NBD_INT_H

#include "block/proto/nbd/conn.h"
#include "block/proto/nbd/nbd.h"

#define VIV_NBD_LINKS 4

struct viv_nbd_link {
    struct viv_nbd_conn *conn;
    unsigned users; /* in run(), or about to be */
};

struct viv_nbd_pool {
    struct viv_nbd_target target;
    struct viv_nbd_info info; /* what the first connection said; later ones must agree */
    bool writable;
    bool stop; /* atomic: for connects under way */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    struct viv_nbd_link *link[VIV_NBD_LINKS];
    unsigned links, links_max;
    int64_t lost_ns; /* since when there is no connection; 0: there is */
    bool grow;       /* more work than connections */
    bool helper_runs;
    pthread_t helper;
    struct viv_nbd_chan *connecting; /* the helper's, in its handshake */
};

/* Connects for the first time (again and again for open_timeout). Takes t, also on failure. */
int viv_nbd_pool_open(struct viv_nbd_target *t_take, bool writable, struct viv_nbd_pool **out, struct viv_err *err);
/* For fuzzers and tests: on that channel alone, without a way to connect again. */
int viv_nbd_pool_open_chan(struct viv_nbd_chan *chan_take, struct viv_nbd_target *t_take, struct viv_nbd_pool **out,
                           struct viv_err *err);
void viv_nbd_pool_close(struct viv_nbd_pool *p);
/* 0, the server's answer, or -EIO when no connection comes back in time. */
int viv_nbd_pool_run(struct viv_nbd_pool *p, struct viv_nbd_call *call);

struct viv_node *viv_nbd_node_new(struct viv_nbd_pool *pool_take, const char *filename);

#endif
