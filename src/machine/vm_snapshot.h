/* savevm, loadvm: the machine and its disks under one name, inside the disks' images. Loop thread, device lock held; all block. */
#ifndef VIV_MACHINE_VM_SNAPSHOT_H
#define VIV_MACHINE_VM_SNAPSHOT_H

#include "base/err.h"

/* Takes every writable disk (it must be able to: qcow2) and the machine, whose state goes into the first of them. A snapshot of that
 * name is replaced. NULL: "vm-" and the time. The machine goes on as it was. */
int viv_vm_snapshot_save(const char *name, struct viv_err *err);
/* Back to it; the machine runs on if it ran. Nothing is changed unless every writable disk has the snapshot. */
int viv_vm_snapshot_load(const char *name, struct viv_err *err);

#endif
