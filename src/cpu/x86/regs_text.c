/* A CPU's registers as text, for people and for the recipes that they have: names and places are those of QEMU's log. */
#include "cpu/x86/regs_text.h"

#include "base/bytes.h"
#include "base/log.h"
#include "cpu/vcpu.h"
#include "cpu/x86/seg.h"
#include "mem/space.h"

#include <inttypes.h>

/* Numbers of this width are addresses: 64-bit code has 16 digits. */
static bool is_wide(const struct viv_x86 *c)
{
    return c->msr.efer & VIV_EFER_LMA && c->seg[VIV_CS].attr & VIV_SEG_L;
}

static void put_digits(GString *out, bool wide, uint64_t v)
{
    g_string_append_printf(out, "%0*" PRIx64, wide ? 16 : 8, wide ? v : (uint32_t)v);
}

static void put_number(GString *out, const struct viv_x86 *c, uint64_t v)
{
    put_digits(out, is_wide(c), v);
}

static void put_gprs(GString *out, const struct viv_x86 *c)
{
    static const char *const names[] = {"AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP"};
    static const uint8_t order[] = {VIV_RAX, VIV_RBX, VIV_RCX, VIV_RDX, VIV_RSI, VIV_RDI, VIV_RBP, VIV_RSP};

    for (unsigned i = 0; i < (is_wide(c) ? 16 : 8); i++) {
        if (i < 8)
            g_string_append_printf(out, "%c%s=", is_wide(c) ? 'R' : 'E', names[i]);
        else
            g_string_append_printf(out, "R%-2u=", i);
        put_number(out, c, c->gpr[i < 8 ? order[i] : i]);
        g_string_append_c(out, i % 4 == 3 ? '\n' : ' ');
    }
}

static void put_flags(GString *out, const struct viv_x86 *c)
{
    static const struct {
        uint32_t bit;
        char letter;
    } letters[] = {{1 << 10, 'D'}, {1 << 11, 'O'}, {1 << 7, 'S'}, {1 << 6, 'Z'}, {1 << 4, 'A'}, {1 << 2, 'P'}, {1 << 0, 'C'}};
    uint32_t flags = viv_x86_get_eflags(c);

    g_string_append(out, is_wide(c) ? "RIP=" : "EIP=");
    put_number(out, c, c->rip);
    g_string_append_printf(out, " %s=%08x [", is_wide(c) ? "RFL" : "EFL", (unsigned)flags);
    for (size_t i = 0; i < G_N_ELEMENTS(letters); i++)
        g_string_append_c(out, flags & letters[i].bit ? letters[i].letter : '-');
    g_string_append_printf(out, "] CPL=%u II=%d A20=%d SMM=%d HLT=%d\n", c->cpl, c->sti_shadow || c->mov_ss_shadow,
                           viv_space_a20(c->mem_outside), c->in_smm, c->halted || c->wait_sipi);
}

/* SDM 3A, table 3-2. */
static const char *system_type(unsigned type, bool ia32e)
{
    static const char *const legacy[] = {
        "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
        "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"};
    static const char *const wide[16] = {[2] = "LDT", [9] = "TSS64-avl", [11] = "TSS64-busy", [12] = "CallGate64", [14] = "IntGate64",
                                         [15] = "TrapGate64"};

    return !ia32e ? legacy[type] : wide[type] ? wide[type] : "Reserved";
}

/* What a descriptor's type is: "CS32 [-R-]". */
static void put_type(GString *out, const struct viv_x86 *c, uint32_t attr)
{
    char a = attr & 1 ? 'A' : '-', rw = attr & 2 ? 'R' : '-';

    g_string_append_printf(out, " DPL=%u ", VIV_SEG_DPL(attr));
    if (!(attr & VIV_SEG_S))
        g_string_append(out, system_type(VIV_AR_TYPE(attr), viv_x86_long_active(c)));
    else if (attr & 8)
        g_string_append_printf(out, "%s [%c%c%c]", attr & VIV_SEG_L && viv_x86_long_active(c) ? "CS64" : attr & VIV_SEG_DB ? "CS32" : "CS16", attr & 4 ? 'C' : '-', rw, a);
    else
        g_string_append_printf(out, "%s [%c%c%c]", attr & VIV_SEG_DB || is_wide(c) ? "DS  " : "DS16", attr & 4 ? 'E' : '-', rw == 'R' ? 'W' : '-', a);
}

/* Base, limit, and the descriptor's second word without the base. */
static void put_seg(GString *out, const struct viv_x86 *c, const char *name, const struct viv_seg *g)
{
    uint32_t limit = g->attr & VIV_SEG_G ? g->limit >> 12 : g->limit;
    uint32_t word = (g->attr & 0xf0ff) << 8 | (limit & 0xf0000);

    g_string_append_printf(out, "%-3s=%04x ", name, g->sel);
    put_number(out, c, g->base);
    g_string_append_printf(out, " %08x %08x", g->limit, g->attr & VIV_SEG_UNUSABLE ? 0 : word);
    if (c->cr0 & VIV_CR0_PE && g->attr & VIV_SEG_P && !(g->attr & VIV_SEG_UNUSABLE))
        put_type(out, c, g->attr);
    g_string_append_c(out, '\n');
}

static void put_table(GString *out, const struct viv_x86 *c, const char *name, const struct viv_dtr *t)
{
    g_string_append_printf(out, "%s=     ", name);
    put_digits(out, viv_x86_long_active(c), t->base);
    g_string_append_printf(out, " %08x\n", t->limit);
}

static void put_control(GString *out, const struct viv_x86 *c)
{
    bool lma = viv_x86_long_active(c), lm = viv_cpuid_has(c->cpuid, VIV_FT_LM);

    g_string_append_printf(out, "CR0=%08" PRIx64 " CR2=", c->cr0);
    put_digits(out, lma, c->cr2);
    g_string_append(out, " CR3=");
    put_digits(out, lma, c->cr3);
    g_string_append_printf(out, " CR4=%08" PRIx64 "\n", c->cr4);
    for (unsigned i = 0; i < 8; i++) {
        if (i == 4 || i == 5) /* names of DR6 and DR7 */
            continue;
        g_string_append_printf(out, "DR%u=", i);
        put_digits(out, lm, c->dr[i]);
        g_string_append(out, i == 3 ? " \n" : i == 7 ? "\n" : " ");
    }
    g_string_append_printf(out, "EFER=%016" PRIx64 "\n", c->msr.efer);
}

/* FPR0 to 7 are the physical registers. */
static void put_x87(GString *out, const struct viv_x86_fpu *f)
{
    unsigned top = f->fsw >> 11 & 7;

    g_string_append_printf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", f->fcw, f->fsw, top, f->ftw, f->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = f->st[(i - top) & 7];

        g_string_append_printf(out, "FPR%u=%016" PRIx64 " %04x%c", i, viv_ld_le64(st), viv_ld_le16(st + 8), i % 2 ? '\n' : ' ');
    }
}

void viv_x86_put_fpu(GString *out, const struct viv_x86 *c)
{
    bool ymm = c->cr4 & VIV_CR4_OSXSAVE && (c->xcr0 & 6) == 6;

    put_x87(out, &c->fpu);
    for (unsigned i = 0; i < (is_wide(c) ? 16u : 8u); i++) {
        g_string_append_printf(out, "%cMM%02u=", ymm ? 'Y' : 'X', i);
        for (unsigned k = ymm ? 4 : 2; k-- > 0;)
            g_string_append_printf(out, "%016" PRIx64 "%s", viv_ld_le64(c->fpu.zmm[i] + 8 * k), k ? " " : "");
        g_string_append_c(out, ymm || i % 2 ? '\n' : ' ');
    }
}

void viv_x86_put_regs(GString *out, const struct viv_x86 *c)
{
    static const struct {
        const char *name;
        uint8_t n;
    } segs[] = {{"ES", VIV_ES}, {"CS", VIV_CS}, {"SS", VIV_SS}, {"DS", VIV_DS},
                {"FS", VIV_FS}, {"GS", VIV_GS}, {"LDT", VIV_LDTR}, {"TR", VIV_TR}};

    put_gprs(out, c);
    put_flags(out, c);
    for (size_t i = 0; i < G_N_ELEMENTS(segs); i++)
        put_seg(out, c, segs[i].name, &c->seg[segs[i].n]);
    put_table(out, c, "GDT", &c->gdtr);
    put_table(out, c, "IDT", &c->idtr);
    put_control(out, c);
}

void viv_x86_log_regs(enum viv_log_category category, const struct viv_x86 *c, const char *fmt, ...)
{
    GString *s = g_string_new(NULL);
    va_list ap;

    g_string_append_printf(s, "cpu%u: ", c->vcpu ? c->vcpu->index : 0);
    va_start(ap, fmt);
    g_string_append_vprintf(s, fmt, ap);
    va_end(ap);
    g_string_append_c(s, '\n');
    viv_x86_put_regs(s, c);
    g_string_truncate(s, s->len - 1); /* the log ends lines itself */
    viv_log_write(category, "%s", s->str);
    g_string_free(s, TRUE);
}
