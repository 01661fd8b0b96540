/* Between img_copy.c, which has the threads and the order, and img_chunk.c, which moves the data of a chunk. */
#ifndef VIV_CMD_IMG_COPY_INT_H
#define VIV_CMD_IMG_COPY_INT_H

#include "cmd/img_copy.h"
#include "cmd/img_pack.h"

#include <pthread.h>

#define SECTOR 512u /* what is salvaged at once */

struct img_chunk {
    uint64_t offset, len, number;
    bool zero;
    bool passed; /* the next chunk has been let on */
};

struct img_chunk_buffers {
    uint8_t *data, *old;
    uint8_t *kind;             /* enum piece of each piece */
    struct img_packer *packer; /* compressed targets */
};

/* A chunk on its way. */
struct img_job {
    enum { FREE, READING, READY, WRITING } state;
    struct img_chunk ch;
    struct img_chunk_buffers b; /* made when first used */
    bool late;                  /* not read before its turn: the host may copy it */
};

struct img_copier {
    const struct img_copy *c;
    uint64_t backing_end; /* of the target's backing file; 0: none */
    uint64_t unit;        /* zero runs are looked for in these */
    uint64_t chunk;       /* bytes that a thread reads at once */
    enum img_offload offload; /* atomic */
    bool by_host;             /* atomic: the host has copied something */
    unsigned max_writers;     /* that may write at a time */
    pthread_mutex_t lock;     /* of all that follows */
    pthread_cond_t work;      /* for a thread that found nothing to do */
    struct img_job *job;
    unsigned jobs, idle; /* idle: of them FREE */
    unsigned writers, sleepers;
    bool all_taken;
    uint64_t next, next_number, write_number;
    struct viv_extent seen; /* what lies from `next` on, up to seen_end */
    uint64_t seen_end;
    int error;
    struct viv_err *err;
};

/* img_copy.c */
void img_copy_failed(struct img_copier *k, int ret, const char *what, uint64_t offset);
/* All of the chunk has its place: the next one may be given room. */
void img_copy_placed(struct img_copier *k, struct img_chunk *ch);

/* img_chunk.c. They say themselves what failed. */
/* Will the host be asked to copy it? Then it is not read before its turn. */
bool img_chunk_is_hosts(const struct img_copier *k);
/* All that can be done before its turn comes. */
int img_chunk_read(struct img_copier *k, struct img_chunk *ch, struct img_chunk_buffers *b);
/* In its turn. */
int img_chunk_write(struct img_copier *k, struct img_job *j);
void img_chunk_free(struct img_chunk_buffers *b);

#endif
