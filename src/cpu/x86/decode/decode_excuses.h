/* Where capstone 4 and this decoder differ and silicon or the manual is on our side; part of
 * decode_test.c. */
#ifndef VIV_CPU_X86_DECODE_EXCUSES_H
#define VIV_CPU_X86_DECODE_EXCUSES_H

#include "cpu/x86/decode/row.h"
#include "cpu/x86/state.h"

#include <capstone/capstone.h>
#include <glib.h>
#include <string.h>

static bool is_prefix(uint8_t b, bool long_mode)
{
    return strchr("\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65", b) ||
           (long_mode && (b & 0xf0) == 0x40);
}

struct prefixes {
    bool lock, rep, opsz, asz, any;
    unsigned rex;
    const uint8_t *opcode;
};

static struct prefixes scan_prefixes(const uint8_t *b, bool long_mode)
{
    struct prefixes p = {.opcode = b};

    for (; is_prefix(*p.opcode, long_mode) && *p.opcode; p.opcode++) {
        p.any = true;
        p.lock |= *p.opcode == 0xf0;
        p.rep |= *p.opcode == 0xf2 || *p.opcode == 0xf3;
        p.opsz |= *p.opcode == 0x66;
        p.asz |= *p.opcode == 0x67;
        p.rex += long_mode && (*p.opcode & 0xf0) == 0x40;
    }
    return p;
}

/* Mnemonics of encodings we do not offer need no excuse each: a name that no row has. */
static bool offered(const char *mnemonic)
{
    const char *last = strrchr(mnemonic, ' '); /* after "rep", "lock", "bnd" */

    mnemonic = last ? last + 1 : mnemonic;
    for (unsigned n = 0; n < viv_row_count; n++) {
        if (!strcmp(viv_rows[n].name, mnemonic))
            return true;
    }
    return false;
}

/* Newer than capstone 4, or accepted by CPUs in more shapes than capstone takes. */
static const char *const newer[] = {
    "movdiri", "movdir64b", "serialize", "rdpkru", "wrpkru", "prefetchw", /* every /r of 0F 0D */
    "nop", "sfence", "lfence", "mfence", /* any modrm.rm */
    "vbroadcasti128", /* capstone does not know it */
};

static const char *excused_ours(const struct viv_insn *i, const struct prefixes *p)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(newer); n++) {
        if (!strcmp(i->row->name, newer[n]))
            return "newer than capstone, or more shapes";
    }
    if (*p->opcode == 0x8e || *p->opcode == 0x8c)
        return "REX.R does not count in segment register numbers";
    if (*p->opcode >= 0xa0 && *p->opcode <= 0xa3)
        return "capstone: REP moffs";
    if (i->row->attr & A_AVX512)
        return "capstone knows little but AVX512F, and of that not vvvv = 1111b nor X without SIB";
    if (i->vex && (i->row->feature == VIV_FT_AVX_VNNI || i->row->feature == VIV_FT_GFNI ||
                   i->row->feature == VIV_FT_VAES || i->row->feature == VIV_FT_VPCLMULQDQ))
        return "newer than capstone";
    /* A mandatory prefix followed by others confuses capstone. */
    return p->any && i->row->pfx != VIV_PFX_ANY ? "capstone: prefix order" : NULL;
}

static const char *excused_theirs(const cs_insn *cs, const struct prefixes *p)
{
    if (p->lock)
        return "capstone does not check LOCK";
    if (!offered(cs->mnemonic))
        return "not offered";
    if (p->any && (*p->opcode == 0xc4 || *p->opcode == 0xc5))
        return "66, F2, F3, REX before VEX are #UD";
    if (*p->opcode == 0xc4)
        return "capstone ignores VEX.W, and VSIB without SIB";
    if (p->asz && p->opcode[0] == 0x0f)
        return "capstone takes 67 for 66";
    if (*p->opcode == 0x62)
        return "capstone ignores bits of the EVEX payload that are reserved, and W, z, b, aaa and L'L where they must not be";
    if (*p->opcode == 0x8e)
        return "MOV CS is #UD";
    if (!strcmp(cs->mnemonic, "swapgs") || !strcmp(cs->mnemonic, "adcx") ||
        !strcmp(cs->mnemonic, "invpcid"))
        return "capstone: any mode, any prefix";
    return p->rep || p->opsz ? "capstone ignores 66, F2 and F3 where they are reserved" : NULL;
}

static const char *excused(const uint8_t *b, const struct viv_insn *i, const cs_insn *cs,
                           unsigned mode)
{
    struct prefixes p = scan_prefixes(b, mode == VIV_MODE_LONG);

    if (!cs)
        return excused_ours(i, &p);
    if (!i)
        return excused_theirs(cs, &p);
    if (*p.opcode == 0xc2 || *p.opcode == 0xca)
        return "capstone: RET with REX.W takes 16 bits all the same";
    if (p.any && *p.opcode == 0xe8)
        return "capstone: CALL with several prefixes";
    if (p.rex > 1)
        return "only the last REX counts";
    return p.rep && p.opsz ? "capstone: 66 after F2 or F3 is forgotten" : NULL;
}

#endif
