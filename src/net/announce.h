/* Self-announcement: NICs tell switches where their addresses are, after the machine has moved or when somebody asks. Loop thread,
 * device lock held. */
#ifndef VIV_NET_ANNOUNCE_H
#define VIV_NET_ANNOUNCE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct viv_announce_params {
    int64_t initial_ms, max_ms, step_ms; /* between the first two; at most; each time more */
    int64_t rounds;
};

/* What is used where nobody says otherwise: migrate-set-parameters changes it. */
extern struct viv_announce_params viv_announce_defaults;

/* One frame from each NIC now, or as soon as the machine runs, and then the other rounds, in guest time. nics: their ids, `count` of them; 0: all. An
 * announcement of the same id (NULL is one, too) gives way. -ENOENT: no NIC has such an id, and nothing was changed. */
int viv_announce(const struct viv_announce_params *p, const char *const *nics, size_t count, const char *id, struct viv_err *err);
void viv_announce_free_all(void);

#endif
