/* Memory slots without a kernel: which of them go and come when the map of memory changes. */
#include "accel/kvm/kvm_int.h"
#include "base/units.h"
#include "cpu/vcpu.h"
#include "host/lock.h"
#include "mem/ram.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

struct kvm_vm *viv_kvm; /* instead of kvm.c's, and of sys.c's functions */

static struct kvm_userspace_memory_region slots[64];
static uint64_t touched; /* the highest address of a slot that went or came */

int viv_kvm_ioctl(int fd, unsigned long req, void *arg)
{
    const struct kvm_userspace_memory_region *mr = arg, *old;

    if (req == KVM_GET_DIRTY_LOG)
        return 0; /* nothing so far */
    g_assert_cmphex(req, ==, KVM_SET_USER_MEMORY_REGION);
    g_assert_cmpuint(mr->slot, <, G_N_ELEMENTS(slots));
    old = &slots[mr->slot];
    touched = MAX(touched, MAX(old->guest_phys_addr + old->memory_size, mr->guest_phys_addr + mr->memory_size));
    slots[mr->slot] = *mr;
    return 0;
}

int viv_kvm_cap(int cap)
{
    return cap == KVM_CAP_NR_MEMSLOTS ? (int)G_N_ELEMENTS(slots) : 1;
}

/* Where guest memory lies for the CPUs; NULL: nowhere. */
static const uint8_t *at(uint64_t gpa)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(slots); i++) {
        if (gpa >= slots[i].guest_phys_addr && gpa - slots[i].guest_phys_addr < slots[i].memory_size)
            return (const uint8_t *)(uintptr_t)slots[i].userspace_addr + (gpa - slots[i].guest_phys_addr);
    }
    return NULL;
}

static void add(struct viv_space *s, struct viv_ram *ram, uint64_t gpa, uint64_t offset, uint64_t size)
{
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = size, .ram = ram, .ram_offset = offset};

    viv_region_map(viv_region_new(s, &d), gpa, 0);
}

/* Other CPUs run while the gate of address line 20 moves: what lies above the second MiB stays. */
static void test_a20(void)
{
    const uint64_t size = 16 * VIV_MIB;
    struct viv_err err = VIV_ERR_INIT;
    struct kvm_vm vm = {.mem = viv_space_new("memory", 40)};
    struct viv_ram *ram;

    viv_kvm = &vm;
    viv_dev_lock();
    g_assert_cmpint(viv_ram_new("ram", size, &ram, &err), ==, 0);
    add(vm.mem, ram, 0, 0, 640 * VIV_KIB);
    add(vm.mem, ram, VIV_MIB, VIV_MIB, size - VIV_MIB);
    g_assert_cmpint(viv_kvm_memory_init(&err), ==, 0);
    for (unsigned round = 0; round < 3; round++) {
        bool on = round != 1;

        touched = 0;
        viv_space_set_a20(vm.mem, on);
        g_assert_cmphex(touched, <=, 2 * VIV_MIB);
        g_assert_true(at(0x1000) == ram->hva + 0x1000);
        g_assert_true(at(VIV_MIB + 0x1000) == ram->hva + (on ? VIV_MIB : 0) + 0x1000);
        g_assert_true(at(2 * VIV_MIB) == ram->hva + 2 * VIV_MIB && at(size - 1) == ram->hva + size - 1);
        g_assert_null(at(640 * VIV_KIB));
    }
    viv_dev_unlock();
    g_free(vm.slots); /* a machine's stay for good */
}

/* The logged slot goes while other CPUs run: what they write after the last look at its log counts too. */
static void test_log_of_slot(void)
{
    static struct viv_vcpu cpus[2], *all[2] = {&cpus[0], &cpus[1]};
    struct kvm_vm vm = {.mem = viv_space_new("memory", 40)};
    struct viv_region_desc d = {.name = "vram", .kind = VIV_REGION_RAM, .size = VIV_MIB};
    struct viv_err err = VIV_ERR_INIT;

    viv_kvm = &vm;
    viv_vcpus = all;
    viv_dev_lock();
    g_assert_cmpint(viv_ram_new("vram", VIV_MIB, &d.ram, &err), ==, 0);
    g_assert_cmpint(viv_kvm_memory_init(&err), ==, 0);
    for (viv_vcpu_count = 1; viv_vcpu_count <= 2; viv_vcpu_count++) {
        struct viv_region *r = viv_region_new(vm.mem, &d);
        unsigned long dirty[VIV_MIB / VIV_PAGE_SIZE / 64] = {0};
        struct viv_ram_log *log;

        viv_vcpu_self = &cpus[0]; /* in an exit */
        viv_region_map(r, 16 * VIV_MIB, 0);
        g_assert_cmpint(viv_ram_log_start(d.ram, &log), ==, 0);
        viv_region_unmap(r);
        g_assert_cmpint(viv_ram_log_sync(log, dirty), ==, 0);
        for (unsigned n = 0; n < G_N_ELEMENTS(dirty); n++)
            g_assert_cmphex(dirty[n], ==, viv_vcpu_count > 1 ? ~0ul : 0);
        viv_ram_log_stop(log);
        viv_vcpu_self = NULL;
    }
    viv_vcpu_count = 0;
    viv_dev_unlock();
    g_free(vm.slots);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm-memory/a20", test_a20);
    g_test_add_func("/kvm-memory/log-of-slot", test_log_of_slot);
    return g_test_run();
}
