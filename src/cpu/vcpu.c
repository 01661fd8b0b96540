#include "cpu/vcpu.h"

#include <errno.h>

struct viv_vcpu **viv_vcpus;
unsigned viv_vcpu_count;
_Thread_local struct viv_vcpu *viv_vcpu_self;

/* A sleeper publishes `sleeping` and then looks at the request word; here the word is set and then `sleeping` looked at.
 * Both orders are sequentially consistent, so one of the two sees the other. */
void viv_vcpu_request(struct viv_vcpu *v, uint32_t bits)
{
    if (bits & VIV_REQ_NMI)
        atomic_fetch_add(&v->nmis, 1);
    atomic_fetch_or(&v->requests, bits);
    if (__atomic_load_n(&v->sleeping, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&v->sleep_lock); /* it looks at `requests`, or waits */
        pthread_mutex_unlock(&v->sleep_lock);
        pthread_cond_signal(&v->sleep_cond); /* not before: it would wake to wait for the lock */
    }
    if (v->kick && v != viv_vcpu_self)
        v->kick(v);
}

void viv_vcpu_sleep(struct viv_vcpu *v, bool (*wake)(struct viv_vcpu *v))
{
    pthread_mutex_lock(&v->sleep_lock);
    __atomic_store_n(&v->sleeping, true, __ATOMIC_SEQ_CST);
    while (!wake(v))
        pthread_cond_wait(&v->sleep_cond, &v->sleep_lock);
    __atomic_store_n(&v->sleeping, false, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&v->sleep_lock);
}

/* ---- saved state ---- */

/* INTR only says "look at the local APIC", which every vCPU does when it starts. */
#define SAVED_REQUESTS ((uint32_t)(VIV_REQ_NMI | VIV_REQ_SMI | VIV_REQ_INIT | VIV_REQ_SIPI))

static void save_requests(struct viv_state_writer *w, const void *obj)
{
    const struct viv_vcpu *v = obj;

    viv_state_put_u32(w, atomic_load(&v->requests) & SAVED_REQUESTS);
}

static int load_requests(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_vcpu *v = obj;
    uint32_t bits;
    int rc = viv_state_get_u32(r, &bits, err);

    if (rc < 0)
        return rc;
    if (bits & ~SAVED_REQUESTS)
        return viv_fail(err, EINVAL, "saved CPU state has unknown requests (%#x)", bits);
    atomic_fetch_and(&v->requests, ~SAVED_REQUESTS);
    atomic_fetch_or(&v->requests, bits | VIV_REQ_INTR | VIV_REQ_TLB);
    return 0;
}

#define STILL "nothing is saved while a vCPU runs"
static const struct viv_field vcpu_fields[] = {
    VIV_F_CONFIG(viv_vcpu, index),
    VIV_F_CONFIG(viv_vcpu, apic_id),
    VIV_F_CONFIG(viv_vcpu, accel),
    VIV_F_CONFIG(viv_vcpu, thread),
    VIV_F_CONFIG(viv_vcpu, tid),
    VIV_F_CUSTOM(viv_vcpu, requests, save_requests, load_requests),
    VIV_F_INT(viv_vcpu, sipi_vector),
    VIV_F_INT(viv_vcpu, nmis),
    VIV_F_CONFIG(viv_vcpu, x86),
    VIV_F_CONFIG(viv_vcpu, apic),
    VIV_F_CONFIG(viv_vcpu, priv),
    VIV_F_CONFIG(viv_vcpu, kick),
    VIV_F_CONFIG(viv_vcpu, sleep_lock),
    VIV_F_CONFIG(viv_vcpu, sleep_cond),
    VIV_F_DERIVED(viv_vcpu, sleeping, STILL),
    VIV_F_DERIVED(viv_vcpu, stopped, STILL),
    VIV_F_DERIVED(viv_vcpu, lent, STILL),
    VIV_F_DERIVED(viv_vcpu, held, "the debugger's, outside the guest"),
    VIV_F_DERIVED(viv_vcpu, failed, "what it failed at fails again"),
    VIV_F_END,
};

const struct viv_state_table viv_vcpu_state = {
    .name = "vcpu",
    .ctype = "viv_vcpu",
    .version = 1,
    .min_version = 1,
    .fields = vcpu_fields,
};
