/* Which accelerator the command line means, with its options. */
#ifndef VIV_MACHINE_VM_ACCEL_H
#define VIV_MACHINE_VM_ACCEL_H

#include "accel/accel.h"

/* `texts`: each -accel, "NAME[:NAME...][,k=v...]", in order of preference, ending with NULL; or NULL: automatic. Fills
 * env->props and env->opts, which is the caller's to free whatever is returned. */
int viv_vm_choose_accel(const char *const *texts, const struct viv_accel **out, struct viv_accel_env *env,
                        struct viv_err *err);

#endif
