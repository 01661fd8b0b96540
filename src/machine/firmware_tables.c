/* What the tables say of CPUs and memory, for kernels that are entered directly and for firmware. */
#include "machine/firmware.h"

#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "machine/mptable.h"
#include "machine/smbios.h"

#include <glib.h>

struct viv_acpi_cpu *viv_firmware_cpus(struct viv_acpi_info *info)
{
    struct viv_acpi_cpu *cpus = g_new0(struct viv_acpi_cpu, viv_vcpu_count);

    for (unsigned i = 0; i < viv_vcpu_count; i++)
        cpus[i].apic_id = viv_vcpus[i]->apic_id;
    info->cpus = cpus;
    info->cpu_count = viv_vcpu_count;
    return cpus;
}

int viv_firmware_smbios(const struct viv_firmware_config *c, uint32_t base, size_t max, uint8_t **out, size_t *len,
                        struct viv_err *err)
{
    const struct viv_cpuid *model = viv_vcpus[0]->x86->cpuid;
    const struct viv_smp *smp = &c->cfg->smp;
    uint32_t leaf1[4];
    struct viv_smbios_info info = {
        .product = c->product,
        .version = c->cfg->cls->name,
        .uuid = c->cfg->uuid_set ? c->cfg->uuid : NULL,
        .cpu = model->model,
        .ram_bytes = c->low_end + c->high_size,
        .below_4g = c->low_end,
        .sockets = MAX(smp->sockets, 1u),
        .cores = MAX(smp->cores, 1u) * MAX(smp->dies, 1u),
        .threads = MAX(smp->threads, 1u),
        .firmware = !base, /* it places them */
        .given = c->cfg->smbios,
    };

    viv_cpuid_leaf(model, 0, 1, 0, leaf1);
    info.signature = leaf1[0];
    info.features = leaf1[3];
    return viv_smbios_build(&info, base, max, out, len, err);
}

int viv_firmware_mp(const struct viv_firmware_config *c, uint32_t base, size_t max, uint8_t **out, size_t *len, struct viv_err *err)
{
    struct viv_acpi_info cpus = {0};
    g_autofree struct viv_acpi_cpu *list = viv_firmware_cpus(&cpus);
    struct viv_mp_info info = {
        .cpus = list, .cpu_count = cpus.cpu_count, .pit = c->acpi.pit, .pci = c->board->pci, .pirq_pin = c->pirq_pin,
    };
    uint32_t leaf1[4];

    viv_cpuid_leaf(viv_vcpus[0]->x86->cpuid, 0, 1, 0, leaf1);
    info.signature = leaf1[0];
    info.features = leaf1[3];
    return viv_mp_build(&info, base, max, out, len, err);
}
