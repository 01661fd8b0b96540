/* The look-up before an instruction is for as many bytes as the host's CPU then touches: too few would let a guest reach what
 * lies behind its page. Capstone is the second opinion. */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "cpu/x86/xlate/gen.h"

#include <capstone/capstone.h>
#include <glib.h>
#include <string.h>

struct form {
    const struct viv_row *row;
    bool p66, w, l;
};

static bool has(uint32_t select, uint32_t this, uint32_t other)
{
    return (select & this) || !(select & other);
}

static unsigned put_prefixes(uint8_t *p, const struct form *f)
{
    static const uint8_t byte[] = {[VIV_PFX_66] = 0x66, [VIV_PFX_F3] = 0xf3, [VIV_PFX_F2] = 0xf2};
    const struct viv_row *r = f->row;
    unsigned n = 0;

    if (f->p66 && r->pfx != VIV_PFX_66)
        p[n++] = 0x66;
    if (r->pfx < G_N_ELEMENTS(byte) && byte[r->pfx])
        p[n++] = byte[r->pfx];
    if (f->w)
        p[n++] = 0x48;
    if (r->map != VIV_MAP_BASE)
        p[n++] = 0x0f;
    if (r->map == VIV_MAP_0F38)
        p[n++] = 0x38;
    if (r->map == VIV_MAP_0F3A)
        p[n++] = 0x3a;
    return n;
}

static unsigned put_vex(uint8_t *p, const struct form *f)
{
    static const uint8_t pp[] = {[VIV_PFX_66] = 1, [VIV_PFX_F3] = 2, [VIV_PFX_F2] = 3};
    const struct viv_row *r = f->row;

    p[0] = 0xc4;
    p[1] = 0xe0 | (r->map == VIV_MAP_0F ? 1 : r->map == VIV_MAP_0F38 ? 2 : 3);
    p[2] = f->w << 7 | 0x78 | f->l << 2 | (r->pfx < G_N_ELEMENTS(pp) ? pp[r->pfx] : 0);
    return 3;
}

/* [RAX], then zeros enough for any immediate. */
static void encode(uint8_t *p, const struct form *f)
{
    unsigned n = f->row->select & S_VEX ? put_vex(p, f) : put_prefixes(p, f), reg = 0;

    if (f->row->select & 0xff)
        reg = (unsigned)__builtin_ctz(f->row->select & 0xff);
    p[n++] = (uint8_t)f->row->opcode;
    p[n] = (uint8_t)(reg << 3);
}

static unsigned looked_up(const struct viv_insn *i)
{
    for (unsigned n = 0; n < 4; n++) {
        unsigned k = viv_operand_info[i->row->operand[n]].kind;

        if (k == VIV_K_E || k == VIV_K_M || k == VIV_K_W)
            return viv_xl_mem_size(i, n);
    }
    return 0;
}

static unsigned touched(csh cs, const uint8_t *code, size_t len, char *text)
{
    cs_insn *out;
    unsigned size = 0;

    if (cs_disasm(cs, code, len, 0, 1, &out) != 1)
        return 0;
    g_snprintf(text, 80, "%s %s", out->mnemonic, out->op_str);
    for (unsigned n = 0; n < out->detail->x86.op_count; n++)
        if (out->detail->x86.operands[n].type == X86_OP_MEM)
            size = out->detail->x86.operands[n].size;
    cs_free(out, 1);
    return size;
}

static bool native(enum xl_class k)
{
    return k == XC_GENERIC || k == XC_VECTOR || k == XC_SHIFT_CL || k == XC_PCMPSTR;
}

/* The host's code is 64-bit code, and VEX.W counts in it. */
static void as_emitted(struct form *f, unsigned mode)
{
    for (unsigned n = 0; n < 4; n++)
        if (mode != VIV_MODE_LONG && viv_operand_info[f->row->operand[n]].size == VIV_SZ_Y)
            f->w = false;
}

static void check(csh cs, struct form *f, unsigned mode, unsigned *checked, unsigned *bad)
{
    uint8_t code[24] = {0};
    char text[80] = "";
    struct viv_insn i;
    unsigned mine, theirs;

    encode(code, f);
    if (viv_decode(code, sizeof(code), mode, NULL, &i) != VIV_DECODE_OK || i.row != f->row || !i.mem ||
        !native(viv_xl_class(&i)))
        return;
    mine = looked_up(&i);
    as_emitted(f, mode);
    encode(code, f);
    theirs = touched(cs, code, i.len, text);
    if (strstr(f->row->name, "comis")) /* Capstone 4 takes [U]COMISS and [U]COMISD for packed ones */
        return;
    if (mine == 0 || theirs == 0) /* it is the handler's; newer than Capstone is */
        return;
    (*checked)++;
    if (mine == theirs)
        return;
    (*bad)++;
    g_test_message("mode %u: %s (66 %d, W %d, L %d): %u bytes looked up, %u touched: %s", mode, f->row->name, f->p66, f->w, f->l, mine,
                   theirs, text);
}

static void test_sizes(void)
{
    unsigned checked = 0, bad = 0;
    csh cs;

    viv_xl_classes_init();
    g_assert_cmpint(cs_open(CS_ARCH_X86, CS_MODE_64, &cs), ==, CS_ERR_OK);
    cs_option(cs, CS_OPT_DETAIL, CS_OPT_ON);
    for (unsigned n = 0; n < viv_row_count; n++) {
        for (unsigned bits = 0; bits < 8; bits++) {
            struct form f = {&viv_rows[n], bits & 1, bits & 2, bits & 4};

            if (f.row->map > VIV_MAP_0F3A || ((f.row->select & S_VEX) && f.p66) ||
                (!(f.row->select & S_VEX) && f.l) || !has(f.row->select, f.l ? S_L1 : S_L0, f.l ? S_L0 : S_L1))
                continue;
            check(cs, &f, VIV_MODE_LONG, &checked, &bad);
            if (f.w && !(f.row->select & S_VEX))
                continue;
            f = (struct form){&viv_rows[n], bits & 1, bits & 2, bits & 4};
            check(cs, &f, VIV_MODE_PROT32, &checked, &bad);
        }
    }
    cs_close(&cs);
    g_test_message("%u forms", checked);
    g_assert_cmpuint(checked, >, 1000);
    g_assert_cmpuint(bad, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xlate/operand/sizes", test_sizes);
    return g_test_run();
}
