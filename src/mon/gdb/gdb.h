/* A server for gdb (Remote Serial Protocol) on a character back end: one for the VM. Loop thread, device lock held. */
#ifndef VIV_MON_GDB_GDB_H
#define VIV_MON_GDB_GDB_H

#include "base/err.h"

/* `dev` as for -gdb: "tcp::1234" (a server that does not wait for its client), "unix:PATH", "stdio", "chardev:ID", ...; "none" ends
 * a server that there is. */
int viv_gdb_start(const char *dev, struct viv_err *err);
void viv_gdb_stop(void);
/* The process ends: as viv_gdb_stop(), but the VM does not go on. */
void viv_gdb_free(void);

#endif
