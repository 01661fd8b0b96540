/* Prototypes of all instruction handlers, generated from the rows. A file of handlers includes
 * this. */
#ifndef VIV_CPU_X86_INTERP_EXEC_H
#define VIV_CPU_X86_INTERP_EXEC_H

#include "cpu/x86/decode/row.h"

#define ROW(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature, exec)               \
    void viv_exec_##exec(struct viv_x86 *c, const struct viv_insn *i);
#define ROWF(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature, forms)             \
    extern const viv_exec_fn viv_forms_##forms[8];
#define ROWE(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, evex, feature, exec)        \
    void viv_exec_##exec(struct viv_x86 *c, const struct viv_insn *i);
#include "cpu/x86/decode/rows.def"
#undef ROW
#undef ROWF
#undef ROWE

#endif
