/* Interrupt messages between CPUs and from devices: who is meant, and how it is told (SDM 3A 10.6, 10.11). Any thread. */
#include "cpu/x86/apic_int.h"

#include "base/log.h"

static int extint_line;
static unsigned lowest_turn; /* rotates lowest-priority delivery */

int viv_apic_extint_level(void)
{
    return __atomic_load_n(&extint_line, __ATOMIC_SEQ_CST);
}

void viv_apic_set_extint(int level)
{
    __atomic_store_n(&extint_line, level, __ATOMIC_SEQ_CST);
    /* Whoever has LINT0 unmasked takes it; the others find nothing. */
    for (unsigned i = 0; level && i < viv_vcpu_count; i++)
        viv_vcpu_request(viv_vcpus[i], VIV_REQ_INTR);
}

static bool in_x2(const struct viv_apic *a)
{
    return __atomic_load_n(&a->base, __ATOMIC_RELAXED) & VIV_APIC_BASE_X2;
}

static bool matches_physical(const struct viv_apic *a, uint32_t dest, bool wide)
{
    if (dest == (wide ? 0xffffffffu : 0xffu))
        return true;
    return in_x2(a) ? __atomic_load_n(&a->x2id, __ATOMIC_RELAXED) == dest
                    : __atomic_load_n(&a->id, __ATOMIC_RELAXED) == dest;
}

static bool matches_logical(const struct viv_apic *a, uint32_t dest, bool wide)
{
    uint32_t ldr;

    if (in_x2(a)) {
        uint32_t id = __atomic_load_n(&a->x2id, __ATOMIC_RELAXED);

        if (dest == (wide ? 0xffffffffu : 0xffu))
            return true;
        /* An 8-bit destination can only name cluster 0. */
        return dest >> 16 == id >> 4 && (dest >> (id & 15) & 1);
    }
    if (wide && dest == 0xffffffffu)
        return true;
    ldr = __atomic_load_n(&a->ldr, __ATOMIC_RELAXED) >> 24;
    if (__atomic_load_n(&a->dfr, __ATOMIC_RELAXED) >> 28 == 0xf) /* flat */
        return ldr & dest & 0xff;
    if (dest == 0xff)
        return true;
    return ldr >> 4 == (dest >> 4 & 15) && (ldr & dest & 15);
}

/* False: it has no effect, because the APIC is disabled by software. */
static bool deliver(struct viv_apic *a, unsigned dm, uint8_t vector, bool level)
{
    switch (dm) {
    case VIV_DM_FIXED:
    case VIV_DM_LOWEST:
        if (!viv_apic_sw_enabled(a))
            return false;
        viv_apic_accept(a, vector, level);
        break;
    case VIV_DM_SMI:
        viv_vcpu_request(a->vcpu, VIV_REQ_SMI);
        break;
    case VIV_DM_NMI:
        viv_vcpu_request(a->vcpu, VIV_REQ_NMI);
        break;
    case VIV_DM_INIT:
        viv_vcpu_request(a->vcpu, VIV_REQ_INIT);
        break;
    case VIV_DM_SIPI:
        atomic_store(&a->vcpu->sipi_vector, vector);
        viv_vcpu_request(a->vcpu, VIV_REQ_SIPI);
        break;
    default:
        return false;
    }
    return true;
}

struct message {
    uint32_t dest;
    bool logical, wide; /* wide: dest has 32 bits */
    bool level;
    unsigned dm;
    uint8_t vector;
    const struct viv_apic *not_to; /* shorthand "all but self" */
    bool all;                      /* both broadcasts */
};

static bool is_for(const struct message *m, const struct viv_apic *a)
{
    if (!a || a == m->not_to || !(__atomic_load_n(&a->base, __ATOMIC_RELAXED) & VIV_APIC_BASE_ENABLE))
        return false;
    if (m->all)
        return true;
    return m->logical ? matches_logical(a, m->dest, m->wide) : matches_physical(a, m->dest, m->wide);
}

/* Lowest priority: any one of those meant will do; they take turns. Software-disabled APICs do not take part. */
static void send_lowest(const struct message *m)
{
    unsigned turn = __atomic_fetch_add(&lowest_turn, 1, __ATOMIC_RELAXED);

    for (unsigned n = 0; n < viv_vcpu_count; n++) {
        struct viv_apic *a = viv_vcpus[(turn + n) % viv_vcpu_count]->apic;

        if (is_for(m, a) && viv_apic_sw_enabled(a)) {
            deliver(a, m->dm, m->vector, m->level);
            return;
        }
    }
}

static void send(const struct message *m)
{
    if (m->dm == VIV_DM_LOWEST) {
        send_lowest(m);
        return;
    }
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        if (is_for(m, viv_vcpus[i]->apic))
            deliver(viv_vcpus[i]->apic, m->dm, m->vector, m->level);
    }
}

/* MSI (SDM 3A 10.11): address 0xfee, destination 19-12, redirection hint 3, destination mode 2. */
void viv_apic_send_msi(uint64_t addr, uint32_t data)
{
    struct message m = {
        .dest = (uint32_t)(addr >> 12) & 0xff,
        .logical = addr & 4,
        .level = data & 0x8000,
        .dm = VIV_DELIVERY(data),
        .vector = (uint8_t)data,
    };

    if ((addr & 0xfff00000) != VIV_APIC_DEFAULT_BASE || addr >> 32) {
        viv_guest_error("apic", "interrupt message to %#llx goes nowhere", (unsigned long long)addr);
        return;
    }
    if (m.dm == VIV_DM_EXTINT) {
        /* From an IO-APIC pin in ExtINT mode: the CPU asks the 8259 itself, if its line is up. */
        viv_apic_set_extint(viv_apic_extint_level());
        return;
    }
    send(&m);
}

void viv_apic_send_ipi(struct viv_apic *a, uint32_t icr, uint32_t dest)
{
    unsigned shorthand = icr >> 18 & 3;
    struct message m = {
        .dest = dest,
        .logical = icr & 0x800,
        .wide = in_x2(a),
        .dm = VIV_DELIVERY(icr),
        .vector = (uint8_t)icr,
        .all = shorthand >= 2,
        .not_to = shorthand == 3 ? a : NULL,
    };

    if (m.dm == VIV_DM_INIT && (icr & 0xc000) == 0x8000)
        return; /* INIT level de-assert: nothing on current processors */
    if ((m.dm == VIV_DM_FIXED || m.dm == VIV_DM_LOWEST) && m.vector < 16) {
        viv_apic_error(a, VIV_ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == 1)
        deliver(a, m.dm, m.vector, false);
    else
        send(&m);
}

unsigned viv_apic_send_bitmap(const uint64_t set[2], uint32_t first, uint32_t icr)
{
    unsigned count = 0;

    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_apic *a = viv_vcpus[i]->apic;
        uint32_t n;

        if (!a || !(__atomic_load_n(&a->base, __ATOMIC_RELAXED) & VIV_APIC_BASE_ENABLE))
            continue;
        n = __atomic_load_n(in_x2(a) ? &a->x2id : &a->id, __ATOMIC_RELAXED);
        if (n < first || n - first > 127 || !(set[(n - first) >> 6] >> ((n - first) & 63) & 1))
            continue;
        count += deliver(a, VIV_DELIVERY(icr), (uint8_t)icr, false);
    }
    return count;
}
