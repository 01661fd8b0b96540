/* Inside decode/: rows sorted by opcode. */
#ifndef VIV_CPU_X86_DECODE_INT_H
#define VIV_CPU_X86_DECODE_INT_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/decode/row.h"
#include "cpu/x86/state.h"

/* The rows of one opcode of one map, legacy or VEX. */
struct viv_slot {
    uint16_t first; /* in the sorted index */
    uint8_t count;
    bool modrm;       /* the opcode has a ModRM byte */
    bool mod_ignored; /* and its mod field means nothing: always a register (MOV CR, MOV DR) */
};

const struct viv_slot *viv_slot_find(unsigned map, unsigned opcode, bool vex);
const struct viv_row *viv_slot_row(const struct viv_slot *s, unsigned n);

#endif
