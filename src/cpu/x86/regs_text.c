/* A CPU's registers as text, for people and for the recipes that they have: names and places are those of QEMU's log. */
#include "cpu/x86/regs_text.h"

#include "base/log.h"
#include "cpu/vcpu.h"

#include <inttypes.h>

/* Numbers of this width are addresses: 64-bit code has 16 digits. */
static bool is_wide(const struct viv_x86 *c)
{
    return c->msr.efer & VIV_EFER_LMA && c->seg[VIV_CS].attr & VIV_SEG_L;
}

static void put_number(GString *out, const struct viv_x86 *c, uint64_t v)
{
    if (is_wide(c))
        g_string_append_printf(out, "%016" PRIx64, v);
    else
        g_string_append_printf(out, "%08" PRIx32, (uint32_t)v);
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
    g_string_append_printf(out, "] CPL=%u II=%d SMM=%d HLT=%d\n", c->cpl, c->sti_shadow || c->mov_ss_shadow, c->in_smm, c->halted);
}

/* What a descriptor's type is: "CS32 [-R-]". */
static void put_type(GString *out, uint32_t attr)
{
    static const char *const systems[] = {
        "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
        "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"};
    char a = attr & 1 ? 'A' : '-', rw = attr & 2 ? 'R' : '-';

    g_string_append_printf(out, " DPL=%u ", VIV_SEG_DPL(attr));
    if (!(attr & VIV_SEG_S))
        g_string_append(out, systems[VIV_AR_TYPE(attr)]);
    else if (attr & 8)
        g_string_append_printf(out, "%s [%c%c%c]", attr & VIV_SEG_L ? "CS64" : attr & VIV_SEG_DB ? "CS32" : "CS16", attr & 4 ? 'C' : '-', rw, a);
    else
        g_string_append_printf(out, "%s [%c%c%c]", attr & VIV_SEG_DB ? "DS  " : "DS16", attr & 4 ? 'E' : '-', rw == 'R' ? 'W' : '-', a);
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
        put_type(out, g->attr);
    g_string_append_c(out, '\n');
}

static void put_table(GString *out, const struct viv_x86 *c, const char *name, const struct viv_dtr *t)
{
    g_string_append_printf(out, "%s=     ", name);
    put_number(out, c, t->base);
    g_string_append_printf(out, " %08x\n", t->limit);
}

static void put_control(GString *out, const struct viv_x86 *c)
{
    g_string_append_printf(out, "CR0=%08" PRIx64 " CR2=", c->cr0);
    put_number(out, c, c->cr2);
    g_string_append(out, " CR3=");
    put_number(out, c, c->cr3);
    g_string_append_printf(out, " CR4=%08" PRIx64 "\n", c->cr4);
    for (unsigned i = 0; i < 4; i++)
        g_string_append_printf(out, "DR%u=%016" PRIx64 "%s", i, c->dr[i], i == 3 ? "\n" : " ");
    g_string_append_printf(out, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", c->dr[6], c->dr[7], c->msr.efer);
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
