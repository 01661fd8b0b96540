/* The running VM: run state, and what the monitor and the command line drive. Device lock held for all. */
#ifndef VIV_MACHINE_VM_H
#define VIV_MACHINE_VM_H

#include "base/err.h"
#include "machine/machine.h"

/* Names as QMP's query-status says them: see viv_run_state_name(). */
enum viv_run_state {
    VIV_RUN_PRELAUNCH, VIV_RUN_RUNNING, VIV_RUN_PAUSED, VIV_RUN_SHUTDOWN, VIV_RUN_INMIGRATE,
    VIV_RUN_SAVE, VIV_RUN_RESTORE, VIV_RUN_POSTMIGRATE, VIV_RUN_INTERNAL_ERROR, VIV_RUN_IO_ERROR,
};

const char *viv_run_state_name(enum viv_run_state s);
enum viv_run_state viv_vm_state(void);

int viv_vm_create(const struct viv_machine_config *cfg, struct viv_err *err); /* board and vCPUs */
int viv_vm_finish(struct viv_err *err); /* after -device: tables, kernel, reset */
struct viv_board *viv_vm_board(void);
const struct viv_machine_config *viv_vm_config(void);

void viv_vm_cont(void);
void viv_vm_stop(enum viv_run_state why);
void viv_vm_reset(void);
int viv_vm_powerdown(struct viv_err *err);
/* Ends viv_loop_run; the process exits with `code`. */
void viv_vm_quit(int code);
int viv_vm_exit_code(void);

/* Whole-VM state to and from a file ("file:PATH"): RAM, vCPUs, devices. VM stopped. */
int viv_vm_save(const char *uri, struct viv_err *err);
int viv_vm_load(const char *uri, struct viv_err *err);

/* -no-reboot / -no-shutdown; listeners for QMP events. */
void viv_vm_set_policy(bool no_reboot, bool no_shutdown);
typedef void (*viv_vm_event_fn)(void *opaque, const char *event, const char *json_data);
void viv_vm_listen(viv_vm_event_fn fn, void *opaque);

#endif
