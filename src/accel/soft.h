/* What the software CPUs (interp, xlate) are as accelerators: local APICs in user mode, requests between vCPUs,
 * and the loop around viv_interp_run(), which runs whichever of the two is attached. Contracts: accel.h. */
#ifndef VIV_ACCEL_SOFT_H
#define VIV_ACCEL_SOFT_H

#include "accel/accel.h"

int viv_soft_create(const struct viv_accel_env *env, struct viv_intc **out, struct viv_err *err);
/* `accel`: its name, for errors. */
int viv_soft_filter_cpuid(struct viv_cpuid *model, const char *accel, bool avx512, struct viv_err *err);
int viv_soft_vcpu_init(struct viv_vcpu *v, struct viv_err *err);
int viv_soft_vcpu_run(struct viv_vcpu *v, struct viv_err *err);

#endif
