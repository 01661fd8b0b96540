/* savevm, loadvm, delvm: the machine and its disks under one name, inside the disks' images. Loop thread, device lock held; all block.
 * snapshot-save and its kin do the same as jobs, with the disks that they name. */
#ifndef VIV_MACHINE_VM_SNAPSHOT_H
#define VIV_MACHINE_VM_SNAPSHOT_H

#include "base/err.h"

struct viv_snapshot_wish; /* block/snapshot_set.h; NULL: all writable disks, of which the first gets the machine's state */

/* All disks must be able to (qcow2). A snapshot of that name is replaced, but with a wish it is an error. NULL: "vm-" and the time. The
 * machine goes on as it was. */
int viv_vm_snapshot_save(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err);
/* Back to it; the machine runs on if it ran. Nothing is changed unless every disk has the snapshot. */
int viv_vm_snapshot_load(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err);
/* -ENOENT: no disk of the machine has it; with a wish that is no error. */
int viv_vm_snapshot_delete(const char *name, const struct viv_snapshot_wish *w, struct viv_err *err);

/* vm_snapshot_job.c. 0: the job is there, and waits until it is dismissed when it has ended. All text is copied. A load that fails leaves
 * the machine standing. */
enum viv_vm_snapshot_verb { VIV_VM_SNAPSHOT_SAVE, VIV_VM_SNAPSHOT_LOAD, VIV_VM_SNAPSHOT_DELETE };
int viv_vm_snapshot_start(const char *job_id, enum viv_vm_snapshot_verb verb, const char *name, const struct viv_snapshot_wish *w,
                          struct viv_err *err);

#endif
