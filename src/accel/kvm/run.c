/* A vCPU's life under KVM: made on its own thread, run, kicked.
 *
 * Kick protocol: the kicker has set request bits, then sets immediate_exit and sends a signal. The runner clears
 * immediate_exit, then looks at the requests: either it sees the bits, or KVM_RUN sees immediate_exit. */
#include "accel/kvm/kvm_int.h"

#include "base/log.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KICK_SIGNAL SIGUSR1

static void on_kick(int signo)
{
    /* Its arrival is what counts: it ends KVM_RUN with EINTR. */
}

static int unblock_kick(struct viv_err *err)
{
    struct sigaction sa = {.sa_handler = on_kick};
    sigset_t set;

    sigaction(KICK_SIGNAL, &sa, NULL);
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    if (pthread_sigmask(SIG_UNBLOCK, &set, NULL))
        return viv_fail(err, EINVAL, "cannot unblock the kick signal");
    return 0;
}

/* Ten machine check banks, as the software CPU has (MCG_CAP: count, MCG_CTL_P, SER_P). */
static void setup_mce(struct kvm_cpu *k)
{
    uint64_t host = 0, cap = 10 | 1u << 8 | 1u << 24;

    if (viv_kvm_cap(KVM_CAP_MCE) < 10 || viv_kvm_ioctl(viv_kvm->sys_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &host) < 0)
        return;
    cap &= host | 0xff;
    viv_kvm_ioctl(k->fd, KVM_X86_SETUP_MCE, &cap);
}

int viv_kvm_vcpu_init(struct viv_vcpu *v, struct viv_err *err)
{
    struct kvm_cpu *k = g_new0(struct kvm_cpu, 1);
    void *run;
    int ret = unblock_kick(err);

    if (ret)
        goto fail;
    k->v = v;
    /* The kernel's id of a vCPU is its APIC id. */
    k->fd = viv_kvm_ioctl(viv_kvm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->apic_id);
    if (k->fd < 0) {
        ret = viv_fail_os(err, -k->fd, "KVM cannot make virtual CPU %u (APIC id %u)", v->index, v->apic_id);
        goto fail;
    }
    run = mmap(NULL, viv_kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (run == MAP_FAILED) {
        ret = viv_fail_os(err, errno, "KVM's run area of CPU %u cannot be mapped", v->index);
        goto fail;
    }
    k->run = run;
    ret = viv_kvm_set_cpuid(k, err);
    if (ret)
        goto fail;
    setup_mce(k);
    ret = viv_kvm_put_msrs(k, err); /* finds out which this kernel has */
    if (ret)
        goto fail;
    __atomic_store_n(&v->priv, k, __ATOMIC_RELEASE);
    return 0;
fail: /* the process ends: nobody runs this VM */
    g_free(k);
    return ret;
}

void viv_kvm_vcpu_kick(struct viv_vcpu *v)
{
    struct kvm_cpu *k = __atomic_load_n(&v->priv, __ATOMIC_ACQUIRE);

    if (!k)
        return;
    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(v->thread, KICK_SIGNAL);
}

/* Everything but STOP; returns whether to leave. */
static bool take_requests(struct kvm_cpu *k)
{
    uint32_t acted = VIV_REQ_KICK | VIV_REQ_TLB | VIV_REQ_QUIESCE | VIV_REQ_INTR | VIV_REQ_NMI | VIV_REQ_SMI |
                     VIV_REQ_INIT | VIV_REQ_SIPI;
    uint32_t req = atomic_load(&k->v->requests);

    if (req & acted)
        req |= atomic_fetch_and(&k->v->requests, ~acted);
    if (req & VIV_REQ_NMI)
        viv_kvm_ioctl(k->fd, KVM_NMI, NULL);
    if (req & VIV_REQ_SMI)
        viv_kvm_ioctl(k->fd, KVM_SMI, NULL);
    return req & VIV_REQ_STOP;
}

/* Lets the kernel finish the instruction that brought us out, so that the registers are those after it. That may bring us out again: for
 * its write after its read, for the next eight bytes of an access. Ends with EINTR, before other guest code. */
static int finish_io(struct kvm_cpu *k, struct viv_err *err)
{
    int ret = 0;

    while (k->pending_io && ret == 0) {
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        if (ioctl(k->fd, KVM_RUN, NULL) < 0)
            break;
        ret = viv_kvm_handle_exit(k, err);
    }
    k->pending_io = false;
    return ret < 0 ? ret : 0;
}

/* The guest cannot go on until it is reset or stopped: both come as a stop request. */
static void wait_for_stop(struct kvm_cpu *k)
{
    while (!(atomic_load(&k->v->requests) & VIV_REQ_STOP))
        poll(NULL, 0, 10); /* a kick ends it early */
}

static int enter(struct kvm_cpu *k, struct viv_err *err)
{
    int ret = ioctl(k->fd, KVM_RUN, NULL) < 0 ? -errno : 0;

    if (ret == -EINTR || ret == -EAGAIN) { /* kicked; or woken from waiting for a start-up IPI */
        k->pending_io = false;
        return 0;
    }
    if (ret == -EFAULT && k->run->exit_reason == 39) /* KVM_EXIT_MEMORY_FAULT, newer than our headers */
        return viv_fail(err, EFAULT, "KVM: guest memory of CPU %u is not there", k->v->index);
    if (ret)
        return viv_fail_os(err, -ret, "KVM_RUN of CPU %u", k->v->index);
    ret = viv_kvm_handle_exit(k, err);
    if (ret > 0) {
        wait_for_stop(k);
        ret = 0;
    }
    return ret;
}

int viv_kvm_vcpu_run(struct viv_vcpu *v, struct viv_err *err)
{
    struct kvm_cpu *k = v->priv;
    int ret = viv_kvm_put_debug(k, err);

    if (ret < 0)
        return ret;
    for (;;) {
        __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        if (take_requests(k))
            break;
        ret = enter(k, err);
        if (ret < 0)
            return ret;
    }
    return finish_io(k, err);
}
