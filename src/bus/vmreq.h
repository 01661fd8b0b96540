/* What a device may ask of the whole VM. Any thread, any lock state; acted on by the loop thread
 * after the vCPUs have stopped. `who` is for messages and borrowed for ever. */
#ifndef VIV_BUS_VMREQ_H
#define VIV_BUS_VMREQ_H

#include <stdbool.h>

enum viv_vm_request {
    VIV_VM_RESET,    /* system reset (port 92h, i8042, CF9h, ACPI reset register, triple fault) */
    VIV_VM_SHUTDOWN, /* guest asked for power-off (ACPI S5) */
    VIV_VM_IO_ERROR, /* stop: a disk request failed under a `stop` policy (it is held and sent again at cont) */
    VIV_VM_INTERNAL_ERROR, /* stop: a vCPU cannot go on (the reason has been printed); only reset or quit helps */
    VIV_VM_DEBUG,    /* stop: a vCPU is at a debugger's breakpoint (cpu/breakpoint.h) */
    VIV_VM_WATCHDOG, /* a watchdog was not heard from: what -action watchdog= says */
    VIV_VM_QUIT,     /* end the process with `code` (isa-debug-exit, monitor quit, signals) */
};

/* Codes of VIV_VM_RESET. A pulse on the CPUs' reset line (keyboard controller, port 92h) resets the whole machine as well, unless
 * the guest has told the firmware that it wants to come back (CMOS 0Fh). */
enum { VIV_VM_RESET_ALL, VIV_VM_RESET_CPUS };

void viv_vm_request(enum viv_vm_request what, int code, const char *who);

/* Made and not yet acted on: bits 1 << VIV_VM_*. Loop thread. */
unsigned viv_vm_requests_pending(void);
int viv_vm_request_code(enum viv_vm_request what); /* of one of these */

/* A reset has happened: what was asked for before it (bits as above) is of a machine that is no more. Loop thread, the vCPUs
 * have stopped. */
void viv_vm_requests_drop(unsigned bits);
/* Will the machine that is running now be reset or end any moment? Any thread. */
bool viv_vm_about_to_end(void);

/* Who acts on them (machine/vm.c): called on the loop thread with the device lock. A request that is
 * made again before it was acted on is one request. Until a handler is set requests wait. */
typedef void (*viv_vm_request_fn)(enum viv_vm_request what, int code, const char *who);
void viv_vm_request_set_handler(viv_vm_request_fn fn);

#endif
