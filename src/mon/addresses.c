/* gva2gpa, gpa2hva: where an address of the guest lies, in QEMU's words. */
#include "mon/mon_int.h"

#include "cpu/vcpu.h"
#include "cpu/x86/mmu.h"
#include "machine/vm.h"
#include "mem/space.h"
#include "mon/expr.h"

#include <errno.h>
#include <inttypes.h>

static const struct viv_opt_def addr_args[] = {
    {.name = "addr", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

/* By the current CPU's page tables. */
static int gva2gpa(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_vcpu *v = viv_mon_cpu(err);
    bool running = viv_mon_freeze(), mapped = false;
    uint64_t addr, gpa;
    int rc = !v ? -ENODEV : viv_mon_expr(v, viv_opts_str(o, "addr"), &addr, err);

    if (!rc)
        mapped = viv_mmu_translate_debug(v->x86, addr, &gpa);
    viv_mon_thaw(running);
    if (!rc)
        *result = mapped ? json_sprintf("gpa: %#" PRIx64 "\n", gpa) : json_string("Unmapped\n");
    return rc;
}

static int gpa2hva(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_vcpu *v = viv_mon_cpu(err);
    bool running = viv_mon_freeze();
    struct viv_space_range r;
    uint64_t gpa;
    int rc = !v ? -ENODEV : viv_mon_expr(v, viv_opts_str(o, "addr"), &gpa, err);

    viv_mon_thaw(running);
    if (rc < 0)
        return rc;
    if (!viv_space_find(viv_vm_board()->mem, gpa, &r))
        return viv_fail(err, EINVAL, "No memory is mapped at address %#" PRIx64, gpa);
    if (!r.hva)
        return viv_fail(err, EINVAL, "Memory at address %#" PRIx64 " is not RAM", gpa);
    *result = json_sprintf("Host virtual address for %#" PRIx64 " (%s) is %p\n", gpa, viv_region_name(r.region), (void *)(r.hva + (gpa - r.start)));
    return 0;
}

const struct viv_mon_cmd viv_mon_addresses[] = {
    {"gva2gpa", NULL, "addr", addr_args, "the physical address of a linear one, by the current CPU's page tables", gva2gpa, .hmp_rest = true},
    {"gpa2hva", NULL, "addr", addr_args, "where in this process a physical address of the guest lies", gpa2hva, .hmp_rest = true},
    {0},
};
