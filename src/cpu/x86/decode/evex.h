/* What follows from an EVEX instruction's row and length. */
#ifndef VIV_CPU_X86_DECODE_EVEX_H
#define VIV_CPU_X86_DECODE_EVEX_H

#include "cpu/x86/decode/row.h"

/* Bytes of the memory operand; of one element for broadcasts, gathers, scatters, and where the opmask says how many
 * elements there are. It is what 8-bit displacements are multiplied by. */
unsigned viv_evex_memory(const struct viv_insn *i);

#endif
