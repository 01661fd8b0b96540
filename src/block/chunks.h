/* Chunks of something that is read only and slow (unpacked ones of cloop and dmg, pieces of a file on the net), for any number of
 * threads: a chunk is loaded once, by the thread that comes first, outside the lock; the last used ones are kept. What is kept and
 * what is being loaded take at most `limit` bytes together, or one chunk where that alone is larger: threads wait for room. */
#ifndef VIV_BLOCK_CHUNKS_H
#define VIV_BLOCK_CHUNKS_H

#include <glib.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_CHUNKS_LIMIT (64u << 20)

struct viv_chunks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    GHashTable *entry; /* index -> entry */
    GQueue lru;        /* of entries, last used first */
    size_t bytes, limit;
    /* Fills out with chunk `index`; 0 or a negative errno. */
    int (*load)(void *opaque, uint64_t index, uint8_t *out, size_t len);
    void *opaque;
};

void viv_chunks_init(struct viv_chunks *c, int (*load)(void *, uint64_t, uint8_t *, size_t), void *opaque);
void viv_chunks_fini(struct viv_chunks *c);
/* Bytes [skip, skip + n) of chunk `index`, which has len of them; `packed`: bytes that loading it takes besides. */
int viv_chunks_read(struct viv_chunks *c, uint64_t index, size_t len, size_t packed, size_t skip, uint8_t *buf, size_t n);

#endif
