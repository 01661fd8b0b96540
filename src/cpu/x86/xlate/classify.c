/* Which way each row goes. By the row's name and attributes: what is not known here is done by its handler. */
#include "cpu/x86/xlate/gen.h"

#include <glib.h>

static uint8_t *classes, *writes, *flags; /* by row */

static const char *const generic[] = {
    "add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "test", "mov", "movzx", "movsx", "movsxd", "imul",
    "mul", "div", "idiv", "not", "neg", "inc", "dec", "rol", "ror", "rcl", "rcr", "shl", "shr", "sar",
    "shld", "shrd", "bt", "bts", "btr", "btc", "xchg", "xadd", "cmpxchg", "movnti", "movbe", "crc32",
    "adcx", "adox", "andn", "blsr", "blsmsk", "blsi", "bzhi", "pext", "pdep", "mulx", "bextr", "shlx",
    "sarx", "shrx", "rorx", "popcnt", "tzcnt", "lzcnt", "bsf", "bsr", "bswap", "cbw", "cwde", "cdqe",
    "cwd", "cdq", "cqo", "lahf", "sahf", "clc", "stc", "cmc", "lfence", "mfence", "sfence",
    "cmovo", "cmovno", "cmovb", "cmovae", "cmove", "cmovne", "cmovbe", "cmova", "cmovs", "cmovns",
    "cmovp", "cmovnp", "cmovl", "cmovge", "cmovle", "cmovg", "seto", "setno", "setb", "setae", "sete",
    "setne", "setbe", "seta", "sets", "setns", "setp", "setnp", "setl", "setge", "setle", "setg",
};

/* Vector rows that are not one host instruction on one operand in memory, or that change what blocks rely on. */
static const char *const vector_helper[] = {
    "maskmovdqu", "vmaskmovdqu", "vmaskmovps", "vmaskmovpd", "vpmaskmovd", "vpmaskmovq", "maskmovq",
    "extrq", "insertq", "fxsave", "xsave",
};
static const char *const helper_end[] = {
    "ldmxcsr", "vldmxcsr", "fxrstor", "fxrstor64", "xrstor", "xrstor64", "xrstors", "xrstors64",
};
static const char *const nop[] = {
    "nop", "endbr64", "endbr32", "prefetchw", "prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2",
};

static bool in(const char *name, const char *const *list, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (!strcmp(name, list[k]))
            return true;
    return false;
}
#define IN(name, list) in(name, list, G_N_ELEMENTS(list))

static unsigned kind(const struct viv_row *r, unsigned operand)
{
    return viv_operand_info[r->operand[operand]].kind;
}

/* Only operands that the generic way knows. */
static bool plain_operands(const struct viv_row *r)
{
    for (unsigned n = 0; n < 4; n++) {
        switch (kind(r, n)) {
        case VIV_K_NONE: case VIV_K_E: case VIV_K_R: case VIV_K_M: case VIV_K_G: case VIV_K_BREG:
        case VIV_K_Z: case VIV_K_I: case VIV_K_ONE: case VIV_K_V: case VIV_K_H: case VIV_K_W:
        case VIV_K_U: case VIV_K_L: case VIV_K_XMM0: case VIV_K_P: case VIV_K_Q: case VIV_K_N:
        case VIV_K_KG: case VIV_K_KH: case VIV_K_KE:
            break;
        case VIV_K_FIX:
            if (r->operand[n] == VIV_OP_AL || r->operand[n] == VIV_OP_rAX)
                break;
            return false;
        default:
            return false;
        }
    }
    return true;
}

static enum xl_class branch(const struct viv_row *r)
{
    bool rel = kind(r, 0) == VIV_K_J;

    if (r->attr & A_CTX)
        return XC_HELPER_END;
    if (!strcmp(r->name, "jmp"))
        return rel ? XC_JMP_REL : XC_JMP_IND;
    if (!strcmp(r->name, "call"))
        return rel ? XC_CALL_REL : XC_CALL_IND;
    if (!strcmp(r->name, "ret"))
        return XC_RET;
    if (!strcmp(r->name, "jrcxz"))
        return XC_JRCXZ;
    if (!strcmp(r->name, "loop"))
        return XC_LOOP;
    if (!strncmp(r->name, "loop", 4) || !rel)
        return XC_HELPER_END;
    return XC_JCC;
}

static enum xl_class stack(const struct viv_row *r)
{
    unsigned k = kind(r, 0);

    if (!strcmp(r->name, "leave"))
        return XC_LEAVE;
    if (!strcmp(r->name, "push") && (k == VIV_K_E || k == VIV_K_Z || k == VIV_K_I))
        return XC_PUSH;
    if (!strcmp(r->name, "pop") && (k == VIV_K_E || k == VIV_K_Z))
        return XC_POP;
    return XC_HELPER;
}

static enum xl_class vector(const struct viv_row *r)
{
    if (strstr(r->name, "pcmpestr") || strstr(r->name, "pcmpistr"))
        return XC_PCMPSTR;
    if (IN(r->name, vector_helper) || (r->attr & (A_MMX | A_X87 | A_VSIB)) || !plain_operands(r))
        return XC_HELPER;
    return XC_VECTOR;
}

/* FNSAVE, FNINIT and FNSTENV mask all exceptions: blocks after them may be better ones. */
static enum xl_class x87(const struct viv_row *r)
{
    static const char *const control[] = {
        "fldcw", "fnclex", "fninit", "fldenv", "frstor", "fnstenv", "fnsave",
    };

    if (IN(r->name, control))
        return XC_X87_CONTROL;
    return strstr(r->name, "_nop") ? XC_HELPER : XC_X87;
}

static enum xl_class classify(const struct viv_row *r)
{
    if (IN(r->name, helper_end))
        return XC_HELPER_END;
    if (r->attr & A_JUMP)
        return branch(r);
    if (r->attr & A_CTX)
        return XC_HELPER_END;
    if ((r->attr & A_REP) && !(r->attr & A_IO))
        return XC_HELPER;
    if (r->attr & (A_END | A_IO))
        return XC_HELPER_END;
    if (r->attr & A_STACK)
        return stack(r);
    if (IN(r->name, nop))
        return XC_NOP;
    if (r->attr & A_MMX)
        return IN(r->name, vector_helper) || !plain_operands(r) ? XC_HELPER : XC_MMX;
    if (r->attr & (A_SSE | A_AVX | A_AVX512))
        return vector(r);
    if (r->map >= VIV_MAP_X87_MEM || !strcmp(r->name, "fwait"))
        return x87(r);
    if (r->attr & A_X87)
        return XC_HELPER;
    if (!strcmp(r->name, "lea"))
        return XC_LEA;
    if (!strcmp(r->name, "cmpxchg16b"))
        return XC_CMPXCHG16B;
    if (!IN(r->name, generic))
        return XC_HELPER;
    for (unsigned n = 0; n < 4; n++)
        if (r->operand[n] == VIV_OP_CL)
            return XC_SHIFT_CL;
    if (kind(r, 0) == VIV_K_O || kind(r, 1) == VIV_K_O)
        return XC_MOV_O;
    if (!plain_operands(r))
        return XC_HELPER;
    if (r->name[0] == 'b' && r->name[1] == 't' && kind(r, 1) == VIV_K_G)
        return XC_BIT_REG;
    return XC_GENERIC;
}

static unsigned written(const struct viv_row *r)
{
    const char *n = r->name;

    if (!strcmp(n, "cmp") || !strcmp(n, "test") || !strcmp(n, "bt") || !strcmp(n, "mul") ||
        !strcmp(n, "div") || !strcmp(n, "idiv") ||
        (!strcmp(n, "imul") && kind(r, 1) == VIV_K_NONE))
        return 0;
    if (!strcmp(n, "xchg") || !strcmp(n, "xadd") || !strcmp(n, "mulx"))
        return 3;
    return 1;
}

/* Write all six, whatever they were. Not those that leave some undefined (SDM 1, appendix A): a CPU may leave these as they were. But
 * for AF of AND, OR, XOR and TEST, which CPUs clear. */
static const char *const setting[] = {"add", "sub", "cmp", "and", "or", "xor", "test", "neg", "xadd", "cmpxchg", "popcnt"};

static enum xl_flags_use flags_use(const struct viv_row *row, enum xl_class k)
{
    unsigned attr = row->attr & (A_FW | A_FR);

    switch (k) {
    case XC_NOP: case XC_LEA: case XC_PUSH: case XC_POP: case XC_LEAVE: case XC_MOV_O: case XC_GENERIC: case XC_VECTOR:
        if (attr == A_FW && (IN(row->name, setting) || strstr(row->name, "comis")))
            return XF_SET;
        return !attr ? XF_NONE : attr == A_FR ? XF_READ : XF_OTHER;
    case XC_JCC:
        return XF_READ;
    default:
        return XF_OTHER;
    }
}

void viv_xl_classes_init(void)
{
    static gsize once;

    if (!g_once_init_enter(&once))
        return;
    classes = g_malloc(viv_row_count);
    writes = g_malloc(viv_row_count);
    flags = g_malloc(viv_row_count);
    for (unsigned n = 0; n < viv_row_count; n++) {
        classes[n] = classify(&viv_rows[n]);
        writes[n] = written(&viv_rows[n]);
        flags[n] = (uint8_t)flags_use(&viv_rows[n], classes[n]);
    }
    g_once_init_leave(&once, 1);
}

enum xl_class viv_xl_class(const struct viv_insn *i)
{
    enum xl_class k = classes[i->row - viv_rows];

    if (i->vex == 4)
        return k == XC_HELPER_END ? k : XC_EVEX;
    if (k == XC_BIT_REG)
        return i->mem ? XC_HELPER : XC_GENERIC;
    return k;
}

unsigned viv_xl_writes(const struct viv_insn *i)
{
    return writes[i->row - viv_rows];
}

enum xl_flags_use viv_xl_flags_use(const struct viv_insn *i)
{
    return i->vex == 4 ? XF_OTHER : flags[i->row - viv_rows];
}
