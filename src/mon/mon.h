/* Monitors: HMP for people, QMP for programs, on a character back end. One table of commands serves both
 * (commands.c). Loop thread, device lock held for all calls. */
#ifndef VIV_MON_MON_H
#define VIV_MON_MON_H

#include "base/err.h"
#include "chr/chr.h"

int viv_hmp_new(struct viv_chr *c, struct viv_err *err);
int viv_qmp_new(struct viv_chr *c, bool pretty, struct viv_err *err);
/* What qemu-io has left under way ends. Serves the loop. */
void viv_mon_end_io(void);
/* Sends what is still unsent (waits for it a second at most) and frees all. */
void viv_mon_free_all(void);

#endif
