/* What images tell those who manage them, unasked: one is found corrupt; a write has come behind the point that somebody watches
 * (thin volumes are made longer by that). */
#ifndef VIV_BLOCK_ALARM_H
#define VIV_BLOCK_ALARM_H

#include "block/node.h"

struct viv_alarm {
    const struct viv_node *node; /* may be gone when it is told on: to be compared, not to be followed */
    const char *node_name;       /* "": nobody named it */
    const char *corrupt;         /* what is wrong, and where; NULL: a threshold was passed */
    uint64_t offset;
    bool fatal;                  /* the image takes no more writes */
    uint64_t threshold, exceeded; /* exceeded: by so many bytes */
};

/* Called by any thread, with locks of drivers held: may not block or look at nodes. For the life of the program; one. */
void viv_alarm_listen(void (*fn)(const struct viv_alarm *a));
void viv_alarm_corrupt(const struct viv_node *n, const char *why, uint64_t offset);

/* The next write to n that ends behind `threshold` is told of, once; 0: none. */
void viv_alarm_set_threshold(struct viv_node *n, uint64_t threshold);
uint64_t viv_alarm_threshold(const struct viv_node *n);
/* Behind the last byte that was written since n was opened. */
uint64_t viv_alarm_written_end(const struct viv_node *n);

void viv_alarm_wrote_to(struct viv_node *n, uint64_t end);

/* After each write. Any thread. */
static inline void viv_alarm_wrote(struct viv_node *n, uint64_t offset, uint64_t len)
{
    uint64_t threshold = __atomic_load_n(&n->write_threshold, __ATOMIC_RELAXED), end = offset + len;

    if (end > __atomic_load_n(&n->written_end, __ATOMIC_RELAXED) || (threshold && end > threshold))
        viv_alarm_wrote_to(n, end);
}

#endif
