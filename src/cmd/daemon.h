/* A program in the background, and the file that says which process it is. `option`: what errors begin with. */
#ifndef VIV_CMD_DAEMON_H
#define VIV_CMD_DAEMON_H

#include "base/err.h"

/* Forks; the parent waits and exits with the child's word. Before any thread starts. */
int cmd_daemon_start(const char *option, struct viv_err *err);
/* The child's word: it works. Leaves the terminal and the directory. Nothing when it was not started so. */
int cmd_daemon_ready(struct viv_err *err);

/* Locked until the end. -EBUSY: another process has it. */
int cmd_pidfile_write(const char *option, const char *path, struct viv_err *err);
void cmd_pidfile_remove(void);

#endif
