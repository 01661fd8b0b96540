/* viv-storaged's parts. */
#ifndef VIV_CMD_STORAGED_H
#define VIV_CMD_STORAGED_H

#include "mon/command.h"

/* Events and types. */
void storaged_use_schema(void);
/* What blockdev-create takes, by driver, in QMP's names. */
const struct viv_opt_def *storaged_create_opts(unsigned i, const char **name);
extern const struct viv_mon_cmd storaged_cmds[], storaged_job_cmds[];

#endif
