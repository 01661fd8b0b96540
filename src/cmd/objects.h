/* --object of the disk tools: secrets and TLS credentials. */
#ifndef VIV_CMD_OBJECTS_H
#define VIV_CMD_OBJECTS_H

#include "base/err.h"
#include "opt/opt.h"

/* "TYPE,id=ID,..." or JSON. */
int cmd_object_add(const char *text, struct viv_err *err);
/* With the type as key "qom-type" (object-add). */
int cmd_object_add_raw(struct viv_raw_opts *raw, struct viv_err *err);
int cmd_object_del(const char *id, struct viv_err *err);
/* Prints what there is when the text asks for help, and says whether it did. */
bool cmd_object_help(const char *text);
/* The options of kind i; NULL: there are no more. */
const struct viv_opt_def *cmd_object_opts(unsigned i, const char **name);
/* At exit. */
void cmd_objects_free(void);

#endif
