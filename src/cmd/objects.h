/* --object of the disk tools: secrets and TLS credentials. */
#ifndef VIV_CMD_OBJECTS_H
#define VIV_CMD_OBJECTS_H

#include "base/err.h"

/* "TYPE,id=ID,..." or JSON. */
int cmd_object_add(const char *text, struct viv_err *err);
/* At exit. */
void cmd_objects_free(void);

#endif
