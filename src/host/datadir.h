/* Files that the machine is made of besides what the command line names: firmware and expansion ROMs. Before threads
 * start. */
#ifndef VIV_HOST_DATADIR_H
#define VIV_HOST_DATADIR_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* -L: looked in before those that were added later and before the folders of Debian's packages. */
void viv_datadir_add(const char *dir);
/* Every folder, in the order in which they are looked in; ends with NULL. g_free the array only. */
const char **viv_datadir_list(void);

/* Where `name` is: itself when there is such a file or it has a '/', else in the first folder that has it. NULL: nowhere,
 * and the error says where it was looked for and which package has it. g_free. */
char *viv_datadir_find(const char *name, struct viv_err *err);
/* The whole file, at most `max` bytes, found as above. *data is the caller's (g_free); -EFBIG, and -EINVAL for an empty one
 * or what is not a regular file. */
int viv_datadir_read(const char *name, size_t max, uint8_t **data, size_t *len, struct viv_err *err);

#endif
