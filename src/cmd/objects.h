/* --object of the disk tools and -object's part for disks: secrets, TLS credentials, limits. */
#ifndef VIV_CMD_OBJECTS_H
#define VIV_CMD_OBJECTS_H

#include "opt/object.h"

/* Makes their classes known; once. */
void cmd_objects_use(void);
/* Prints what there is when the text asks for help, and says whether it did. */
bool cmd_object_help(const char *text);
/* For the schema: the options of class i that may be made while the program runs; NULL: there are no more. */
const struct viv_opt_def *cmd_object_opts(unsigned i, const char **name);
/* At exit. */
void cmd_objects_free(void);

#endif
