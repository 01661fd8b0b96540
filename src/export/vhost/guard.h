/* Mappings of a file that somebody else may cut short: touching what is no longer there gives zeroes that nobody shares, and not SIGBUS. */
#ifndef VIV_EXPORT_VHOST_GUARD_H
#define VIV_EXPORT_VHOST_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Any thread. False: there are too many already. */
bool viv_guard_add(void *map, size_t len);
/* Before it is unmapped, when nobody touches it any more. True: its file was cut short. */
bool viv_guard_remove(void *map);

#endif
