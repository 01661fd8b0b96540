/* Who runs the CPU. Boards and devices do not know; the machine picks one with viv_accel_choose().
 *
 * `kvm` is the kernel's, `xlate` the translator, `interp` the reference interpreter, `qtest` runs nothing. Chosen automatically: the fastest
 * that really works here, with one line that says why when it is not KVM. Asked for by name: that one, or what it names
 * as its substitute with a line that says why, or an error. */
#ifndef VIV_ACCEL_ACCEL_H
#define VIV_ACCEL_ACCEL_H

#include "base/err.h"
#include "bus/intc.h"
#include "cpu/vcpu.h"
#include "mem/space.h"
#include "opt/opt.h"
#include "state/state.h"

#include <glib.h>

struct viv_cpuid;
struct viv_x86;

struct viv_accel_env {
    struct viv_space *mem, *io;
    struct viv_space *smm; /* what CPUs in system management mode see; NULL: `mem` */
    unsigned vcpus;
    const struct viv_opt_def *props;
    struct viv_opts *opts; /* -accel NAME,... ; borrowed for create */
};

struct viv_accel {
    const char *name;
    const char *desc;
    const struct viv_opt_def *props;
    const struct viv_accel *instead; /* that also runs the machine, slower, where this one does not work; or NULL */
    bool breakpoints;                /* cpu/breakpoint.h works */
    bool smm;                        /* env.smm is heeded */
    bool by_name_only;               /* never chosen automatically */
    bool makes_code;                 /* -d in_asm, out_asm have something to show */

    /* Does it really work here? 0, or -errno with the check that failed and its remedy. Under 5 ms. */
    int (*probe)(struct viv_err *why);
    /* Makes the VM side and the interrupt controller interface. Before devices. */
    int (*create)(const struct viv_accel_env *env, struct viv_intc **intc, struct viv_err *err);
    /* Restricts a CPU model to what this accelerator can give; refuses features it cannot. */
    int (*filter_cpuid)(struct viv_cpuid *model, struct viv_err *err);
    /* On the vCPU's own thread, once. */
    int (*vcpu_init)(struct viv_vcpu *v, struct viv_err *err);
    /* Runs guest code until VIV_REQ_STOP is seen (clears nothing but what it acted on). Returns 0, or
     * negative errno when the guest cannot go on (text in err). vCPU thread, device lock not held. */
    int (*vcpu_run)(struct viv_vcpu *v, struct viv_err *err);
    /* Makes a running vCPU leave guest mode soon; request bits are already set. Any thread. May be NULL. */
    void (*vcpu_kick)(struct viv_vcpu *v);
    /* Between v->x86 and the accelerator; all vCPUs stopped, device lock held. NULL: v->x86 is the truth. */
    int (*get_state)(struct viv_vcpu *v, struct viv_err *err);
    int (*put_state)(struct viv_vcpu *v, struct viv_err *err);
    /* System reset of what the accelerator keeps itself (in-kernel local APICs, 8259, IO-APIC): part of
     * viv_vcpus_reset(), vCPUs stopped, device lock held. v->x86 follows by put_state before the vCPUs run. May be
     * NULL. */
    void (*reset)(void);
    /* Before the vCPUs start and after they have stopped; device lock held: paravirtual clocks stand still with
     * the guest's. May be NULL. */
    void (*set_running)(bool running);
    /* Saved state beyond v->x86 and devices (in-kernel irqchip). May be NULL. */
    void (*save)(struct viv_state_writer *w);
    int (*load)(struct viv_state_reader *r, struct viv_err *err);
    /* `info jit`: appends text for people. vCPUs stopped, device lock held. NULL: it makes no code. */
    void (*info_jit)(struct viv_space *mem, GString *out);
};

extern const struct viv_accel viv_accel_kvm;
extern const struct viv_accel viv_accel_xlate;
extern const struct viv_accel viv_accel_interp;
extern const struct viv_accel viv_accel_qtest;

/* NULL: there is none. "tcg" is one of ours. */
const struct viv_accel *viv_accel_find(const char *name);
/* `text`: the -accel argument ("kvm", "interp", "kvm:xlate" fallback list), NULL: automatic. Prints the line
 * of why when automatic choice is not KVM. */
int viv_accel_choose(const char *text, const struct viv_accel **out, struct viv_err *err);
/* The same accelerator, or its substitute where it does not work, with a line why. After its options were read.
 * `options`: some were given, which a substitute does not heed. */
const struct viv_accel *viv_accel_settle(const struct viv_accel *a, bool options);
bool viv_accel_help(const char *name); /* its options, or (NULL) all of them, to stdout; false: there is none */

/* vCPU threads: made stopped, each with its v->x86 in power-on state. `env` as for create; `cpuid` is borrowed for
 * ever; APIC ids come from its topology. Device lock held by the caller of each of these (released while waiting). */
int viv_vcpus_create(const struct viv_accel *a, const struct viv_accel_env *env,
                     const struct viv_cpuid *cpuid, struct viv_err *err);
void viv_vcpus_start(void);
/* Asks all to stop and waits until they have; releases the device lock while waiting. Loop thread. */
void viv_vcpus_stop(void);
/* Power-on state for all; stopped. */
void viv_vcpus_reset(void);
/* As the INIT pin of all CPUs. But local APICs stay as they are: the firmware that goes on then would not set LINT0 up again.
 * For a CPU in system management mode it waits for RSM, and then is one like any other's (local APIC included). */
void viv_vcpus_init(void);

#endif
