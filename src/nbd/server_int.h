/* Inside src/nbd. */
#ifndef VIV_NBD_SERVER_INT_H
#define VIV_NBD_SERVER_INT_H

#include "block/proto/nbd/chan.h"
#include "block/proto/nbd/wire.h"
#include "nbd/server.h"

#include <pthread.h>

#define VIV_NBD_THREADS_MAX   16          /* of a client */
#define VIV_NBD_IN_FLIGHT_MAX (64u << 20) /* bytes of payload of a client */
#define VIV_NBD_EXTENTS_MAX   2048u       /* of a context in one reply */

/* Metadata contexts by number. Those after the fixed ones are the export's bitmaps. */
enum { VIV_NBD_CONTEXT_ALLOCATION, VIV_NBD_CONTEXT_DEPTH, VIV_NBD_CONTEXT_BITMAP };

struct viv_nbd_bitmap {
    char *context; /* "qemu:dirty-bitmap:NAME" */
    uint32_t granularity;
    uint8_t *bits; /* one a granule, from the start of the disk */
    size_t bytes;
    struct viv_bitmap *live; /* in memory, in place of bits: answers are those of the moment */
    struct viv_node *node;   /* whose that is */
};

struct viv_nbd_export {
    int refs;     /* atomic: the server's list, clients that chose it or its contexts, who looks at it */
    bool removed; /* server's lock: nobody may choose it any more */
    char *name, *description;
    struct viv_blk *blk;
    uint64_t offset, size;
    bool writable, multi_conn, depth;
    struct viv_nbd_bitmap *bitmap;
    unsigned bitmaps;
};

struct viv_nbd_server {
    struct viv_nbd_server_opts opts;
    pthread_mutex_t lock; /* everything below, and clients' `export` */
    struct viv_nbd_export **export;
    unsigned exports;
    pthread_cond_t gone;
    struct viv_nbd_client *clients;
    unsigned count;
    bool stopping;
};

struct viv_nbd_client {
    struct viv_nbd_server *server;
    struct viv_nbd_client *prev, *next; /* server's lock */
    struct viv_nbd_chan *chan;
    /* by negotiation, by one thread: */
    struct viv_nbd_export *export;
    bool structured;
    uint32_t contexts; /* bit n: context n of `context_export` */
    struct viv_nbd_export *context_export;

    pthread_mutex_t write; /* held for a whole reply message */
    pthread_mutex_t lock;  /* everything below */
    pthread_cond_t changed;
    unsigned threads, threads_max, waiting;
    bool reading;
    bool ended; /* no more is read */
    uint64_t bytes; /* payloads in flight */
};

/* A request and room for its payload, of one thread. */
struct viv_nbd_job {
    struct viv_nbd_request r;
    uint8_t *buf;
    size_t room;
    uint64_t charged; /* to the client's `bytes` */
};

/* client.c: runs a client in this thread (threads_max 1: in it alone) until it is gone. */
struct viv_nbd_client *viv_nbd_client_new(struct viv_nbd_server *s, struct viv_nbd_chan *chan_take,
                                          struct viv_nbd_export *raw);
void viv_nbd_client_run(struct viv_nbd_client *c);
void viv_nbd_client_free(struct viv_nbd_client *c);

/* negotiate.c: 0: on to transmission. */
int viv_nbd_negotiate(struct viv_nbd_client *c);
/* contexts.c: the two META_CONTEXT options (data checked here), as reply code. */
uint32_t viv_nbd_context_option(struct viv_nbd_client *c, uint32_t option, const uint8_t *data, uint32_t len);
int viv_nbd_option_reply(struct viv_nbd_client *c, uint32_t option, uint32_t type, const void *data, uint32_t len);
/* server.c. A reference for the caller; NULL: there is none. */
struct viv_nbd_export *viv_nbd_find_export(struct viv_nbd_server *s, const void *name, size_t len);
/* A reference to each; g_free the array. */
struct viv_nbd_export **viv_nbd_all_exports(struct viv_nbd_server *s, unsigned *count);
/* What the client will work on. -ENOENT when the export was removed since it was found. */
int viv_nbd_choose(struct viv_nbd_client *c, struct viv_nbd_export *e_take);
/* export.c */
struct viv_nbd_export *viv_nbd_export_ref(struct viv_nbd_export *e);
void viv_nbd_export_put(struct viv_nbd_export **e);
/* No client sends requests any more: what it holds of images goes now, though one that negotiates may look at its names for a while yet. */
void viv_nbd_export_let_go(struct viv_nbd_export *e);
uint16_t viv_nbd_flags(const struct viv_nbd_export *e, bool structured);

/* request.c: does it and answers; an error ends the client. */
int viv_nbd_request(struct viv_nbd_client *c, struct viv_nbd_job *j);

/* reply.c; each is one message. */
int viv_nbd_reply_simple(struct viv_nbd_client *c, const struct viv_nbd_request *r, int error, const void *data, size_t len);
int viv_nbd_reply_chunk(struct viv_nbd_client *c, const struct viv_nbd_request *r, uint16_t type, bool last, const void *head,
                        size_t head_len, const void *data, size_t len);
/* As the request's kind wants it; errno positive, 0: fine. */
int viv_nbd_reply_result(struct viv_nbd_client *c, const struct viv_nbd_request *r, int error);

/* status.c. What lies there; *raw: the image is a window into its file. */
int viv_nbd_status(const struct viv_nbd_export *e, uint64_t at, uint64_t len, struct viv_extent *out, bool *raw);
/* BLOCK_STATUS. */
int viv_nbd_block_status(struct viv_nbd_client *c, const struct viv_nbd_request *r);

#endif
