/* What cannot be compared, found in the raw bytes, because a filter that trusted our decoder would let pass what our
 * decoder gets wrong. */
#include "diff.h"

struct scan {
    const uint8_t *p;
    unsigned len, pos;
    bool long_mode, vex, evex, f3;
    uint8_t map;  /* 0 one byte, 1 0F, 2 0F38, 3 0F3A */
    uint8_t op, modrm;
};

static uint8_t at(const struct scan *s, unsigned pos)
{
    return pos < s->len ? s->p[pos] : 0;
}

static bool is_prefix(const struct scan *s, uint8_t b)
{
    switch (b) {
    case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
        return true;
    default:
        return s->long_mode && (b & 0xf0) == 0x40;
    }
}

static void scan_opcode(struct scan *s)
{
    uint8_t b;

    while (is_prefix(s, at(s, s->pos)) && s->pos < 15)
        s->f3 |= at(s, s->pos++) == 0xf3;
    b = at(s, s->pos);
    if ((b == 0xc4 || b == 0xc5) && (s->long_mode || (at(s, s->pos + 1) & 0xc0) == 0xc0)) {
        s->vex = true;
        s->map = b == 0xc5 ? 1 : at(s, s->pos + 1) & 0x1f;
        s->pos += b == 0xc5 ? 2 : 3;
    } else if (b == 0x62 && (s->long_mode || (at(s, s->pos + 1) & 0xc0) == 0xc0)) {
        s->evex = true;
        s->map = at(s, s->pos + 1) & 7;
        s->pos += 4;
    } else if (b == 0x0f) {
        s->map = 1;
        b = at(s, ++s->pos);
        if (b == 0x38 || b == 0x3a) {
            s->map = b == 0x38 ? 2 : 3;
            s->pos++;
        }
    }
    s->op = at(s, s->pos);
    s->modrm = at(s, s->pos + 1);
}

static const char *one_byte(const struct scan *s)
{
    unsigned reg = s->modrm >> 3 & 7;

    switch (s->op) {
    case 0x07: case 0x17: case 0x1f: return s->long_mode ? NULL : "segment load";
    case 0x8e: return "segment load";
    case 0xc4: case 0xc5: return "segment load";
    case 0x9a: case 0xea: case 0xca: case 0xcb: case 0xcf: return "far transfer";
    case 0xff: return reg == 3 || reg == 5 ? "far transfer" : NULL;
    case 0xcd: return s->modrm == 0x80 ? "system call" : NULL;
    case 0xc6: case 0xc7: return s->modrm == 0xf8 ? "transactions" : NULL;
    case 0x63: return s->long_mode ? NULL : "arpl";
    case 0x0f: return NULL;
    default: return NULL;
    }
}

static const char *two_byte(const struct scan *s)
{
    unsigned reg = s->modrm >> 3 & 7;
    bool mem = s->modrm < 0xc0;

    switch (s->op) {
    case 0x00: return "descriptor table look-up";
    case 0x01:
        if (mem)
            return reg == 0 || reg == 1 || reg == 4 ? "UMIP, emulated by the kernel" : NULL;
        if (reg == 4)
            return "UMIP, emulated by the kernel";
        switch (s->modrm) {
        case 0xc1: case 0xd9: return "hypercall";
        case 0xd5: case 0xd6: return "transactions";
        case 0xcf: case 0xd7: case 0xc0: return "SGX";
        case 0xcc: case 0xcd: case 0xce: return "TDX"; /* with 66: #GP on a host that has it, though no CPUID bit says so */
        case 0xd0: return "XCR0 differs"; /* XGETBV */
        case 0xee: case 0xef: return "PKRU";
        case 0xf9: return "time stamp counter"; /* RDTSCP */
        case 0xe8: case 0xe9: return "TSX suspend, SERIALIZE";
        default: return NULL;
        }
    case 0x02: case 0x03: return "descriptor table look-up";
    case 0xae: return reg == 4 && s->f3 ? "PTWRITE" : NULL;
    case 0x05: case 0x07: case 0x34: case 0x35: return "system call";
    case 0x31: return "time stamp counter";
    case 0x33: return "performance counter";
    case 0xa2: return "CPUID";
    case 0xa1: case 0xa9: case 0xb2: case 0xb4: case 0xb5: return "segment load";
    case 0x78: case 0x79: return "VMREAD";
    case 0xc7: return !mem && reg >= 6 ? "random numbers, RDPID" : NULL;
    default: return NULL;
    }
}

const char *filter_bytes(const uint8_t *p, unsigned len, bool long_mode)
{
    struct scan s = {.p = p, .len = len, .long_mode = long_mode};

    scan_opcode(&s);
    if (s.evex)
        return NULL;
    if (s.vex && s.map == 2 &&
        (s.op == 0x49 || s.op == 0x4b || (s.op >= 0x5c && s.op <= 0x5e) || s.op == 0x6c))
        return "AMX";
    if (s.vex)
        return NULL;
    if (s.map == 2 && s.op == 0xf8)
        return "MOVDIR64B, ENQCMD"; /* with F2, F3 */
    return s.map == 0 ? one_byte(&s) : s.map == 1 ? two_byte(&s) : NULL;
}
