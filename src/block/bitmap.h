/* Dirty bitmaps: what was written to a node since some moment, in granules. For backups: jobs and NBD exports iterate them,
 * image formats store them (image.h, struct viv_bitmap_ops).
 *
 * The core marks a range after its write has ended and before the guest hears of it, also when it failed. So who
 * clears a range first and then reads it misses nothing. All calls may come from any thread; they take the
 * node's bitmap_lock, for short. */
#ifndef VIV_BLOCK_BITMAP_H
#define VIV_BLOCK_BITMAP_H

#include "block/alarm.h"
#include "block/node.h"

#define VIV_BITMAP_GRANULARITY_MIN 512u
#define VIV_BITMAP_GRANULARITY_MAX (1u << 31)
#define VIV_BITMAP_BYTES_MAX       (512u << 20) /* of bits */

struct viv_bitmap {
    char *name; /* NULL: a job's own */
    uint32_t granularity;
    uint64_t size;   /* of the disk, bytes */
    size_t bytes;    /* of bits */
    uint8_t *bits;   /* bit k of byte j: granule 8 j + k; behind the disk's end zero */
    bool enabled;    /* follows writes */
    bool stored;     /* the image keeps it: its driver owns it */
    bool changed;    /* since the driver last wrote it */
    unsigned users;  /* who must not be surprised by its end: remove it and be refused */
    struct viv_node *node;
    struct viv_bitmap *next;
};

/* An empty, enabled one on `n`. Its name must be new there. */
int viv_bitmap_new(struct viv_node *n, const char *name, uint32_t granularity, struct viv_bitmap **out,
                   struct viv_err *err);
/* The image's cluster size, in bounds; 64 KiB where it has none. */
uint32_t viv_bitmap_default_granularity(struct viv_node *n);
void viv_bitmap_free(struct viv_bitmap *b); /* NULL allowed */
struct viv_bitmap *viv_bitmap_find(struct viv_node *n, const char *name); /* borrowed; NULL */
void viv_bitmap_enable(struct viv_bitmap *b, bool on);

/* Granules that the range touches become dirty; clear: only those that lie in it whole (the disk's last counts as whole). */
void viv_bitmap_mark(struct viv_bitmap *b, uint64_t offset, uint64_t len);
void viv_bitmap_clear(struct viv_bitmap *b, uint64_t offset, uint64_t len);
/* The first dirty range at or behind `from`; false: none. */
bool viv_bitmap_next(struct viv_bitmap *b, uint64_t from, uint64_t *offset, uint64_t *len);
uint64_t viv_bitmap_count(struct viv_bitmap *b); /* dirty bytes */
/* What is dirty in `from` becomes dirty in `to`, whatever their granularities; disks of one size. */
int viv_bitmap_merge(struct viv_bitmap *to, struct viv_bitmap *from, struct viv_err *err);
/* All bits, as drivers load and store them. */
void viv_bitmap_set_bits(struct viv_bitmap *b, const uint8_t *bits, size_t bytes);
uint8_t *viv_bitmap_copy_bits(struct viv_bitmap *b); /* b->bytes; g_free; NULL: no memory */
/* Bytes of bits for a disk. 0: too many for us. */
size_t viv_bitmap_bytes(uint64_t size, uint32_t granularity);

/* The core's: a range of `n` was written; its size changed; it is closed. */
void viv_bitmaps_note(struct viv_node *n, uint64_t offset, uint64_t len);
int viv_bitmaps_resize(struct viv_node *n, uint64_t size);
void viv_bitmaps_free(struct viv_node *n);
/* Around each change of a node's contents: hooks, and dirty bitmaps. */
static inline void viv_node_will_write(struct viv_node *n, uint64_t offset, uint64_t len)
{
    for (struct viv_node_hook *h = n->hooks; h; h = h->next)
        if (h->before)
            h->before(h, offset, len);
}
static inline void viv_bitmaps_wrote(struct viv_node *n, uint64_t offset, uint64_t len)
{
    if (__atomic_load_n(&n->bitmaps, __ATOMIC_ACQUIRE))
        viv_bitmaps_note(n, offset, len);
}
/* Also after an error: some of it may be there. */
static inline void viv_node_did_write(struct viv_node *n, uint64_t offset, uint64_t len)
{
    viv_bitmaps_wrote(n, offset, len);
    viv_alarm_wrote(n, offset, len);
    for (struct viv_node_hook *h = n->hooks; h; h = h->next)
        if (h->after)
            h->after(h, offset, len);
}

#endif
