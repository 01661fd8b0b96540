/* vCPU threads: one each, parked while the VM is stopped.
 *
 * Starting and stopping is a hand-shake under the device lock: `running` is what is asked for, v->stopped what is true.
 * The accelerator gets the registers of all CPUs before the first one runs, and v->x86 has them back when the last one has
 * stopped: one that runs may send another one an INIT, a start-up IPI or an NMI, which would fall between. */
#include "accel/accel.h"

#include "base/log.h"
#include "bus/vmreq.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

static const struct viv_accel *accel;
static bool running;
static pthread_cond_t run_changed = PTHREAD_COND_INITIALIZER;
static pthread_cond_t parked = PTHREAD_COND_INITIALIZER;
static struct viv_err init_err;

static void park(struct viv_vcpu *v)
{
    v->stopped = true;
    pthread_cond_broadcast(&parked);
    while (!running || v->failed || v->held)
        viv_dev_wait(&run_changed);
    v->stopped = false;
}

static void give_up(struct viv_vcpu *v, const struct viv_err *err)
{
    v->failed = true;
    /* A guest that has asked for a reset runs on for a moment, into what it never meant to run. */
    if (viv_vm_about_to_end())
        return;
    viv_error("CPU %u cannot go on: %s", v->index, err->text);
    viv_vm_request(VIV_VM_INTERNAL_ERROR, 0, "cpu");
}

static void *vcpu_main(void *opaque)
{
    struct viv_vcpu *v = opaque;
    struct viv_err err = VIV_ERR_INIT;
    int r;

    viv_vcpu_self = v;
    v->tid = gettid();
    r = accel->vcpu_init(v, &err);
    viv_dev_lock();
    if (r < 0) {
        init_err = err;
        v->failed = true;
    }
    for (;;) {
        park(v);
        viv_dev_unlock();
        viv_err_clear(&err);
        r = accel->vcpu_run(v, &err);
        viv_dev_lock();
        if (r < 0)
            give_up(v, &err);
    }
    return NULL;
}

static int create_one(const struct viv_accel_env *env, const struct viv_cpuid *cpuid, unsigned index,
                      struct viv_err *err)
{
    struct viv_vcpu *v = g_new0(struct viv_vcpu, 1);
    char name[32];
    int r;

    v->index = index;
    v->apic_id = viv_cpuid_apic_id(cpuid, index);
    v->accel = accel;
    v->kick = accel->vcpu_kick;
    pthread_mutex_init(&v->sleep_lock, NULL);
    pthread_cond_init(&v->sleep_cond, NULL);
    viv_vcpus[index] = v;
    v->x86 = viv_x86_new(v, cpuid, env->mem, env->smm, env->io);
    if (!v->x86)
        return viv_fail(err, ENOMEM, "no memory for CPU %u", index);
    viv_x86_reset(v->x86, false, index == 0);
    snprintf(name, sizeof(name), "CPU %u/%s", index, accel->name);
    r = viv_thread_start(&v->thread, name, vcpu_main, v, err);
    if (r < 0)
        return r;
    while (!v->stopped)
        viv_dev_wait(&parked);
    if (v->failed) {
        *err = init_err;
        return -(init_err.code ? init_err.code : EIO);
    }
    return 0;
}

int viv_vcpus_create(const struct viv_accel *a, const struct viv_accel_env *env,
                     const struct viv_cpuid *cpuid, struct viv_err *err)
{
    VIV_ASSERT_DEV_LOCKED();
    accel = a;
    viv_vcpus = g_new0(struct viv_vcpu *, env->vcpus);
    viv_ram_set_vcpu_count(env->vcpus);
    for (unsigned i = 0; i < env->vcpus; i++) {
        int r = create_one(env, cpuid, i, err);

        if (r < 0)
            return r;
        viv_vcpu_count = i + 1;
    }
    return 0;
}

static void lend(struct viv_vcpu *v)
{
    struct viv_err err = VIV_ERR_INIT;

    if (v->failed)
        return;
    v->lent = !accel->put_state || accel->put_state(v, &err) == 0;
    if (!v->lent)
        give_up(v, &err);
    viv_err_clear(&err);
}

static void take_back(struct viv_vcpu *v)
{
    struct viv_err err = VIV_ERR_INIT;

    if (v->lent && accel->get_state && accel->get_state(v, &err) < 0)
        give_up(v, &err);
    v->lent = false;
    viv_err_clear(&err);
}

void viv_vcpus_start(void)
{
    VIV_ASSERT_DEV_LOCKED();
    if (running)
        return;
    if (accel->set_running)
        accel->set_running(true);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        atomic_fetch_and(&viv_vcpus[i]->requests, ~(uint32_t)VIV_REQ_STOP);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        lend(viv_vcpus[i]);
    running = true;
    pthread_cond_broadcast(&run_changed);
}

void viv_vcpus_stop(void)
{
    VIV_ASSERT_DEV_LOCKED();
    if (!running)
        return;
    running = false;
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_vcpu_request(viv_vcpus[i], VIV_REQ_STOP);
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        while (!viv_vcpus[i]->stopped)
            viv_dev_wait(&parked);
    }
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        take_back(viv_vcpus[i]);
    if (accel->set_running)
        accel->set_running(false);
}

static void reset(bool init)
{
    VIV_ASSERT_DEV_LOCKED();
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_vcpu *v = viv_vcpus[i];

        v->failed = false;
        if (init && v->x86->in_smm) { /* waits for RSM, as one by ICR does; so do the SMIs and NMIs that are there */
            v->x86->init_held = true;
            continue;
        }
        atomic_store(&v->requests, VIV_REQ_STOP);
        atomic_store(&v->nmis, 0);
        viv_x86_reset(v->x86, init, i == 0);
        if (v->apic && !init)
            viv_apic_reset(v->apic, false);
    }
}

void viv_vcpus_init(void)
{
    reset(true);
}

void viv_vcpus_reset(void)
{
    int64_t tsc_offset = -(int64_t)viv_guest_tsc(); /* the counters begin at 0, together */

    reset(false);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_vcpus[i]->x86->tsc_offset = tsc_offset;
    if (accel->reset)
        accel->reset();
}
