#ifndef VIV_CHR_LOOKUP_H
#define VIV_CHR_LOOKUP_H

#include <netdb.h>

/* error: getaddrinfo()'s, or 0 with `found`, which is the caller's. On the loop thread, with the device lock. */
typedef void (*viv_lookup_fn)(void *opaque, int error, struct addrinfo *found);

/* All with the device lock, which done() has too. NULL: there is no thread for it. */
struct viv_lookup;
struct viv_lookup *viv_lookup_start(const char *host, const char *port, const struct addrinfo *hints, viv_lookup_fn done, void *opaque);
/* done() is not called any more (NULL allowed). */
void viv_lookup_forget(struct viv_lookup *l);

#endif
