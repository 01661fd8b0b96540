/* FNSTENV, FLDENV, FNSAVE, FRSTOR (SDM 1, figures 8-9 to 8-12).
 *
 * The host's instruction handles control, status, tags and registers in its only format, 28 bytes (32-bit protected
 * mode) + 80; the guest's format and the guest's pointers are put in or taken out around it. */
#include "cpu/x86/interp/x87.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

struct env { /* the host's */
    uint32_t fcw, fsw, ftw, fip, fcs_fop, fdp, fds;
};

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static uint32_t get16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

static bool real_format(const struct viv_x86 *c)
{
    return c->mode == VIV_MODE_REAL || c->mode == VIV_MODE_V86;
}

static unsigned env_size(const struct viv_insn *i)
{
    return i->osz == 2 ? 14 : 28;
}

/* Real mode has linear addresses: selector * 16 + offset, and the opcode. */
static void put_env(const struct viv_x86 *c, const struct viv_insn *i, const struct env *e,
                    uint8_t *out)
{
    const struct viv_x86_fpu *f = &c->fpu;
    uint16_t fcs = viv_x87_selector(c, f->fcs), fds = viv_x87_selector(c, f->fds);
    uint32_t ip = (uint32_t)(f->fip + fcs * 16u), dp = (uint32_t)(f->fdp + fds * 16u);

    if (i->osz == 2) {
        put16(out, e->fcw);
        put16(out + 2, e->fsw);
        put16(out + 4, e->ftw);
        put16(out + 6, real_format(c) ? ip : (uint32_t)f->fip);
        put16(out + 8, real_format(c) ? (ip >> 4 & 0xf000) | (f->fop & 0x7ff) : fcs);
        put16(out + 10, real_format(c) ? dp : (uint32_t)f->fdp);
        put16(out + 12, real_format(c) ? dp >> 4 & 0xf000 : fds);
        return;
    }
    put32(out, e->fcw);
    put32(out + 4, e->fsw);
    put32(out + 8, e->ftw);
    if (real_format(c)) {
        put32(out + 12, 0xffff0000u | (ip & 0xffff));
        put32(out + 16, (ip >> 4 & 0x0ffff000) | (f->fop & 0x7ff));
        put32(out + 20, 0xffff0000u | (dp & 0xffff));
        put32(out + 24, dp >> 4 & 0x0ffff000);
        return;
    }
    put32(out + 12, (uint32_t)f->fip);
    put32(out + 16, fcs | (uint32_t)(f->fop & 0x7ff) << 16);
    put32(out + 20, (uint32_t)f->fdp);
    put32(out + 24, 0xffff0000u | fds);
}

/* Takes the pointers into f. */
static void get_env(const struct viv_x86 *c, const struct viv_insn *i, const uint8_t *in,
                    struct env *e, struct viv_x86_fpu *f)
{
    memset(e, 0, sizeof(*e));
    if (i->osz == 2) {
        e->fcw = 0xffff0000u | get16(in);
        e->fsw = 0xffff0000u | get16(in + 2);
        e->ftw = 0xffff0000u | get16(in + 4);
        f->fip = get16(in + 6);
        f->fdp = get16(in + 10);
        f->fop = real_format(c) ? get16(in + 8) & 0x7ff : f->fop;
        f->fcs = real_format(c) ? 0 : get16(in + 8);
        f->fds = real_format(c) ? 0 : get16(in + 12);
        if (real_format(c)) {
            f->fip |= (get16(in + 8) & 0xf000) << 4;
            f->fdp |= (get16(in + 12) & 0xf000) << 4;
        } else {
            f->fop = 0;
        }
        return;
    }
    e->fcw = get32(in);
    e->fsw = get32(in + 4);
    e->ftw = get32(in + 8);
    if (real_format(c)) {
        f->fip = get16(in + 12) | (get32(in + 16) & 0x0ffff000) << 4;
        f->fop = get32(in + 16) & 0x7ff;
        f->fdp = get16(in + 20) | (get32(in + 24) & 0x0ffff000) << 4;
        f->fcs = f->fds = 0;
        return;
    }
    f->fip = get32(in + 12);
    f->fcs = (uint16_t)get16(in + 16);
    f->fop = get32(in + 16) >> 16 & 0x7ff;
    f->fdp = get32(in + 20);
    f->fds = (uint16_t)get16(in + 24);
}

static void run(const struct viv_x86_fpu *f, const struct viv_insn *i, struct viv_x87_io *io)
{
    viv_x87_to_image(f, io->image);
    io->arith = 0;
    viv_run_x87(io, viv_stubs_x87_mem[(i->opcode & 7) << 3 | (i->modrm >> 3 & 7)]);
}

/* FNSTENV: 0 bytes of registers follow; FNSAVE: 80. */
static void save(struct viv_x86 *c, const struct viv_insn *i, unsigned regs)
{
    unsigned n = env_size(i);
    struct viv_x87_io io;
    uint8_t out[108];
    struct env e;

    viv_x87_available(c);
    run(&c->fpu, i, &io);
    memcpy(&e, io.mem, sizeof(e));
    put_env(c, i, &e, out);
    memcpy(out + n, io.mem + 28, regs);
    align_check(c, linear_of(c, i, n + regs, VIV_ACC_WRITE), i->osz == 2 ? 2 : 4);
    vec_store(c, i, out, n + regs, false);
    viv_x87_from_image(&c->fpu, io.image);
}

EXEC(fnstenv)
{
    save(c, i, 0);
    viv_x87_settled(c); /* it masks all */
}

EXEC(fnsave)
{
    struct viv_x86_fpu *f = &c->fpu;

    save(c, i, 80);
    viv_x87_settled(c);
    f->fop = f->fcs = f->fds = 0; /* as FNINIT */
    f->fip = f->fdp = 0;
}

static void restore(struct viv_x86 *c, const struct viv_insn *i, unsigned regs)
{
    unsigned n = env_size(i);
    struct viv_x86_fpu f;
    struct viv_x87_io io;
    uint8_t in[108];
    struct env e;

    viv_x87_check(c, false);
    align_check(c, linear_of(c, i, n + regs, VIV_ACC_READ), i->osz == 2 ? 2 : 4);
    vec_load(c, i, in, n + regs, false);
    f = c->fpu;
    get_env(c, i, in, &e, &f);
    memcpy(io.mem, &e, sizeof(e));
    memcpy(io.mem + 28, in + n, regs);
    /* Replaced; what was pending was waited for, or is ignored (IGNNE#). TOP says where the registers are that FLDENV keeps. */
    f.fsw &= (uint16_t)~(VIV_FSW_ES | VIV_FSW_B | VIV_X87_FLAGS);
    run(&f, i, &io);
    viv_x87_from_image(&f, io.image);
    c->fpu = f;
    viv_x87_settled(c);
}

EXEC(fldenv) { restore(c, i, 0); }
EXEC(frstor) { restore(c, i, 80); }
