/* The rows as one array. */
#include "cpu/x86/decode/row.h"
#include "cpu/x86/interp/exec.h"

const struct viv_operand_info viv_operand_info[VIV_OP_COUNT] = {
#define X(letters, kind, size) [VIV_OP_##letters] = {#letters, VIV_K_##kind, VIV_SZ_##size},
    VIV_OPERANDS(X)
#undef X
};

#define ROW_HEAD(map_, pfx_, opcode_, select_, name_, op1, op2, op3, op4, attr_, feature_)         \
    .map = VIV_MAP_##map_, .pfx = VIV_PFX_##pfx_, .opcode = opcode_, .select = select_,            \
    .name = name_,                                                                                 \
    .operand = {VIV_OP_##op1, VIV_OP_##op2, VIV_OP_##op3, VIV_OP_##op4}, .attr = attr_,            \
    .feature = VIV_FT_##feature_

#define ROW(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature, exec_)              \
    {ROW_HEAD(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature),                  \
     .exec = viv_exec_##exec_},
#define ROWF(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature, forms_)            \
    {ROW_HEAD(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature),                  \
     .forms = viv_forms_##forms_},

#define ROWE(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, evex_, feature, exec_)      \
    {ROW_HEAD(map, pfx, opcode, select, name, op1, op2, op3, op4, attr, feature),                  \
     .evex = evex_, .exec = viv_exec_##exec_},

const struct viv_row viv_rows[] = {
#include "cpu/x86/decode/rows.def"
};
const unsigned viv_row_count = sizeof(viv_rows) / sizeof(viv_rows[0]);
