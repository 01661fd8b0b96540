/* viv-storaged's parts. */
#ifndef VIV_CMD_STORAGED_H
#define VIV_CMD_STORAGED_H

#include "mon/command.h"

void storaged_use_commands(void);

#endif
