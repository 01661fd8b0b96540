/* How long requests took, where somebody asked for it: histograms, and figures of the last seconds. Thread-safe; costs a load where nobody did. */
#ifndef VIV_BLOCK_LATENCY_H
#define VIV_BLOCK_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

enum { VIV_LATENCY_READ, VIV_LATENCY_WRITE, VIV_LATENCY_FLUSH, VIV_LATENCIES };

struct viv_latency;

struct viv_latency *viv_latency_new(void);
void viv_latency_free(struct viv_latency *l);

/* A request that took `ns` and ended at `now` (monotonic, ns). `timed`: it counts for the intervals too. */
void viv_latency_add(struct viv_latency *l, unsigned kind, uint64_t ns, int64_t now, bool timed);

/* n + 1 bins: below the first boundary, from each one on to the next, and from the last one on. They begin empty. */
void viv_latency_set_histogram(struct viv_latency *l, unsigned kind, const uint64_t *boundaries, unsigned n);
void viv_latency_clear_histogram(struct viv_latency *l, unsigned kind);
/* Boundaries of nanoseconds above 0, each above the one before? */
bool viv_latency_are_boundaries(const uint64_t *boundaries, unsigned n);
/* Copies, to be freed, of n and n + 1; false: there is none. */
bool viv_latency_histogram(struct viv_latency *l, unsigned kind, uint64_t **boundaries, uint64_t **bins, unsigned *n);

/* From now on, of the last `seconds` (1 to UINT32_MAX). */
void viv_latency_add_interval(struct viv_latency *l, uint32_t seconds, int64_t now);
struct viv_latency_figures {
    uint64_t min, max, avg; /* ns; 0: there was no request */
    double depth;           /* how many were under way, on average */
};
/* The i-th that was added; 0: there are no more, else its seconds. They tell of between half of these and all. */
uint32_t viv_latency_interval(struct viv_latency *l, unsigned i, int64_t now, struct viv_latency_figures out[VIV_LATENCIES]);

#endif
