/* The reference interpreter as an accelerator: works everywhere, needs nothing of the host. */
#include "accel/soft.h"

static int probe(struct viv_err *why)
{
    return 0;
}

static int filter_cpuid(struct viv_cpuid *model, struct viv_err *err)
{
    return viv_soft_filter_cpuid(model, "interp", true, err);
}

const struct viv_accel viv_accel_interp = {
    .name = "interp",
    .desc = "the reference interpreter: works everywhere",
    .breakpoints = true,
    .smm = true,
    .probe = probe,
    .create = viv_soft_create,
    .filter_cpuid = filter_cpuid,
    .vcpu_init = viv_soft_vcpu_init,
    .vcpu_run = viv_soft_vcpu_run,
};
