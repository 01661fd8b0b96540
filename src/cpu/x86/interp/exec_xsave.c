/* FXSAVE, FXRSTOR and the XSAVE family (SDM 1 chapter 13; APM 2, 11.5).
 *
 * An image is written as a list of pieces: all of them are checked for faults before the first is stored, and bytes
 * that the manual leaves alone are not touched. On restore everything is read and checked before any state
 * changes. */
#include "cpu/x86/interp/x87.h"
#include "cpu/x86/mmu_int.h"

#define EXEC(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i)

#define KNOWN (VIV_XCR0_X87 | VIV_XCR0_AVX512 | VIV_XCR0_PKRU)
#define XCOMP_COMPACT (1ull << 63)
#define HEADER 512
#define LEGACY_AND_HEADER 576
#define AREA_MAX 4096

struct piece {
    unsigned offset, len;
    const void *data;
};

struct pieces {
    struct piece p[16];
    unsigned n;
};

static void add(struct pieces *s, unsigned offset, const void *data, unsigned len)
{
    s->p[s->n++] = (struct piece){offset, len, data};
}

static void store(struct viv_x86 *c, u64 lin, const struct pieces *s)
{
    for (unsigned k = 0; k < s->n; k++)
        viv_probe(c, lin + s->p[k].offset, s->p[k].len, VIV_ACC_WRITE);
    for (unsigned k = 0; k < s->n; k++)
        viv_st_bytes(c, lin + s->p[k].offset, s->p[k].data, s->p[k].len);
}

static unsigned xmm_count(const struct viv_x86 *c)
{
    return c->mode == VIV_MODE_LONG ? 16 : 8;
}

/* FCW to FDP: 24 bytes. */
static void put_x87_head(const struct viv_x86 *c, const struct viv_insn *i, uint8_t *out)
{
    const struct viv_x86_fpu *f = &c->fpu;
    uint16_t fop = f->fop & 0x7ff;

    memcpy(out + FX_FCW, &f->fcw, 2);
    memcpy(out + FX_FSW, &f->fsw, 2);
    out[FX_FTW] = f->ftw;
    out[FX_FTW + 1] = 0;
    memcpy(out + FX_FOP, &fop, 2);
    memcpy(out + FX_FIP, &f->fip, 8);
    memcpy(out + FX_FDP, &f->fdp, 8);
    if (i->osz != 8) {
        uint32_t cs = viv_x87_selector(c, f->fcs), ds = viv_x87_selector(c, f->fds);

        memcpy(out + FX_FCS, &cs, 4);
        memcpy(out + FX_FDS, &ds, 4);
    }
}

/* The unit holds as many bits as a linear address has, sign-extended. */
static u64 pointer(const struct viv_x86 *c, const uint8_t *in)
{
    unsigned unused = 64 - (c->cpuid && c->cpuid->virt_bits ? c->cpuid->virt_bits : 48);
    u64 v;

    memcpy(&v, in, 8);
    return (u64)((s64)(v << unused) >> unused);
}

static void get_x87(const struct viv_x86 *c, struct viv_x86_fpu *f, const struct viv_insn *i, const uint8_t *in)
{
    struct viv_x87_io io;

    f->fop = 0;
    memcpy(&f->fop, in + FX_FOP, 2);
    f->fop &= 0x7ff;
    f->fip = pointer(c, in + FX_FIP);
    f->fdp = pointer(c, in + FX_FDP);
    f->fcs = f->fds = 0;
    if (i->osz != 8) {
        memcpy(&f->fcs, in + FX_FCS, 2);
        memcpy(&f->fds, in + FX_FDS, 2);
        f->fip = (uint32_t)f->fip;
        f->fdp = (uint32_t)f->fdp;
    }
    /* What loading does to inconsistent status bits is the host's word. */
    viv_x87_from_image(f, in);
    viv_x87_to_image(f, io.image);
    io.arith = 0;
    viv_run_x87(&io, viv_stub_ret);
    viv_x87_from_image(f, io.image);
}

static void x87_init(struct viv_x86_fpu *f)
{
    f->fcw = 0x37f;
    f->fsw = f->ftw = 0;
    f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
    memset(f->st, 0, sizeof(f->st));
}

static u64 area_linear(struct viv_x86 *c, const struct viv_insn *i, unsigned size, unsigned align,
                       enum viv_access acc)
{
    u64 base = c->mode != VIV_MODE_LONG || i->seg >= VIV_FS ? c->seg[i->seg].base : 0;

    if ((base + ea_of(c, i)) & (align - 1))
        viv_x86_gp0(c);
    return linear_of(c, i, size, acc);
}

/* AMD's fast form leaves the XMM registers out (APM 2, 11.4.4). */
static bool fast_fxsave(const struct viv_x86 *c)
{
    return (c->msr.efer & VIV_EFER_FFXSR) && c->cpl == 0 && c->mode == VIV_MODE_LONG;
}

static void add_x87(struct pieces *s, const struct viv_x86 *c, const uint8_t *head, uint8_t st[128])
{
    memcpy(st, c->fpu.st, 128);
    for (unsigned n = 0; n < 8; n++)
        memset(st + 16 * n + 10, 0, 6);
    add(s, 0, head, 24);
    add(s, FX_ST, st, 128);
}

static void gather_xmm(const struct viv_x86 *c, uint8_t xmm[256])
{
    for (unsigned n = 0; n < 16; n++)
        memcpy(xmm + 16 * n, c->fpu.zmm[n], 16);
}

EXEC(fxsave)
{
    uint32_t mxcsr[2] = {c->fpu.mxcsr, viv_mxcsr_mask()};
    uint8_t head[24], st[128], xmm[256];
    struct pieces s = {.n = 0};
    u64 lin;

    viv_x87_available(c);
    lin = area_linear(c, i, 512, 16, VIV_ACC_WRITE);
    put_x87_head(c, i, head);
    add_x87(&s, c, head, st);
    add(&s, FX_MXCSR, mxcsr, 8);
    gather_xmm(c, xmm);
    if (!fast_fxsave(c))
        add(&s, FX_XMM, xmm, 16 * xmm_count(c));
    viv_probe(c, lin, 512, VIV_ACC_WRITE);
    store(c, lin, &s);
}

EXEC(fxrstor)
{
    uint8_t image[512];
    uint32_t mxcsr;

    viv_x87_available(c);
    viv_ld_bytes(c, area_linear(c, i, 512, 16, VIV_ACC_READ), image, 512);
    memcpy(&mxcsr, image + FX_MXCSR, 4);
    if (mxcsr & ~viv_mxcsr_mask())
        viv_x86_gp0(c);
    get_x87(c, &c->fpu, i, image);
    viv_x87_settled(c);
    c->fpu.mxcsr = mxcsr;
    if (fast_fxsave(c))
        return;
    for (unsigned n = 0; n < xmm_count(c); n++)
        memcpy(c->fpu.zmm[n], image + FX_XMM + 16 * n, 16);
}

static void need_xsave(struct viv_x86 *c)
{
    if (!(c->cr4 & VIV_CR4_OSXSAVE))
        viv_x86_ud(c);
    if (c->cr0 & VIV_CR0_TS)
        viv_x86_raise(c, VIV_NM);
}

static u64 requested(const struct viv_x86 *c)
{
    return (c->gpr[VIV_RDX] << 32 | (u32)c->gpr[VIV_RAX]) & KNOWN;
}

static bool all_zero(const uint8_t *p, unsigned n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Bytes of ZMM_Hi256 and Hi16_ZMM that this mode can reach (SDM 1, 13.5.5). */
static unsigned hi256_bytes(const struct viv_x86 *c)
{
    return 32 * xmm_count(c);
}

static unsigned hi16_bytes(const struct viv_x86 *c)
{
    return c->mode == VIV_MODE_LONG ? 1024 : 0;
}

static bool x87_in_use(const struct viv_x86_fpu *f)
{
    return f->fcw != 0x37f || f->fsw || f->ftw || f->fop || f->fip || f->fdp || f->fcs || f->fds ||
           !all_zero(f->st[0], sizeof(f->st));
}

/* XINUSE: components that differ from their initial state (SDM 1, 13.6). */
static u64 in_use(const struct viv_x86 *c)
{
    u64 v = x87_in_use(&c->fpu) ? VIV_XCR0_X87 : 0;

    for (unsigned n = 0; n < xmm_count(c); n++) {
        if (!all_zero(c->fpu.zmm[n], 16))
            v |= VIV_XCR0_SSE;
        if (!all_zero(c->fpu.zmm[n] + 16, 16))
            v |= VIV_XCR0_AVX;
        if (!all_zero(c->fpu.zmm[n] + 32, 32))
            v |= VIV_XCR0_ZMM_HI256;
    }
    if (!all_zero((const uint8_t *)c->fpu.k, sizeof(c->fpu.k)))
        v |= VIV_XCR0_OPMASK;
    if (!all_zero(c->fpu.zmm[16], hi16_bytes(c))) /* outside 64-bit mode: counts as not in use */
        v |= VIV_XCR0_HI16_ZMM;
    return v | (c->fpu.pkru ? VIV_XCR0_PKRU : 0);
}

/* Where component n (2 or more) lies: standard, or compacted as `comp` says. All ours are aligned. */
static unsigned component_offset(unsigned n, u64 comp, unsigned *size)
{
    uint32_t s = 0, o = 0, at = LEGACY_AND_HEADER;

    if (!(comp & XCOMP_COMPACT)) {
        viv_xsave_component(n, &s, &o);
        *size = s;
        return o;
    }
    for (unsigned k = 2; k < n; k++) {
        if ((comp >> k & 1) && viv_xsave_component(k, &s, &o))
            at += s;
    }
    viv_xsave_component(n, &s, &o);
    *size = s;
    return at;
}

struct save {
    struct pieces s;
    uint8_t head[24], st[128], xmm[256], ymm[256], hi256[512];
    uint32_t mxcsr[2];
    uint64_t header[8], pkru;
};

static void add_avx512(struct save *w, const struct viv_x86 *c, u64 which, u64 comp)
{
    unsigned size;

    if (which & VIV_XCR0_OPMASK)
        add(&w->s, component_offset(5, comp, &size), c->fpu.k, sizeof(c->fpu.k));
    if (which & VIV_XCR0_ZMM_HI256) {
        for (unsigned n = 0; n < 16; n++)
            memcpy(w->hi256 + 32 * n, c->fpu.zmm[n] + 32, 32);
        add(&w->s, component_offset(6, comp, &size), w->hi256, hi256_bytes(c));
    }
    if ((which & VIV_XCR0_HI16_ZMM) && hi16_bytes(c))
        add(&w->s, component_offset(7, comp, &size), c->fpu.zmm[16], 1024);
}

static void add_components(struct save *w, const struct viv_x86 *c, const struct viv_insn *i,
                           u64 which, u64 comp)
{
    unsigned size, offset;

    if (which & VIV_XCR0_X87) {
        put_x87_head(c, i, w->head);
        add_x87(&w->s, c, w->head, w->st);
    }
    if (which & VIV_XCR0_SSE) {
        gather_xmm(c, w->xmm);
        add(&w->s, FX_XMM, w->xmm, 16 * xmm_count(c));
    }
    if (which & VIV_XCR0_AVX) {
        offset = component_offset(2, comp, &size);
        for (unsigned n = 0; n < 16; n++)
            memcpy(w->ymm + 16 * n, c->fpu.zmm[n] + 16, 16);
        add(&w->s, offset, w->ymm, 16 * xmm_count(c));
    }
    if (which & (VIV_XCR0_OPMASK | VIV_XCR0_ZMM_HI256 | VIV_XCR0_HI16_ZMM))
        add_avx512(w, c, which, comp);
    if (which & VIV_XCR0_PKRU) {
        offset = component_offset(9, comp, &size);
        w->pkru = c->fpu.pkru;
        add(&w->s, offset, &w->pkru, size);
    }
}

static void add_mxcsr(struct save *w, const struct viv_x86 *c)
{
    w->mxcsr[0] = c->fpu.mxcsr;
    w->mxcsr[1] = viv_mxcsr_mask();
    add(&w->s, FX_MXCSR, w->mxcsr, 8);
}

/* XSAVE, XSAVEOPT: standard form; of the header only XSTATE_BV is written. */
static void save_standard(struct viv_x86 *c, const struct viv_insn *i, bool optimize)
{
    struct save w = {.s.n = 0};
    u64 rfbm, used, lin;

    need_xsave(c);
    rfbm = requested(c) & c->xcr0;
    lin = area_linear(c, i, LEGACY_AND_HEADER, 64, VIV_ACC_WRITE);
    used = in_use(c);
    /* As far as the last component, also where it is not written: in its initial state, or out of reach of this
     * mode. */
    viv_probe(c, lin + viv_xsave_size(rfbm, false) - 1, 1, VIV_ACC_WRITE);
    viv_probe(c, lin + HEADER, 8, VIV_ACC_RMW);
    w.header[0] = (viv_ld64(c, lin + HEADER) & ~rfbm) | (used & rfbm);
    add_components(&w, c, i, optimize ? rfbm & used : rfbm, 0);
    if (rfbm & (VIV_XCR0_SSE | VIV_XCR0_AVX))
        add_mxcsr(&w, c);
    add(&w.s, HEADER, w.header, 8);
    store(c, lin, &w.s);
}

/* XSAVEC, XSAVES: compacted form, header written as a whole. */
static void save_compacted(struct viv_x86 *c, const struct viv_insn *i, u64 enabled)
{
    struct save w = {.s.n = 0};
    u64 rfbm, used, lin;

    rfbm = requested(c) & enabled;
    lin = area_linear(c, i, LEGACY_AND_HEADER, 64, VIV_ACC_WRITE);
    /* The whole area has to be writable, also where a component in its initial state is not written. */
    viv_probe(c, lin + viv_xsave_size(rfbm, true) - 1, 1, VIV_ACC_WRITE);
    used = in_use(c);
    if (c->fpu.mxcsr != VIV_MXCSR_HOST) /* the initial value: MXCSR goes with SSE here */
        used |= VIV_XCR0_SSE;
    w.header[0] = used & rfbm;
    w.header[1] = rfbm | XCOMP_COMPACT;
    add_components(&w, c, i, used & rfbm, w.header[1]);
    if (used & rfbm & VIV_XCR0_SSE)
        add_mxcsr(&w, c);
    add(&w.s, HEADER, w.header, 16);
    store(c, lin, &w.s);
}

EXEC(xsave) { save_standard(c, i, false); }
EXEC(xsaveopt) { save_standard(c, i, true); }

EXEC(xsavec)
{
    need_xsave(c);
    save_compacted(c, i, c->xcr0);
}

EXEC(xsaves)
{
    need_xsave(c);
    if (c->cpl)
        viv_x86_gp0(c);
    save_compacted(c, i, c->xcr0 | c->msr.xss);
}

/* #GP(0) on a header that the manual forbids (13.8.1, 13.8.2, 13.12). */
static void check_header(struct viv_x86 *c, const uint64_t h[8], u64 enabled, bool supervisor)
{
    bool compact = h[1] & XCOMP_COMPACT;

    if (supervisor && !compact)
        viv_x86_gp0(c);
    if (!compact) {
        if ((h[0] & ~enabled) || h[1] || h[2])
            viv_x86_gp0(c);
        return;
    }
    if (((h[1] & ~XCOMP_COMPACT) & ~enabled) || (h[0] & ~h[1]) || (h[0] & XCOMP_COMPACT))
        viv_x86_gp0(c);
    for (unsigned k = 2; k < 8; k++) {
        if (h[k])
            viv_x86_gp0(c);
    }
}

static void restore_avx(struct viv_x86 *c, const uint8_t *ymm)
{
    for (unsigned n = 0; n < xmm_count(c); n++) {
        if (ymm)
            memcpy(c->fpu.zmm[n] + 16, ymm + 16 * n, 16);
        else
            memset(c->fpu.zmm[n] + 16, 0, 16);
    }
}

/* Opmasks and the AVX-512 parts of vector registers as they will be: zero unless loaded. */
struct avx512 {
    uint64_t k[8];
    uint8_t hi256[512], hi16[1024];
};

static void load_avx512(struct viv_x86 *c, struct avx512 *a, u64 lin, u64 load, u64 comp)
{
    unsigned size;

    memset(a, 0, sizeof(*a));
    if (load & VIV_XCR0_OPMASK)
        viv_ld_bytes(c, lin + component_offset(5, comp, &size), a->k, sizeof(a->k));
    if (load & VIV_XCR0_ZMM_HI256)
        viv_ld_bytes(c, lin + component_offset(6, comp, &size), a->hi256, hi256_bytes(c));
    if ((load & VIV_XCR0_HI16_ZMM) && hi16_bytes(c))
        viv_ld_bytes(c, lin + component_offset(7, comp, &size), a->hi16, hi16_bytes(c));
}

static void restore_avx512(struct viv_x86 *c, const struct avx512 *a, u64 rfbm)
{
    if (rfbm & VIV_XCR0_OPMASK)
        memcpy(c->fpu.k, a->k, sizeof(a->k));
    for (unsigned n = 0; (rfbm & VIV_XCR0_ZMM_HI256) && n < xmm_count(c); n++)
        memcpy(c->fpu.zmm[n] + 32, a->hi256 + 32 * n, 32);
    if (rfbm & VIV_XCR0_HI16_ZMM)
        memcpy(c->fpu.zmm[16], a->hi16, hi16_bytes(c));
}

static void restore(struct viv_x86 *c, const struct viv_insn *i, u64 enabled, bool supervisor)
{
    uint8_t legacy[LEGACY_AND_HEADER], ymm[256];
    uint64_t h[8];
    uint32_t mxcsr, pkru = 0;
    u64 rfbm = requested(c) & enabled, load, lin;
    bool compact, takes_mxcsr;
    unsigned size, offset;
    struct avx512 wide;

    lin = area_linear(c, i, LEGACY_AND_HEADER, 64, VIV_ACC_READ);
    viv_ld_bytes(c, lin, legacy, sizeof(legacy));
    memcpy(h, legacy + HEADER, 64);
    check_header(c, h, enabled, supervisor);
    compact = h[1] & XCOMP_COMPACT;
    load = rfbm & h[0];
    memcpy(&mxcsr, legacy + FX_MXCSR, 4);
    takes_mxcsr = compact ? load & VIV_XCR0_SSE : rfbm & (VIV_XCR0_SSE | VIV_XCR0_AVX);
    if (takes_mxcsr && (mxcsr & ~viv_mxcsr_mask()))
        viv_x86_gp0(c);
    if (load & VIV_XCR0_AVX) {
        offset = component_offset(2, h[1], &size);
        viv_ld_bytes(c, lin + offset, ymm, 16 * xmm_count(c));
    }
    if (rfbm & ~(u64)(VIV_XCR0_X87 | VIV_XCR0_SSE | VIV_XCR0_AVX))
        load_avx512(c, &wide, lin, load, h[1]);
    if (load & VIV_XCR0_PKRU) {
        offset = component_offset(9, h[1], &size);
        pkru = viv_ld32(c, lin + offset);
    }

    /* Nothing fails from here on. */
    if (load & VIV_XCR0_X87)
        get_x87(c, &c->fpu, i, legacy);
    else if (rfbm & VIV_XCR0_X87)
        x87_init(&c->fpu);
    if (rfbm & VIV_XCR0_X87)
        viv_x87_settled(c);
    if (takes_mxcsr)
        c->fpu.mxcsr = mxcsr;
    else if (compact && (rfbm & VIV_XCR0_SSE))
        c->fpu.mxcsr = VIV_MXCSR_HOST;
    for (unsigned n = 0; (rfbm & VIV_XCR0_SSE) && n < xmm_count(c); n++) {
        if (load & VIV_XCR0_SSE)
            memcpy(c->fpu.zmm[n], legacy + FX_XMM + 16 * n, 16);
        else
            memset(c->fpu.zmm[n], 0, 16);
    }
    if (rfbm & VIV_XCR0_AVX)
        restore_avx(c, load & VIV_XCR0_AVX ? ymm : NULL);
    if (rfbm & ~(u64)(VIV_XCR0_X87 | VIV_XCR0_SSE | VIV_XCR0_AVX))
        restore_avx512(c, &wide, rfbm);
    if (rfbm & VIV_XCR0_PKRU)
        viv_mmu_set_pkru(c, pkru);
}

EXEC(xrstor)
{
    need_xsave(c);
    restore(c, i, c->xcr0, false);
}

EXEC(xrstors)
{
    need_xsave(c);
    if (c->cpl)
        viv_x86_gp0(c);
    restore(c, i, c->xcr0 | c->msr.xss, true);
}
