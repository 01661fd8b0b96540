/* Time without exits: a page that says which guest time belongs to which TSC, and how fast it runs.
 *
 * TSC and guest clock stand still together while the VM is stopped and the TSC is the same on all CPUs, so the page
 * of each CPU is written once and stays true (flag TSC_STABLE). The pair (TSC, ns) in it is taken once a VM: two
 * pages with pairs taken at different moments would differ by the rounding of the multiplier. */
#include "cpu/x86/kvmclock.h"

#include "cpu/x86/cpuid.h"
#include "cpu/x86/msr.h"
#include "host/clock.h"
#include "mem/dma.h"

#include <pthread.h>

#define TSC_STABLE 1

struct time_info {
    uint32_t version, pad0;
    uint64_t tsc_timestamp, system_time;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad[2];
} __attribute__((packed));

struct wall_clock {
    uint32_t version, sec, nsec;
} __attribute__((packed));

static pthread_mutex_t base_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t base_tsc, base_ns;

static void take_base(uint64_t *tsc, uint64_t *ns)
{
    pthread_mutex_lock(&base_lock);
    if (!base_tsc && !base_ns) {
        base_tsc = viv_guest_tsc();
        base_ns = (uint64_t)viv_clock_ns(VIV_CLOCK_GUEST);
    }
    *tsc = base_tsc;
    *ns = base_ns;
    pthread_mutex_unlock(&base_lock);
}

void viv_kvmclock_get_base(uint64_t *tsc, uint64_t *ns)
{
    pthread_mutex_lock(&base_lock);
    *tsc = base_tsc;
    *ns = base_ns;
    pthread_mutex_unlock(&base_lock);
}

void viv_kvmclock_set_base(uint64_t tsc, uint64_t ns)
{
    pthread_mutex_lock(&base_lock);
    base_tsc = tsc;
    base_ns = ns;
    pthread_mutex_unlock(&base_lock);
}

void viv_kvmclock_scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
    uint64_t scaled = 1000000000, base = hz;
    int8_t s = 0;

    while (base > scaled * 2 || base >> 32) {
        base >>= 1;
        s--;
    }
    while ((uint32_t)base <= scaled) {
        if (scaled >> 32 || base >> 31)
            scaled >>= 1;
        else
            base <<= 1;
        s++;
    }
    *shift = s;
    *mul = (uint32_t)((scaled << 32) / base);
}

/* The page is where the guest's system said, so what is written there is what the system could write: never SMRAM, although a handler that
 * sets the TSC brings it about. */
static void write_page(struct viv_x86 *c, uint64_t gpa)
{
    struct time_info t = {.flags = TSC_STABLE};
    uint32_t version = 0, mul;
    uint64_t tsc, ns;

    take_base(&tsc, &ns);
    if (viv_dma_read(c->mem_outside, gpa, &version, 4) < 0)
        return;
    version = (version | 1) + (version & 1 ? 2 : 0);
    t.tsc_timestamp = tsc + (uint64_t)c->tsc_offset;
    t.system_time = ns;
    viv_kvmclock_scale(viv_tsc_hz(), &mul, &t.shift);
    t.mul = mul;
    /* Odd while the rest changes, then even. */
    viv_dma_write(c->mem_outside, gpa, &version, 4);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    viv_dma_write(c->mem_outside, gpa + 4, (const uint8_t *)&t + 4, sizeof(t) - 4);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    version++;
    viv_dma_write(c->mem_outside, gpa, &version, 4);
}

static void write_wall_clock(struct viv_x86 *c, uint64_t gpa)
{
    int64_t boot = viv_clock_wall_ns() - viv_clock_ns(VIV_CLOCK_GUEST);
    struct wall_clock w = {.sec = (uint32_t)(boot / 1000000000), .nsec = (uint32_t)(boot % 1000000000)};
    uint32_t version = 0;

    if (viv_dma_read(c->mem_outside, gpa, &version, 4) < 0)
        return;
    version = (version | 1) + (version & 1 ? 2 : 0);
    w.version = version;
    viv_dma_write(c->mem_outside, gpa, &w, sizeof(w));
    version++;
    viv_dma_write(c->mem_outside, gpa, &version, 4);
}

void viv_kvmclock_tsc_changed(struct viv_x86 *c)
{
    if (c->msr.kvm_system_time & 1)
        write_page(c, c->msr.kvm_system_time & ~1ull);
}

static bool is_wall(const struct viv_x86 *c, uint32_t index)
{
    return (index == 0x11 && viv_cpuid_has(c->cpuid, VIV_FT_KVMCLOCK_OLD)) ||
           (index == 0x4b564d00 && viv_cpuid_has(c->cpuid, VIV_FT_KVMCLOCK2));
}

static bool is_system(const struct viv_x86 *c, uint32_t index)
{
    return (index == 0x12 && viv_cpuid_has(c->cpuid, VIV_FT_KVMCLOCK_OLD)) ||
           (index == 0x4b564d01 && viv_cpuid_has(c->cpuid, VIV_FT_KVMCLOCK2));
}

bool viv_kvm_msr_read(struct viv_x86 *c, uint32_t index, uint64_t *v)
{
    if (is_wall(c, index))
        *v = c->msr.kvm_wall_clock;
    else if (is_system(c, index))
        *v = c->msr.kvm_system_time;
    else
        return false;
    return true;
}

bool viv_kvm_msr_write(struct viv_x86 *c, uint32_t index, uint64_t v)
{
    if (is_wall(c, index)) {
        c->msr.kvm_wall_clock = v;
        write_wall_clock(c, v & ~3ull);
    } else if (is_system(c, index)) {
        c->msr.kvm_system_time = v;
        if (v & 1)
            write_page(c, v & ~1ull);
    } else {
        return false;
    }
    return true;
}
