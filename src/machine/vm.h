/* The running VM: run state, and what the monitor and the command line drive. Loop thread, device lock held for
 * all, unless said otherwise. */
#ifndef VIV_MACHINE_VM_H
#define VIV_MACHINE_VM_H

#include "base/err.h"
#include "bus/vmreq.h"
#include "machine/machine.h"

/* Names as QMP's query-status says them: see viv_run_state_name(). */
enum viv_run_state {
    VIV_RUN_PRELAUNCH,
    VIV_RUN_RUNNING,
    VIV_RUN_PAUSED,
    VIV_RUN_SHUTDOWN,
    VIV_RUN_INMIGRATE,
    VIV_RUN_SAVE,
    VIV_RUN_RESTORE,
    VIV_RUN_POSTMIGRATE,
    VIV_RUN_INTERNAL_ERROR,
    VIV_RUN_IO_ERROR,
    VIV_RUN_DEBUG,
    VIV_RUN_WATCHDOG, /* -action watchdog=pause */
};

const char *viv_run_state_name(enum viv_run_state s);
enum viv_run_state viv_vm_state(void);

/* Accelerator, address spaces, board and vCPUs. cfg is borrowed until the process ends. */
int viv_vm_create(const struct viv_machine_config *cfg, struct viv_err *err);
int viv_vm_finish(struct viv_err *err); /* after -device: tables, kernel, reset */
struct viv_board *viv_vm_board(void);
const struct viv_machine_config *viv_vm_config(void);
const struct viv_accel *viv_vm_accel(void);
struct viv_cpuid;
const struct viv_cpuid *viv_vm_cpuid(void);
bool viv_vm_exists(void); /* from create to destroy */
/* Stops what runs, lets requests in flight end, frees devices. False: some do not end, and devices are still there. */
bool viv_vm_destroy(void);

/* -EBUSY when the state does not allow it (after shutdown or an error a reset must come first). While the machine waits for its saved
 * state, this and viv_vm_pause() say whether it runs once it has that. */
int viv_vm_cont(struct viv_err *err);
int viv_vm_cont_loaded(struct viv_err *err); /* it has */
void viv_vm_stop(enum viv_run_state why);
/* `reason` as QMP's ShutdownCause has it ("guest-reset", "host-qmp-system-reset"). */
void viv_vm_reset(const char *reason); /* at once; where disks are at work, as soon as they are idle */
/* What people ask for, by a monitor or a window's menu. Pausing changes nothing where it does not run; a reset is -EBUSY while the
 * machine waits for its saved state, is saved or loaded. */
void viv_vm_pause(void);
int viv_vm_ask_reset(const char *reason, struct viv_err *err);
/* It stands: waits (at most a minute, serving the loop) until its disks are idle and what was written is durable. */
void viv_vm_settle(void);
int viv_vm_powerdown(struct viv_err *err);
/* Ends viv_loop_run; the process exits with `code`. */
void viv_vm_quit(int code, const char *reason);
int viv_vm_exit_code(void);

/* Whole-VM state to and from "file:PATH" or "fd:NAME": RAM, vCPUs, devices. Save stops the VM first; a thread writes, the machine is in
 * VIV_RUN_SAVE meanwhile and in postmigrate then, or what it was before when that fails, and `ended` is called (not where save_start
 * fails). Load wants a machine made by the same command line that has not run; it blocks. */
enum viv_save_status { VIV_SAVE_NONE, VIV_SAVE_ACTIVE, VIV_SAVE_COMPLETED, VIV_SAVE_FAILED, VIV_SAVE_CANCELLED };
struct viv_save_progress { /* of the last one */
    enum viv_save_status status;
    int64_t ms;
    uint64_t sent, ram, ram_done; /* bytes: of the file; of RAM, and of that those that have been passed */
    struct viv_err err;
};
int viv_vm_save_start(const char *uri, void (*ended)(void), struct viv_err *err);
int viv_vm_save_wait(struct viv_err *err); /* serves the loop */
void viv_vm_save_get(struct viv_save_progress *out);
void viv_vm_save_cancel(void); /* the machine goes on as before; nothing when there is none */
void viv_vm_save_finish(void); /* before the machine goes: there is none any more */
bool viv_vm_uri_is_known(const char *uri);
int viv_vm_load(const char *uri, struct viv_err *err);
/* For vm_save.c, vm_snapshot.c and -incoming. */
void viv_vm_reset_all(void); /* devices, CPUs, board: nothing is told, nothing stopped or started */
void viv_vm_set_state(enum viv_run_state s);
/* A reset or power-off that the guest asked for and that has not happened: bits of 1 << VIV_VM_*, and whether the reset is one of the
 * CPUs alone (VIV_VM_RESET_CPUS). Setting refuses (-EINVAL) what no guest can wish. */
#define VIV_VM_WISHES    (1u << VIV_VM_RESET | 1u << VIV_VM_SHUTDOWN)
#define VIV_VM_WISH_CPUS (1u << 16)
unsigned viv_vm_guest_wishes(void);
int viv_vm_set_guest_wishes(unsigned bits);
bool viv_vm_knows_wishes(unsigned bits);

/* A non-maskable interrupt to all CPUs. */
void viv_vm_nmi(void);

/* What happens when the guest reboots, shuts down, or no longer serves its watchdog: -action, set-action. Takes the options that are given; before the VM is made, too. */
extern const struct viv_opt_def viv_vm_action_opts[];
extern const char *const viv_vm_watchdog_actions[]; /* words of watchdog= */
void viv_vm_set_actions(struct viv_opts *o);
/* Listeners for QMP events (json_data: the text of an object, or NULL). */
typedef void (*viv_vm_event_fn)(void *opaque, const char *event, const char *json_data);
void viv_vm_listen(viv_vm_event_fn fn, void *opaque);
void viv_vm_unlisten(viv_vm_event_fn fn, void *opaque);

#endif
