/* What programs other than a VM want to know of the host's KVM (`viv doctor`). */
#ifndef VIV_ACCEL_KVM_KVM_H
#define VIV_ACCEL_KVM_KVM_H

#include "base/err.h"

#include <stdbool.h>

/* /dev/kvm, API version checked; kept open for the life of the process: do not close. -errno and a text with a remedy. */
int viv_kvm_open(struct viv_err *err);
/* KVM_CHECK_EXTENSION; 0: not there, or not open. */
int viv_kvm_cap(int cap);

/* Guest kernel-mode instructions per second in a throw-away VM; also checks that an in-kernel irqchip can be made.
 * Cached per boot of the host unless `fresh`. Blocks for a few ms. */
int viv_kvm_speed(bool fresh, double *insns_per_second, bool *cached, struct viv_err *err);
#define VIV_KVM_SPEED_MIN 50e6

#endif
