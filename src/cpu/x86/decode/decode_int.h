/* Inside decode/: rows sorted by opcode, and the decoder's own state. */
#ifndef VIV_CPU_X86_DECODE_INT_H
#define VIV_CPU_X86_DECODE_INT_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/state.h"

#define VIV_INSN_MAX 15

struct dec {
    const uint8_t *p;
    unsigned avail, pos;
    enum viv_decode_result fail; /* set once something did not fit */
    unsigned mode;
    const struct viv_cpuid *cpuid;
    struct viv_insn *i;
    bool amd;
    uint8_t seg_override; /* VIV_SEG_COUNT: none */
    uint8_t pfx;          /* mandatory prefix: enum viv_pfx NP 66 F3 F2 */
    uint8_t addr67;
    uint8_t map;
    uint16_t opcode; /* as rows spell it */
};

enum viv_encoding { VIV_ENC_LEGACY, VIV_ENC_VEX, VIV_ENC_EVEX };

/* decode.c: ModRM, SIB and displacement; then, when the row is known, immediates and what depends on it. */
void viv_dec_modrm(struct dec *d, bool mod_ignored);
void viv_dec_operands(struct dec *d, const struct viv_row *row);
uint64_t viv_dec_number(struct dec *d, unsigned n);

/* evex.c: the instruction after 62H. */
enum viv_decode_result viv_dec_evex(struct dec *d);

/* The rows of one opcode of one map, of one enum viv_encoding. */
struct viv_slot {
    uint16_t first; /* in the sorted index */
    uint8_t count;
    bool modrm;       /* the opcode has a ModRM byte */
    bool mod_ignored; /* and its mod field means nothing: always a register (MOV CR, MOV DR) */
};

const struct viv_slot *viv_slot_find(unsigned map, unsigned opcode, unsigned encoding);
const struct viv_row *viv_slot_row(const struct viv_slot *s, unsigned n);

#endif
