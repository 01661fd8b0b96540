#include "cpu/vcpu.h"

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
        pthread_mutex_lock(&v->sleep_lock);
        pthread_cond_signal(&v->sleep_cond);
        pthread_mutex_unlock(&v->sleep_lock);
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
