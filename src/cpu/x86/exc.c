/* Raising exceptions, and combining those that come while another is delivered (SDM 3A table 6-5). */
#include "cpu/x86/exc_int.h"

#include "base/log.h"
#include "bus/vmreq.h"
#include "cpu/vcpu.h"
#include "cpu/x86/debug.h"
#include "cpu/x86/interp/interp.h"
#include "cpu/x86/regs_text.h"
#include "cpu/x86/seg.h"

static _Noreturn void raise_any(struct viv_x86 *c, unsigned vector, bool has_error, uint32_t error)
{
    struct viv_interp *it = c->interp;

    it->exc_pending = true;
    it->exc_vector = (uint8_t)vector;
    it->exc_has_error = has_error;
    it->exc_error = error;
    _longjmp(it->jmp, 1);
}

void viv_x86_raise(struct viv_x86 *c, unsigned vector)
{
    raise_any(c, vector, false, 0);
}

void viv_x86_raise_error(struct viv_x86 *c, unsigned vector, uint32_t error)
{
    if (vector != VIV_AC && vector != VIV_PF)
        error |= viv_exc_ext(c);
    raise_any(c, vector, true, error);
}

void viv_x86_raise_pf(struct viv_x86 *c, uint64_t linear, uint32_t error)
{
    c->cr2 = linear;
    viv_log(VIV_LOG_MMU, "cpu%u: page fault at %#llx error %#x rip %#llx",
            c->vcpu ? c->vcpu->index : 0, (unsigned long long)linear, error,
            (unsigned long long)c->rip);
    raise_any(c, VIV_PF, true, error);
}

void viv_x86_gp0(struct viv_x86 *c)
{
    viv_x86_raise_error(c, VIV_GP, 0);
}

void viv_x86_ud(struct viv_x86 *c)
{
    viv_x86_raise(c, VIV_UD);
}

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE };

static enum class class_of(unsigned vector)
{
    switch (vector) {
    case VIV_DE: case VIV_TS: case VIV_NP: case VIV_SSF: case VIV_GP:
        return CONTRIBUTORY;
    case VIV_PF:
        return PAGE_FAULT;
    case VIV_DF:
        return DOUBLE;
    default:
        return BENIGN;
    }
}

static void triple_fault(struct viv_x86 *c)
{
    if (viv_log_on(VIV_LOG_CPU_RESET))
        viv_x86_log_regs(VIV_LOG_CPU_RESET, c, "Triple fault at %04x:%llx, last vector %u", c->seg[VIV_CS].sel,
                         (unsigned long long)c->rip, c->deliver_vector);
    c->delivering = false;
    c->shutdown = true;
}

/* Data breakpoints and a debugger's watchpoints are traps: of an instruction that did not come to its end nothing remains (17.3.1.2). */
static void drop_data_hits(struct viv_x86 *c)
{
    c->pending_db = c->deferred_db;
    if (c->breaks.is_hit) {
        c->breaks.is_hit = false;
        viv_debug_attention(c);
    }
}

void viv_x86_deliver_pending(struct viv_x86 *c)
{
    struct viv_interp *it = c->interp;
    unsigned vector = it->exc_vector;
    bool has_error = it->exc_has_error;
    uint32_t error = it->exc_error;

    if (!it->exc_pending)
        return;
    it->exc_pending = false;
    c->step_armed = false;
    drop_data_hits(c);
    if (c->delivering && c->deliver_kind == VIV_EV_FAULT) {
        enum class first = class_of(c->deliver_vector), second = class_of(vector);

        if (first == DOUBLE && second != BENIGN) {
            triple_fault(c);
            return;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE_FAULT && second != BENIGN)) {
            vector = VIV_DF;
            has_error = true;
            error = 0;
        }
    }
    viv_x86_deliver(c, VIV_EV_FAULT, vector, has_error, error);
}
