/* Breakpoints, watchpoints and steps of a debugger outside the guest, by KVM_SET_GUEST_DEBUG.
 *
 * While the VM runs, breakpoints are INT3 in guest memory; nobody but the guest sees them. Watchpoints, and breakpoints where nothing is
 * mapped yet, take the CPU's debug registers: the kernel keeps the guest's own, which do nothing meanwhile. While a CPU steps there are
 * no breakpoints: others wait, and it is to leave the one that it stands at. */
#include "accel/kvm/kvm_int.h"

#include "bus/vmreq.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/state.h"

enum {
    DR6_REGISTERS = 0xf, /* SDM 3B 17.2.3, 17.2.4 */
    DR6_STEP = 1 << 14,
    DR7_FIXED = 1 << 10,
    DR7_GLOBAL_EXACT = 1 << 9,
    DEBUG_VECTOR = 1,
    BREAKPOINT_VECTOR = 3,
    INT3 = 0xcc,
    PAGE = 4096,
};

struct patch {
    uint64_t lin;
    uint8_t *at, old;
};

/* Written while no vCPU runs, then read by all. */
static struct patch patches[VIV_BREAKS_MAX];
static unsigned patch_count;
static struct patch places[VIV_BREAKS_MAX]; /* where breakpoints stood when they were last looked for */
static unsigned place_count;
static struct viv_break_register registers[VIV_BREAK_REGISTERS];
static unsigned register_count;
static bool no_int3;

static uint8_t *host_address(uint64_t gpa)
{
    struct viv_space_range r;

    if (!viv_space_find(viv_kvm->mem, gpa, &r) || !r.hva || r.kind != VIV_REGION_RAM)
        return NULL;
    return r.hva + (gpa - r.start);
}

/* A CPU that was never started, or has no paging while others have, knows nothing of the addresses that people mean. */
static bool may_know(const struct viv_x86 *c, uint64_t lin)
{
    bool paging = c->cr0 & VIV_CR0_PG;

    if (c->wait_sipi || (lin >> 32 && !(c->msr.efer & VIV_EFER_LMA)))
        return false;
    for (unsigned i = 0; i < viv_vcpu_count && !paging; i++) {
        if (viv_vcpus[i]->x86->cr0 & VIV_CR0_PG)
            return false;
    }
    return true;
}

/* By the page tables of any CPU: those of the first may be a process's that does not have it. */
static uint8_t *mapped_at(uint64_t lin)
{
    uint64_t gpa;

    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_x86 *c = viv_vcpus[i]->x86;
        uint8_t *at = may_know(c, lin) && viv_mmu_translate_debug(c, lin, &gpa) ? host_address(gpa) : NULL;

        if (at)
            return at;
    }
    return NULL;
}

/* In user mode the kernel's text may be mapped by no CPU: then where it was counts. */
static uint8_t *memory_at(uint64_t lin)
{
    uint8_t *at = mapped_at(lin);
    unsigned i;

    for (i = 0; i < place_count && places[i].lin != lin; i++)
        ;
    if (!at)
        return i < place_count ? places[i].at : NULL;
    if (i < VIV_BREAKS_MAX) {
        places[i] = (struct patch){.lin = lin, .at = at};
        place_count = i == place_count ? i + 1 : place_count;
    }
    return at;
}

static bool in_memory(uint64_t lin)
{
    return !no_int3 && memory_at(lin) != NULL;
}

void viv_kvm_debug_init(bool emulates)
{
    no_int3 = emulates; /* the kernel's emulator gives INT3 to the guest, and looks at debug registers only for breakpoints */
    viv_break_use_registers(in_memory);
}

static bool any_steps(void)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        if (viv_vcpus[i]->x86->breaks.on & VIV_BREAK_ON_STEP)
            return true;
    }
    return false;
}

static void write_breakpoints(void)
{
    uint64_t lin;

    for (unsigned n = 0; viv_break_exec(n, &lin); n++) {
        uint8_t *at = no_int3 ? NULL : memory_at(lin);

        if (!at)
            continue;
        patches[patch_count++] = (struct patch){lin, at, *at};
        *at = INT3;
    }
}

void viv_kvm_debug_running(bool running)
{
    /* Backwards: two may be at one place. What the guest has written there meanwhile stays. */
    while (patch_count) {
        const struct patch *p = &patches[--patch_count];

        if (*p->at == INT3)
            *p->at = p->old;
    }
    register_count = 0;
    if (!running)
        return;
    if (!viv_break_count()) {
        place_count = 0;
        return;
    }
    register_count = viv_break_registers(registers);
    if (!any_steps())
        write_breakpoints();
}

static uint64_t dr7_of(const struct viv_break_register *r, unsigned i)
{
    static const uint8_t access[] = {[VIV_BREAK_EXEC] = 0, [VIV_BREAK_WRITE] = 1, [VIV_BREAK_ACCESS] = 3};
    static const uint8_t length[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};

    return (uint64_t)2 << 2 * i | (uint64_t)(access[r->kind] | length[r->len] << 2) << (16 + 4 * i);
}

static void fill_registers(struct kvm_guest_debug *d, bool step)
{
    d->arch.debugreg[7] = DR7_FIXED | DR7_GLOBAL_EXACT;
    for (unsigned i = 0; i < register_count; i++) {
        d->arch.debugreg[i] = registers[i].lin;
        if (!step || registers[i].kind != VIV_BREAK_EXEC)
            d->arch.debugreg[7] |= dr7_of(&registers[i], i);
    }
    d->control |= KVM_GUESTDBG_USE_HW_BP;
}

static uint32_t step_bits(bool mask_irqs)
{
    bool can_mask = viv_kvm_cap(KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;

    return KVM_GUESTDBG_SINGLESTEP | (mask_irqs && can_mask ? KVM_GUESTDBG_BLOCKIRQ : 0);
}

int viv_kvm_put_debug(struct kvm_cpu *k, struct viv_err *err)
{
    const struct viv_break_cpu *b = &k->v->x86->breaks;
    struct kvm_guest_debug d = {.control = b->on ? KVM_GUESTDBG_ENABLE : 0};
    bool step = b->on & VIV_BREAK_ON_STEP;
    int ret;

    k->over = NULL;
    if (!b->on && !k->debugged)
        return 0;
    if (register_count)
        fill_registers(&d, step);
    if (patch_count)
        d.control |= KVM_GUESTDBG_USE_SW_BP;
    if (step)
        d.control |= step_bits(b->on & VIV_BREAK_ON_MASK);
    ret = viv_kvm_ioctl(k->fd, KVM_SET_GUEST_DEBUG, &d);
    if (ret < 0)
        return viv_fail_os(err, -ret, "this host's KVM does not take breakpoints (KVM_SET_GUEST_DEBUG); -accel xlate does");
    k->debugged = b->on;
    return 0;
}

/* A trap of the guest's own, by its TF, INT1 or INT3: it comes to us as long as there is a debugger. */
static int pass_to_guest(struct kvm_cpu *k, uint8_t vector, uint64_t dr6)
{
    struct kvm_debugregs regs;
    struct kvm_vcpu_events events;

    if (viv_kvm_ioctl(k->fd, KVM_GET_DEBUGREGS, &regs) < 0 || viv_kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
        return 0;
    if (vector == DEBUG_VECTOR) {
        regs.dr6 |= dr6 & DR6_STEP;
        viv_kvm_ioctl(k->fd, KVM_SET_DEBUGREGS, &regs);
    }
    events.exception.injected = 1;
    events.exception.nr = vector;
    events.exception.has_error_code = 0;
    viv_kvm_ioctl(k->fd, KVM_SET_VCPU_EVENTS, &events);
    return 0;
}

/* The breakpoint whose INT3 was met at `pc`, NULL: it is the guest's own. Another mapping of the same byte counts. */
static const struct patch *patch_at(struct kvm_cpu *k, uint64_t pc)
{
    struct kvm_translation t = {.linear_address = pc};
    uint8_t *at = NULL;

    for (unsigned i = 0; i < patch_count; i++) {
        if (patches[i].lin == pc)
            return &patches[i];
    }
    if (viv_kvm_ioctl(k->fd, KVM_TRANSLATE, &t) == 0 && t.valid)
        at = host_address(t.physical_address);
    for (unsigned i = 0; at && i < patch_count; i++) {
        if (patches[i].at == at)
            return &patches[i];
    }
    return NULL;
}

/* Another process's mapping of that byte has no breakpoint: this CPU does the instruction that stood there. Others may slip through
 * meanwhile. */
static int step_over(struct kvm_cpu *k, const struct patch *p)
{
    struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP | step_bits(true)};

    k->over = p;
    *p->at = p->old;
    viv_kvm_ioctl(k->fd, KVM_SET_GUEST_DEBUG, &d);
    return 0;
}

static int stepped_over(struct kvm_cpu *k, struct viv_err *err)
{
    *k->over->at = INT3;
    k->over = NULL;
    return viv_kvm_put_debug(k, err);
}

static int stop(struct viv_break_cpu *b, struct viv_break_hit hit)
{
    b->hit = hit;
    b->is_hit = true;
    b->on &= (uint8_t)~(VIV_BREAK_ON_STEP | VIV_BREAK_ON_MASK);
    viv_vm_request(VIV_VM_DEBUG, 0, "breakpoint");
    return 1;
}

static int met_int3(struct kvm_cpu *k, uint64_t pc)
{
    const struct patch *p = patch_at(k, pc);

    if (!p)
        return pass_to_guest(k, BREAKPOINT_VECTOR, 0);
    if (p->lin != pc)
        return step_over(k, p);
    return stop(&k->v->x86->breaks, (struct viv_break_hit){.kind = VIV_BREAK_EXEC, .lin = pc});
}

int viv_kvm_handle_debug(struct kvm_cpu *k, struct viv_err *err)
{
    const struct kvm_debug_exit_arch *e = &k->run->debug.arch;
    struct viv_break_cpu *b = &k->v->x86->breaks;
    unsigned i = (unsigned)__builtin_ctz((unsigned)(e->dr6 & DR6_REGISTERS) | 1u << 4);
    const struct viv_break_register *r = &registers[i];

    if (e->exception == BREAKPOINT_VECTOR)
        return met_int3(k, e->pc);
    if (k->over && e->dr6 & DR6_STEP)
        return stepped_over(k, err);
    if (i < register_count)
        return stop(b, (struct viv_break_hit){.kind = r->kind, .lin = r->kind == VIV_BREAK_EXEC ? e->pc : r->point});
    if (e->dr6 & DR6_STEP && b->on & VIV_BREAK_ON_STEP)
        return stop(b, (struct viv_break_hit){.step = true, .lin = e->pc});
    return pass_to_guest(k, DEBUG_VECTOR, e->dr6);
}
