/* The KVM accelerator: its entry in the table, the probe, making the VM. */
#include "accel/kvm/kvm_int.h"

#include "base/log.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define TSS_ADDR          0xfeffd000ul /* three pages VT-x needs for real mode: below 16 MiB of firmware */
#define IDENTITY_MAP_ADDR 0xfeffc000ull

struct kvm_vm *viv_kvm;

static const char *const irqchip_values[] = {"on", "off", "split", NULL};

static const struct viv_opt_def kvm_props[] = {
    {.name = "kernel-irqchip", .type = VIV_OPT_ENUM, .values = irqchip_values, .def = "on",
     .help = "interrupt controllers in the kernel: on (off and split are refused)"},
    {.name = "kvm-shadow-mem", .type = VIV_OPT_REFUSED, .help = "the kernel chooses; leave it out"},
    {.name = "dirty-ring-size", .type = VIV_OPT_REFUSED, .help = "dirty pages are tracked by bitmap; leave it out"},
    {.name = "notify-vmexit", .type = VIV_OPT_REFUSED, .help = "not there yet; leave it out"},
    VIV_OPT_END,
};

static int probe(struct viv_err *why)
{
    double rate;
    bool cached;
    int ret = viv_kvm_speed(false, &rate, &cached, why);

    if (ret)
        return ret;
    if (rate >= VIV_KVM_SPEED_MIN)
        return 0;
    return viv_fail(why, ENOTSUP, "/dev/kvm emulates guest kernels one instruction at a time (%.1f M instructions/s, "
                    "at least %.0f M are needed): there is no VT-x or SVM under it (a host that is a VM needs "
                    "nested virtualization switched on)", rate / 1e6,
                    VIV_KVM_SPEED_MIN / 1e6);
}

/* Asked for by name on a host where the probe fails: goes on, as asked, but says what to expect. Such a KVM emulates. */
static bool warn_if_slow(void)
{
    struct viv_err ignored = VIV_ERR_INIT;
    double rate;
    bool cached;

    if (viv_kvm_speed(false, &rate, &cached, &ignored) != 0 || rate >= VIV_KVM_SPEED_MIN)
        return false;
    viv_warn("-accel kvm: this host's KVM runs guest kernel code at %.1f M instructions/s only; "
             "-accel xlate may be faster", rate / 1e6);
    return true;
}

static int read_msr_list(struct viv_err *err)
{
    struct kvm_msr_list probe_size = {.nmsrs = 0};
    int ret;

    viv_kvm_ioctl(viv_kvm->sys_fd, KVM_GET_MSR_INDEX_LIST, &probe_size); /* -E2BIG, with the number */
    viv_kvm->msr_list = g_malloc0(sizeof(struct kvm_msr_list) + probe_size.nmsrs * sizeof(uint32_t));
    viv_kvm->msr_list->nmsrs = probe_size.nmsrs;
    ret = viv_kvm_ioctl(viv_kvm->sys_fd, KVM_GET_MSR_INDEX_LIST, viv_kvm->msr_list);
    return ret < 0 ? viv_fail_os(err, -ret, "-accel kvm: KVM_GET_MSR_INDEX_LIST") : 0;
}

static int check_caps(struct viv_err *err)
{
    static const struct {
        int cap;
        const char *name;
    } needed[] = {
        {KVM_CAP_USER_MEMORY, "user memory"}, {KVM_CAP_IRQCHIP, "interrupt controllers"},
        {KVM_CAP_XSAVE, "XSAVE state"}, {KVM_CAP_XCRS, "XCR state"}, {KVM_CAP_VCPU_EVENTS, "event state"},
        {KVM_CAP_DEBUGREGS, "debug registers"}, {KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
        {KVM_CAP_MP_STATE, "processor states"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++)
        if (viv_kvm_cap(needed[i].cap) <= 0)
            return viv_fail(err, ENOTSUP, "-accel kvm: this kernel's KVM lacks %s", needed[i].name);
    viv_kvm->cap_sregs2 = viv_kvm_cap(KVM_CAP_SREGS2) > 0;
    viv_kvm->cap_clock = viv_kvm_cap(KVM_CAP_ADJUST_CLOCK) > 0;
    viv_kvm->run_size = (size_t)viv_kvm_ioctl(viv_kvm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    return 0;
}

/* The XSAVE2 capability is the VM's: its answer is the size. */
static void set_xsave_size(void)
{
    int size = viv_kvm_ioctl(viv_kvm->fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)KVM_CAP_XSAVE2);

    viv_kvm->cap_xsave2 = size > (int)sizeof(struct kvm_xsave);
    viv_kvm->xsave_size = viv_kvm->cap_xsave2 ? (size_t)size : sizeof(struct kvm_xsave);
}

static int check_options(const struct viv_accel_env *env, struct viv_err *err)
{
    const char *irqchip = env->opts ? viv_opts_str(env->opts, "kernel-irqchip") : "on";

    if (irqchip && strcmp(irqchip, "on"))
        return viv_fail(err, ENOTSUP, "-accel kvm,kernel-irqchip=%s: only \"on\" exists so far", irqchip);
    return 0;
}

static int make_vm(struct viv_err *err)
{
    uint64_t identity = IDENTITY_MAP_ADDR;
    int ret;

    viv_kvm->fd = viv_kvm_ioctl(viv_kvm->sys_fd, KVM_CREATE_VM, NULL);
    if (viv_kvm->fd < 0)
        return viv_fail_os(err, -viv_kvm->fd, "-accel kvm: cannot make a virtual machine");
    if (viv_kvm_cap(KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0)
        viv_kvm_ioctl(viv_kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    ret = viv_kvm_ioctl(viv_kvm->fd, KVM_SET_TSS_ADDR, (void *)TSS_ADDR);
    return ret < 0 ? viv_fail_os(err, -ret, "-accel kvm: KVM_SET_TSS_ADDR") : 0;
}

static int create(const struct viv_accel_env *env, struct viv_intc **intc, struct viv_err *err)
{
    int max, ret = check_options(env, err);
    bool slow;

    if (ret)
        return ret;
    ret = viv_kvm_open(err);
    if (ret < 0)
        return ret;
    slow = warn_if_slow();
    viv_kvm = g_new0(struct kvm_vm, 1); /* lives to the end of the process, as on failure */
    viv_kvm->sys_fd = ret;
    viv_kvm->mem = env->mem;
    viv_kvm->io = env->io;
    max = viv_kvm_cap(KVM_CAP_MAX_VCPUS);
    if (max > 0 && env->vcpus > (unsigned)max)
        return viv_fail(err, EINVAL, "-smp %u: this host's KVM runs at most %d virtual CPUs", env->vcpus, max);
    ret = check_caps(err);
    if (!ret)
        ret = read_msr_list(err);
    if (!ret)
        ret = make_vm(err);
    if (ret)
        return ret;
    set_xsave_size();
    viv_kvm_debug_init(slow);
    ret = viv_kvm_irq_init(&viv_kvm->intc, err);
    if (!ret)
        ret = viv_kvm_memory_init(err);
    if (!ret)
        *intc = viv_kvm->intc;
    return ret;
}

static void reset(void)
{
    viv_kvm_irq_reset();
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        if (viv_vcpus[i]->priv)
            viv_kvm_lapic_reset(viv_vcpus[i]->priv);
}

/* kvmclock counts on with the host; what it read at the stop is put back at the start. */
static void set_running(bool running)
{
    struct kvm_clock_data d = {0};

    viv_kvm_debug_running(running);
    if (!viv_kvm->cap_clock)
        return;
    if (running && viv_kvm->clock_valid) {
        d.clock = viv_kvm->clock_ns;
        viv_kvm_ioctl(viv_kvm->fd, KVM_SET_CLOCK, &d);
        for (unsigned i = 0; i < viv_vcpu_count; i++) {
            struct kvm_cpu *k = viv_vcpus[i]->priv;

            if (k) /* tells the guest that it was stopped, so that its soft-lockup watchdog keeps quiet */
                viv_kvm_ioctl(k->fd, KVM_KVMCLOCK_CTRL, NULL);
        }
    } else if (!running && viv_kvm_ioctl(viv_kvm->fd, KVM_GET_CLOCK, &d) == 0) {
        viv_kvm->clock_ns = d.clock;
        viv_kvm->clock_valid = true;
    }
}

static void save(struct viv_state_writer *w)
{
    viv_state_put_u64(w, viv_kvm->clock_ns);
    viv_kvm_irq_save(w);
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        viv_kvm_lapic_save(w, viv_vcpus[i]->priv);
}

static int load(struct viv_state_reader *r, struct viv_err *err)
{
    int ret = viv_state_get_u64(r, &viv_kvm->clock_ns, err);

    if (!ret)
        ret = viv_kvm_irq_load(r, err);
    for (unsigned i = 0; i < viv_vcpu_count && !ret; i++) {
        struct kvm_cpu *k = viv_vcpus[i]->priv;

        ret = viv_kvm_lapic_load(r, k, err);
        k->tsc_loaded = true;
    }
    viv_kvm->clock_valid = true;
    return ret;
}

const struct viv_accel viv_accel_kvm = {
    .name = "kvm",
    .desc = "the host kernel's virtualization (KVM)",
    .breakpoints = true,
    .props = kvm_props,
    .probe = probe,
    .create = create,
    .filter_cpuid = viv_kvm_filter_cpuid,
    .vcpu_init = viv_kvm_vcpu_init,
    .vcpu_run = viv_kvm_vcpu_run,
    .vcpu_kick = viv_kvm_vcpu_kick,
    .get_state = viv_kvm_get_state,
    .put_state = viv_kvm_put_state,
    .reset = reset,
    .set_running = set_running,
    .save = save,
    .load = load,
};
