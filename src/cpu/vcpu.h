/* A virtual CPU, as accelerators, boards and monitors see it. One host thread each.
 *
 * Requests are bits in an atomic word: any thread sets them with viv_vcpu_request(), which makes a running
 * vCPU leave guest code soon and a halted one wake up. The vCPU thread acts on them at its next
 * instruction boundary (block end). */
#ifndef VIV_CPU_VCPU_H
#define VIV_CPU_VCPU_H

#include "base/err.h"
#include "state/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    VIV_REQ_STOP = 1 << 0,    /* leave the run function: pause, reset, save, quit */
    VIV_REQ_INTR = 1 << 1,    /* the local APIC (or LINT0) may have an interrupt to deliver */
    VIV_REQ_NMI = 1 << 2,
    VIV_REQ_SMI = 1 << 3,
    VIV_REQ_INIT = 1 << 4,
    VIV_REQ_SIPI = 1 << 5,    /* vector in sipi_vector */
    VIV_REQ_TLB = 1 << 6,     /* memory map changed: drop cached host addresses */
    VIV_REQ_QUIESCE = 1 << 7, /* pass a safe point (no store in flight), then go on */
    VIV_REQ_KICK = 1 << 8,    /* just come out and look */
};

struct viv_x86;
struct viv_apic;
struct viv_accel;

struct viv_vcpu {
    unsigned index;
    uint32_t apic_id;
    const struct viv_accel *accel;
    pthread_t thread;
    int tid; /* the thread's id in the kernel: for taskset, ps, QMP */
    _Atomic uint32_t requests;
    _Atomic uint8_t sipi_vector;
    _Atomic uint8_t nmis; /* sent since the last look: two at once are one in service and one pending */
    struct viv_x86 *x86;   /* architectural state; ours while the VM is stopped */
    struct viv_apic *apic; /* user-mode local APIC; NULL with a kernel one */
    void *priv;            /* the accelerator's */
    void (*kick)(struct viv_vcpu *v); /* makes it leave guest mode soon, after bits were set; NULL: looks itself */

    /* Sleep and wake (HLT, stopped). */
    pthread_mutex_t sleep_lock;
    pthread_cond_t sleep_cond;
    bool sleeping; /* atomic */

    /* Run control, under the device lock. */
    bool stopped; /* the thread is parked outside its accelerator */
    bool lent;    /* the accelerator has the registers, of all or of none */
    bool failed;  /* its accelerator gave up: stays parked until reset */
    bool held;    /* a debugger lets others run: stays parked until the next start */
};

/* All vCPUs, fixed before the first one runs. */
extern struct viv_vcpu **viv_vcpus;
extern unsigned viv_vcpu_count;

/* What others have sent and nobody has acted on; x86 and apic have tables of their own. */
extern const struct viv_state_table viv_vcpu_state;

/* The vCPU of this thread, NULL on others. */
extern _Thread_local struct viv_vcpu *viv_vcpu_self;

/* Any thread, any lock state, never blocks. */
void viv_vcpu_request(struct viv_vcpu *v, uint32_t bits);

/* vCPU thread: blocks until wake(v), which looks at v->requests, says so. Device lock not held. */
void viv_vcpu_sleep(struct viv_vcpu *v, bool (*wake)(struct viv_vcpu *v));

#endif
