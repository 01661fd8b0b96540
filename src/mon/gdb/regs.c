/* Registers as gdb numbers them, and the target description that says so (gdb's manual, appendix G.5, "i386 features"). What the
 * features core, sse, avx, segments want is fixed (segments: in 64-bit descriptions only); system registers have a feature of their own. */
#include "mon/gdb/gdb_int.h"

#include "base/bytes.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/seg.h"
#include "cpu/x86/state.h"
#include "machine/vm.h"

#include <string.h>

enum kind {
    GPR, RIP, FLAGS, SEG, ST, FCTRL, FSTAT, FTAG, FISEG, FIOFF, FOSEG, FOOFF, FOP, XMM, MXCSR, YMMH, BASE, KGS, CR0, CR2, CR3, CR4, CR8,
    EFER
};

struct reg {
    const char *feature; /* where one begins */
    const char *name, *name32; /* NULL: not there in that size */
    const char *type;
    uint8_t kind, n;
    uint8_t bits; /* 0: those of an address */
};

#define G(i, a, b)      {.name = a, .name32 = b, .type = "int", .kind = GPR, .n = i}
#define P(i, a, b)      {.name = a, .name32 = b, .type = "data_ptr", .kind = GPR, .n = i}
#define R(i)            {.name = "r" #i, .type = "int64", .kind = GPR, .n = i}
#define S(i, a)         {.name = a, .name32 = a, .type = "int32", .kind = SEG, .n = i, .bits = 32}
#define F(k, a)         {.name = a, .name32 = a, .type = "int", .kind = k, .bits = 32}
#define STN(i)          {.name = "st" #i, .name32 = "st" #i, .type = "i387_ext", .kind = ST, .n = i, .bits = 80}
#define X32(i)          {.name = "xmm" #i, .name32 = "xmm" #i, .type = "vec128", .kind = XMM, .n = i, .bits = 128}
#define X64(i)          {.name = "xmm" #i, .type = "vec128", .kind = XMM, .n = i, .bits = 128}
#define Y32(i)          {.name = "ymm" #i "h", .name32 = "ymm" #i "h", .type = "uint128", .kind = YMMH, .n = i, .bits = 128}
#define Y64(i)          {.name = "ymm" #i "h", .type = "uint128", .kind = YMMH, .n = i, .bits = 128}
#define C(k, a)         {.name = a, .name32 = a, .type = "int", .kind = k}
#define B(k, a)         {.name = a, .name32 = a, .type = "bits_" a, .kind = k} /* types.c */
#define B32(k, a)       {.name = a, .name32 = a, .type = "bits_" a, .kind = k, .bits = 32}

static const struct reg regs[] = {
    {.feature = "org.gnu.gdb.i386.core", .name = "rax", .name32 = "eax", .type = "int", .kind = GPR, .n = VIV_RAX},
    /* The order of the two sizes differs: 64-bit has RBX second, 32-bit has ECX. */
    {.name = "rbx", .type = "int", .kind = GPR, .n = VIV_RBX},
    G(VIV_RCX, "rcx", "ecx"), G(VIV_RDX, "rdx", "edx"),
    {.name32 = "ebx", .type = "int", .kind = GPR, .n = VIV_RBX}, {.name32 = "esp", .type = "data_ptr", .kind = GPR, .n = VIV_RSP},
    {.name32 = "ebp", .type = "data_ptr", .kind = GPR, .n = VIV_RBP},
    G(VIV_RSI, "rsi", "esi"), G(VIV_RDI, "rdi", "edi"),
    P(VIV_RBP, "rbp", NULL), P(VIV_RSP, "rsp", NULL),
    R(8), R(9), R(10), R(11), R(12), R(13), R(14), R(15),
    {.name = "rip", .name32 = "eip", .type = "code_ptr", .kind = RIP}, B32(FLAGS, "eflags"),
    S(VIV_CS, "cs"), S(VIV_SS, "ss"), S(VIV_DS, "ds"), S(VIV_ES, "es"), S(VIV_FS, "fs"), S(VIV_GS, "gs"),
    STN(0), STN(1), STN(2), STN(3), STN(4), STN(5), STN(6), STN(7),
    F(FCTRL, "fctrl"), F(FSTAT, "fstat"), F(FTAG, "ftag"), F(FISEG, "fiseg"), F(FIOFF, "fioff"), F(FOSEG, "foseg"), F(FOOFF, "fooff"),
    F(FOP, "fop"),
    {.feature = "org.gnu.gdb.i386.sse", .name = "xmm0", .name32 = "xmm0", .type = "vec128", .kind = XMM, .bits = 128},
    X32(1), X32(2), X32(3), X32(4), X32(5), X32(6), X32(7), X64(8), X64(9), X64(10), X64(11), X64(12), X64(13), X64(14), X64(15),
    B32(MXCSR, "mxcsr"),
    {.feature = "org.gnu.gdb.i386.avx", .name = "ymm0h", .name32 = "ymm0h", .type = "uint128", .kind = YMMH, .bits = 128},
    Y32(1), Y32(2), Y32(3), Y32(4), Y32(5), Y32(6), Y32(7), Y64(8), Y64(9), Y64(10), Y64(11), Y64(12), Y64(13), Y64(14), Y64(15),
    {.feature = "org.gnu.gdb.i386.segments", .name = "fs_base", .type = "int", .kind = BASE, .n = VIV_FS},
    {.name = "gs_base", .type = "int", .kind = BASE, .n = VIV_GS},
    {.feature = "org.vivarium.i386.system", .name = "k_gs_base", .type = "int", .kind = KGS},
    B(CR0, "cr0"), C(CR2, "cr2"), C(CR3, "cr3"), B(CR4, "cr4"), C(CR8, "cr8"), B(EFER, "efer"),
};

bool gdb_wide(void)
{
    return viv_cpuid_has(viv_vm_cpuid(), VIV_FT_LM);
}

static const char *name_of(const struct reg *r)
{
    return gdb_wide() ? r->name : r->name32;
}

static unsigned bytes_of(const struct reg *r)
{
    return r->bits ? r->bits / 8u : gdb_wide() ? 8 : 4;
}

/* The n-th that this CPU has. */
static const struct reg *number(unsigned n)
{
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++) {
        if (name_of(&regs[i]) && n-- == 0)
            return &regs[i];
    }
    return NULL;
}

static void put_type(GString *x, const struct reg *r)
{
    const char *type = r->type;

    if (!strcmp(type, "int"))
        type = bytes_of(r) == 8 ? "int64" : "int32";
    g_string_append_printf(x, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>", name_of(r), bytes_of(r) * 8, type);
}

/* Types are known within the feature that they stand in, and before the first register. */
static void put_flag_types(GString *x, const struct reg *first)
{
    for (const struct reg *r = first; r < regs + G_N_ELEMENTS(regs) && (r == first || !r->feature); r++)
        gdb_put_flags(x, r->type, bytes_of(r));
}

char *gdb_target_xml(void)
{
    static const char vec128[] = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
                                 "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
                                 "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
                                 "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
                                 "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
                                 "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
                                 "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
                                 "<field name=\"uint128\" type=\"uint128\"/></union>";
    GString *x = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>");
    const char *feature = NULL; /* to be opened: one without registers in this size is not there */
    bool open = false;

    g_string_append_printf(x, "<architecture>%s</architecture>", gdb_wide() ? "i386:x86-64" : "i386");
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++) {
        const struct reg *r = &regs[i];

        if (r->feature)
            feature = r->feature;
        if (!name_of(r))
            continue;
        if (feature) {
            g_string_append_printf(x, "%s<feature name=\"%s\">", open ? "</feature>" : "", feature);
            if (r->kind == XMM)
                g_string_append(x, vec128);
            put_flag_types(x, r);
            feature = NULL;
            open = true;
        }
        put_type(x, r);
    }
    g_string_append(x, "</feature></target>");
    return g_string_free(x, FALSE);
}

/* ---- values ---- */

/* Tags of the physical registers, two bits each (SDM 1, 8.1.7): the abridged form has "in use" only. */
static uint16_t full_tag(const struct viv_x86_fpu *f)
{
    unsigned top = f->fsw >> 11 & 7;
    uint16_t tag = 0;

    for (unsigned phys = 0; phys < 8; phys++) {
        const uint8_t *st = f->st[(phys - top) & 7];
        uint64_t frac = viv_ld_le64(st);
        unsigned exp = viv_ld_le16(st + 8) & 0x7fff, t;

        if (!(f->ftw >> phys & 1))
            t = 3;
        else if (exp == 0x7fff || (exp && !(frac >> 63)) || (!exp && frac))
            t = 2;
        else
            t = !exp ? 1 : 0;
        tag |= (uint16_t)(t << (phys * 2));
    }
    return tag;
}

static uint64_t scalar(const struct viv_x86 *c, const struct reg *r)
{
    const struct viv_x86_fpu *f = &c->fpu;

    switch ((enum kind)r->kind) {
    case GPR: return c->gpr[r->n];
    case RIP: return c->rip;
    case FLAGS: return viv_x86_get_eflags(c);
    case SEG: return c->seg[r->n].sel;
    case FCTRL: return f->fcw;
    case FSTAT: return f->fsw;
    case FTAG: return full_tag(f);
    case FISEG: return f->fcs;
    case FIOFF: return (uint32_t)f->fip;
    case FOSEG: return f->fds;
    case FOOFF: return (uint32_t)f->fdp;
    case FOP: return f->fop;
    case MXCSR: return f->mxcsr;
    case BASE: return c->seg[r->n].base;
    case KGS: return c->msr.kernel_gs_base;
    case CR0: return c->cr0;
    case CR2: return c->cr2;
    case CR3: return c->cr3;
    case CR4: return c->cr4;
    case CR8: return c->cr8;
    case EFER: return c->msr.efer;
    default: return 0;
    }
}

/* Where a long register lies, NULL for the others. */
static uint8_t *place(struct viv_x86 *c, const struct reg *r)
{
    switch (r->kind) {
    case ST: return c->fpu.st[r->n];
    case XMM: return c->fpu.zmm[r->n];
    case YMMH: return c->fpu.zmm[r->n] + 16;
    default: return NULL;
    }
}

/* Only what a debugger has business with, and what needs no more than the value: the rest is read only (a control register that
 * is written has consequences that only an instruction has). A written selector brings the base of real mode along. */
static bool set_scalar(struct viv_x86 *c, const struct reg *r, uint64_t v)
{
    switch ((enum kind)r->kind) {
    case GPR: c->gpr[r->n] = v; return true;
    case RIP: c->rip = c->next_rip = v; return true;
    case FLAGS: viv_x86_load_flags(c, (uint32_t)v); return true;
    case FCTRL: c->fpu.fcw = (uint16_t)v; return true;
    case FSTAT: c->fpu.fsw = (uint16_t)v; return true;
    case FOP: c->fpu.fop = (uint16_t)v; return true;
    case MXCSR: c->fpu.mxcsr = (uint32_t)v; return true;
    case BASE:
        if (viv_x86_canonical_base(c, v))
            c->seg[r->n].base = v;
        return c->seg[r->n].base == v;
    case KGS:
        if (viv_x86_canonical_base(c, v))
            c->msr.kernel_gs_base = v;
        return c->msr.kernel_gs_base == v;
    case CR2: c->cr2 = v; return true;
    case SEG:
        if ((c->cr0 & VIV_CR0_PE) && !(c->eflags & VIV_FL_VM))
            return c->seg[r->n].sel == v;
        c->seg[r->n].sel = (uint16_t)v;
        c->seg[r->n].base = (v & 0xffff) << 4;
        return true;
    default: return scalar(c, r) == v;
    }
}

void gdb_put_hex(GString *out, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        g_string_append_printf(out, "%02x", ((const uint8_t *)bytes)[i]);
}

bool gdb_take_hex(const char *hex, void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int hi = g_ascii_xdigit_value(hex[2 * i]), lo = hi < 0 ? -1 : g_ascii_xdigit_value(hex[2 * i + 1]);

        if (lo < 0)
            return false;
        ((uint8_t *)bytes)[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static void read_reg(const struct viv_vcpu *v, const struct reg *r, GString *hex)
{
    const uint8_t *long_one = place(v->x86, r);
    uint8_t le[8];

    viv_st_le64(le, scalar(v->x86, r));
    gdb_put_hex(hex, long_one ? long_one : le, bytes_of(r));
}

static bool write_reg(struct viv_vcpu *v, const struct reg *r, const char *hex)
{
    uint8_t *long_one = place(v->x86, r), buf[16] = {0};

    if (!gdb_take_hex(hex, buf, bytes_of(r)))
        return false;
    if (!long_one)
        return set_scalar(v->x86, r, viv_ld_le64(buf));
    memcpy(long_one, buf, bytes_of(r));
    return true;
}

void gdb_read_all(const struct viv_vcpu *v, GString *hex)
{
    const struct reg *r;

    for (unsigned n = 0; (r = number(n)); n++)
        read_reg(v, r, hex);
}

bool gdb_write_all(struct viv_vcpu *v, const char *hex)
{
    const struct reg *r;
    bool all = true;

    for (unsigned n = 0; (r = number(n)); n++) {
        if (strlen(hex) < 2 * bytes_of(r))
            return false;
        all &= write_reg(v, r, hex);
        hex += 2 * bytes_of(r);
    }
    return all;
}

bool gdb_read_one(const struct viv_vcpu *v, unsigned n, GString *hex)
{
    const struct reg *r = number(n);

    if (r)
        read_reg(v, r, hex);
    return r;
}

/* "cs.base", "cs.limit": of the segments whose selectors are registers. */
static bool segment_value(const struct viv_x86 *c, const char *name, uint64_t *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++) {
        const struct viv_seg *g = &c->seg[regs[i].n];

        if (regs[i].kind != SEG || strncmp(name, regs[i].name, 2))
            continue;
        *value = !strcmp(name + 2, ".base") ? g->base : g->limit;
        return !strcmp(name + 2, ".base") || !strcmp(name + 2, ".limit");
    }
    return false;
}

bool gdb_value_of(const struct viv_vcpu *v, const char *name, uint64_t *value)
{
    const struct viv_x86 *c = v->x86;

    if (!strcmp(name, "pc")) { /* where the next instruction lies */
        *value = c->mode == VIV_MODE_LONG ? c->rip : (uint32_t)(c->seg[VIV_CS].base + c->rip);
        return true;
    }
    if (!strcmp(name, "sp"))
        name = gdb_wide() ? "rsp" : "esp";
    for (size_t i = 0; i < G_N_ELEMENTS(regs); i++) {
        const struct reg *r = &regs[i];

        if (place(v->x86, r))
            continue;
        if (name_of(r) && !strcmp(name_of(r), name)) {
            *value = scalar(c, r);
            return true;
        }
        if (r->name32 && !strcmp(r->name32, name)) { /* "eax" of a CPU that has RAX: its low half */
            *value = (uint32_t)scalar(c, r);
            return true;
        }
    }
    return segment_value(c, name, value);
}

bool gdb_write_one(struct viv_vcpu *v, unsigned n, const char *hex)
{
    const struct reg *r = number(n);

    return r && write_reg(v, r, hex);
}
