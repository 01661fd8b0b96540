/* Shared by the files of accel/kvm. One VM per process, so one struct kvm_vm, made by create().
 *
 * Threads: `vm` is constant after create() but for `slots` (device lock) and the routing table (its own lock, taken
 * last). A struct kvm_cpu is touched by its thread while it runs and, once stopped, by whoever holds the
 * device lock. */
#ifndef VIV_ACCEL_KVM_INT_H
#define VIV_ACCEL_KVM_INT_H

#include "accel/accel.h"
#include "accel/kvm/kvm.h"
#include "cpu/breakpoint.h"

#include <linux/kvm.h>
#include <pthread.h>

struct kvm_slot {
    uint64_t start, size;
    uint8_t *hva;
    uint32_t flags;
    bool used;
};

struct kvm_vm {
    int sys_fd; /* /dev/kvm */
    int fd;
    size_t run_size;
    size_t xsave_size;
    struct viv_space *mem, *io;
    struct viv_intc *intc;
    bool cap_sregs2, cap_xsave2, cap_readonly, cap_clock;
    unsigned max_slots;
    struct kvm_slot *slots; /* max_slots of them */
    struct kvm_msr_list *msr_list;
    uint32_t xsave_offset[64]; /* of the host's standard format; 0: no such component */
    bool clock_valid;
    uint64_t clock_ns; /* kvmclock when the VM was stopped */
};

#define KVM_MSRS_MAX 128

struct kvm_cpu {
    struct viv_vcpu *v;
    int fd;
    struct kvm_run *run;
    bool pending_io; /* the last exit is finished by entering KVM_RUN once more */
    int64_t tsc_offset; /* as the kernel has it: writing the TSC anew would break its synchronisation */
    bool tsc_known, tsc_loaded; /* loaded: the state is another process's, or of another time */
    bool msr_refused[KVM_MSRS_MAX]; /* by position in the table: the kernel did not take it */
    bool msr_known[KVM_MSRS_MAX];   /* the kernel has msr_value[] */
    uint64_t msr_value[KVM_MSRS_MAX];
    uint64_t deadline; /* TSC deadline as the kernel has it */
    const struct patch *over; /* debug.c: a breakpoint that this CPU is to leave behind it without a stop */
    bool debugged;     /* the kernel has breakpoints or a step of ours */
};

extern struct kvm_vm *viv_kvm;

/* sys.c: the kernel's side, whatever the VM. */
int viv_kvm_ioctl(int fd, unsigned long req, void *arg); /* -errno; restarts on EINTR */

/* memory.c */
int viv_kvm_memory_init(struct viv_err *err);

/* irq.c */
int viv_kvm_irq_init(struct viv_intc **intc, struct viv_err *err);
void viv_kvm_irq_reset(void);
void viv_kvm_irq_save(struct viv_state_writer *w);
int viv_kvm_irq_load(struct viv_state_reader *r, struct viv_err *err);

/* lapic.c */
void viv_kvm_lapic_reset(struct kvm_cpu *k);
void viv_kvm_lapic_save(struct viv_state_writer *w, struct kvm_cpu *k);
int viv_kvm_lapic_load(struct viv_state_reader *r, struct kvm_cpu *k, struct viv_err *err);

/* cpuid.c */
int viv_kvm_filter_cpuid(struct viv_cpuid *model, struct viv_err *err);
int viv_kvm_set_cpuid(struct kvm_cpu *k, struct viv_err *err);

/* run.c, exits.c */
int viv_kvm_vcpu_init(struct viv_vcpu *v, struct viv_err *err);
int viv_kvm_vcpu_run(struct viv_vcpu *v, struct viv_err *err);
void viv_kvm_vcpu_kick(struct viv_vcpu *v);
/* 0: go on; > 0: wait for a stop request (reset, power-off asked for); < 0: the guest cannot go on. */
int viv_kvm_handle_exit(struct kvm_cpu *k, struct viv_err *err);

/* debug.c: VM starts, VM has stopped; a CPU's part to the kernel, after its registers; KVM_EXIT_DEBUG, with the result of handle_exit. */
void viv_kvm_debug_init(bool emulates);
void viv_kvm_debug_running(bool running);
int viv_kvm_put_debug(struct kvm_cpu *k, struct viv_err *err);
int viv_kvm_handle_debug(struct kvm_cpu *k, struct viv_err *err);

/* state.c, state_fpu.c, state_msr.c */
int viv_kvm_get_state(struct viv_vcpu *v, struct viv_err *err);
int viv_kvm_put_state(struct viv_vcpu *v, struct viv_err *err);
int viv_kvm_get_fpu(struct kvm_cpu *k, struct viv_err *err);
int viv_kvm_put_fpu(struct kvm_cpu *k, struct viv_err *err);
int viv_kvm_get_msrs(struct kvm_cpu *k, struct viv_err *err);
int viv_kvm_put_msrs(struct kvm_cpu *k, struct viv_err *err);
bool viv_kvm_put_msr(struct kvm_cpu *k, uint32_t index, uint64_t value); /* false: the kernel does not take it */
/* The TSC and its deadline, after everything else. */
int viv_kvm_put_tsc(struct kvm_cpu *k, struct viv_err *err);

#endif
