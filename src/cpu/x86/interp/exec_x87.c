/* x87 arithmetic, loads and stores: the host's x87 unit on guest state, between FXRSTOR and FXSAVE.
 *
 * No exception reaches the host: an unmasked one only sets FSW.ES, and stays pending until the guest's next
 * waiting instruction, where we raise #MF ourselves. The instruction and data pointers are the guest's: kept here,
 * not taken from the host (SDM 1, 8.1.8). FDP is kept as CPUID promises it (always; not "on exceptions only",
 * CPUID.7.EBX[6], which we do not announce). */
#include "cpu/x86/ferr.h"
#include "cpu/x86/interp/x87.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

void viv_x87_to_image(const struct viv_x86_fpu *f, uint8_t *image)
{
    static const uint32_t mxcsr = VIV_MXCSR_HOST;

    memset(image, 0, FX_ST);
    memcpy(image + FX_FCW, &f->fcw, 2);
    memcpy(image + FX_FSW, &f->fsw, 2);
    image[FX_FTW] = f->ftw;
    memcpy(image + FX_MXCSR, &mxcsr, 4);
    memcpy(image + FX_ST, f->st, 128);
    memset(image + FX_XMM, 0, 512 - FX_XMM);
}

void viv_x87_from_image(struct viv_x86_fpu *f, const uint8_t *image)
{
    memcpy(&f->fcw, image + FX_FCW, 2);
    memcpy(&f->fsw, image + FX_FSW, 2);
    f->ftw = image[FX_FTW];
    memcpy(f->st, image + FX_ST, 128);
}

uint16_t viv_x87_selector(const struct viv_x86 *c, uint16_t sel)
{
    return c->cpuid && viv_cpuid_has(c->cpuid, VIV_FT_ZERO_FCS_FDS) ? 0 : sel;
}

/* A pending unmasked exception. Without CR0.NE a PC's board turns FERR# into IRQ 13 and answers with IGNNE#. The instruction goes on in
 * both cases; the interrupt comes behind it. */
static void pending(struct viv_x86 *c)
{
    if (LIKELY(!(c->fpu.fsw & VIV_FSW_ES)))
        return;
    if (c->cr0 & VIV_CR0_NE)
        viv_x86_raise(c, VIV_MF);
    viv_ferr_pending();
}

void viv_x87_settled(struct viv_x86 *c)
{
    if (!(c->fpu.fsw & VIV_FSW_ES))
        viv_ferr_cleared();
}

void viv_x87_available(struct viv_x86 *c)
{
    if (c->cr0 & (VIV_CR0_EM | VIV_CR0_TS))
        viv_x86_raise(c, VIV_NM);
}

void viv_x87_check(struct viv_x86 *c, bool mmx)
{
    if (mmx && (c->cr0 & VIV_CR0_EM))
        viv_x86_ud(c);
    viv_x87_available(c);
    pending(c);
}

static void run_image(struct viv_x86 *c, struct viv_x87_io *io, const void *stub)
{
    viv_x87_to_image(&c->fpu, io->image);
    io->arith = c->arith;
    viv_run_x87(io, stub);
}

/* A waiting instruction. With IGNNE# it runs although an exception is pending, of which the host's x87 must not know. */
static void run_waiting(struct viv_x86 *c, struct viv_x87_io *io, const void *stub)
{
    uint16_t was = c->fpu.fsw, fsw, fcw;

    if (LIKELY(!(was & VIV_FSW_ES))) {
        run_image(c, io, stub);
        return;
    }
    c->fpu.fsw &= (uint16_t)~(VIV_FSW_ES | VIV_FSW_B | VIV_X87_FLAGS);
    run_image(c, io, stub);
    c->fpu.fsw = was;
    memcpy(&fsw, io->image + FX_FSW, 2);
    memcpy(&fcw, io->image + FX_FCW, 2);
    fsw |= was & VIV_X87_FLAGS;
    if (fsw & ~fcw & VIV_X87_FLAGS)
        fsw |= VIV_FSW_ES | VIV_FSW_B;
    memcpy(io->image + FX_FSW, &fsw, 2);
}

static const void *reg_stub(const struct viv_insn *i)
{
    return viv_stubs_x87_reg[(i->opcode & 7) << 6 | (i->modrm & 63)];
}

static const void *mem_stub(const struct viv_insn *i)
{
    return viv_stubs_x87_mem[(i->opcode & 7) << 3 | (i->modrm >> 3 & 7)];
}

static unsigned operand_bytes(const struct viv_insn *i)
{
    switch (viv_operand_info[i->row->operand[0]].size) {
    case VIV_SZ_W: return 2;
    case VIV_SZ_D: return 4;
    case VIV_SZ_Q: return 8;
    default: return 10;
    }
}

/* Last instruction and operand. */
static void pointers(struct viv_x86 *c, const struct viv_insn *i)
{
    struct viv_x86_fpu *f = &c->fpu;

    f->fop = (i->opcode & 7) << 8 | i->modrm;
    f->fip = c->rip;
    f->fcs = c->seg[VIV_CS].sel;
    if (i->mem) {
        f->fdp = ea_of(c, i);
        f->fds = c->seg[i->seg].sel;
    }
}

EXEC(x87_reg)
{
    struct viv_x87_io io;

    viv_x87_check(c, false);
    run_waiting(c, &io, reg_stub(i));
    viv_x87_from_image(&c->fpu, io.image);
    if (i->row->attr & A_FW)
        c->arith = io.arith;
    pointers(c, i);
}

EXEC(x87_load)
{
    struct viv_x87_io io;
    unsigned n;

    viv_x87_check(c, false);
    n = operand_bytes(i);
    if (n == 10)
        align_check(c, linear_of(c, i, n, VIV_ACC_READ), 8);
    vec_load(c, i, io.mem, n, false);
    run_waiting(c, &io, mem_stub(i));
    viv_x87_from_image(&c->fpu, io.image);
    pointers(c, i);
}

/* Whether the instruction stored at all: with some unmasked exceptions it does not. */
static bool stores(struct viv_x86 *c, const struct viv_insn *i, unsigned n)
{
    struct viv_x87_io io;

    memset(io.mem, 0, n);
    run_waiting(c, &io, mem_stub(i));
    for (unsigned k = 0; k < n; k++) {
        if (io.mem[k])
            return true;
    }
    memset(io.mem, 0xff, n);
    run_waiting(c, &io, mem_stub(i));
    for (unsigned k = 0; k < n; k++) {
        if (io.mem[k] != 0xff)
            return true;
    }
    return false;
}

EXEC(x87_store)
{
    unsigned n = operand_bytes(i);
    struct viv_x87_io io;
    uint16_t fsw;

    viv_x87_check(c, false);
    run_waiting(c, &io, mem_stub(i));
    memcpy(&fsw, io.image + FX_FSW, 2);
    if (LIKELY(!(fsw & VIV_FSW_ES)) || stores(c, i, n)) {
        if (n == 10)
            align_check(c, linear_of(c, i, n, VIV_ACC_WRITE), 8);
        vec_store(c, i, io.mem, n, false);
    }
    viv_x87_from_image(&c->fpu, io.image);
    pointers(c, i);
}

/* FENI, FDISI, FSETPM: no-operations since the 387, not even waiting. */
EXEC(x87_nop)
{
    viv_x87_available(c);
}

EXEC(fwait)
{
    if ((c->cr0 & (VIV_CR0_MP | VIV_CR0_TS)) == (VIV_CR0_MP | VIV_CR0_TS))
        viv_x86_raise(c, VIV_NM);
    pending(c);
}

EXEC(fldcw)
{
    struct viv_x87_io io;
    u16 v;

    viv_x87_check(c, false);
    v = op_ld16(c, i);
    memcpy(io.mem, &v, 2);
    run_waiting(c, &io, mem_stub(i)); /* an unmasked flag that is set makes it pending */
    viv_x87_from_image(&c->fpu, io.image);
    viv_x87_settled(c);
}

EXEC(fnstcw)
{
    viv_x87_available(c);
    op_st16(c, i, c->fpu.fcw);
}

EXEC(fnstsw_m)
{
    viv_x87_available(c);
    op_st16(c, i, c->fpu.fsw);
}

EXEC(fnstsw_ax)
{
    viv_x87_available(c);
    set_reg16(c, VIV_RAX, c->fpu.fsw);
}

EXEC(fnclex)
{
    struct viv_x87_io io;

    viv_x87_available(c);
    run_image(c, &io, reg_stub(i));
    viv_x87_from_image(&c->fpu, io.image);
    viv_x87_settled(c);
}

EXEC(fninit)
{
    struct viv_x86_fpu *f = &c->fpu;

    viv_x87_available(c);
    viv_exec_fnclex(c, i); /* runs FNINIT: the stub follows the opcode */
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
}
