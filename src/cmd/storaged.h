/* viv-storaged's parts. */
#ifndef VIV_CMD_STORAGED_H
#define VIV_CMD_STORAGED_H

#include "mon/command.h"

extern const struct viv_mon_cmd storaged_cmds[], storaged_job_cmds[];

#endif
