/* Handlers of system instructions and of far control transfer, for the decoder's rows.
 *
 * What they expect of the decoder: i->osz is final (8 for POP FS, PUSHF, POPF, PUSH FS in 64-bit mode; 2, 4 or 8 for
 * IRET, RET far, far indirect JMP/CALL as prefixes say: default 4 in 64-bit mode). MOV CR/DR ignore osz and use
 * modrm.rm as a register whatever mod says. IN, OUT, PUSH/POP sreg and LDS.. tell their variant from
 * i->opcode. Far immediate: selector in imm2, offset in imm. All of them end a block (exc.h). Those that #UD by
 * mode (SYSENTER in real mode, ARPL ...) check that themselves; features are checked by the row.
 * LOCK: MOV CR0 with LOCK as CR8 (AMD) is not supported. */
#ifndef VIV_CPU_X86_INTERP_EXEC_SYS_H
#define VIV_CPU_X86_INTERP_EXEC_SYS_H

#include "cpu/x86/insn.h"

#define VIV_EXEC_SYS(_)                                                                            \
    _(mov_to_cr)     /* 0F 22 */                                                                   \
    _(mov_from_cr)   /* 0F 20 */                                                                   \
    _(mov_to_dr)     /* 0F 23 */                                                                   \
    _(mov_from_dr)   /* 0F 21 */                                                                   \
    _(lgdt) _(lidt) _(sgdt) _(sidt) _(lldt) _(ltr) _(sldt) _(str)                                  \
    _(lmsw) _(smsw) _(clts)                                                                        \
    _(invd) _(wbinvd) _(invlpg) _(invpcid) /* wbinvd: WBNOINVD too */                              \
    _(rdmsr) _(wrmsr) _(rdpmc) _(cpuid) _(hlt) _(rsm)                                              \
    _(syscall) _(sysret) _(sysenter) _(sysexit) _(swapgs)                                          \
    _(rdfsbase) _(rdgsbase) _(wrfsbase) _(wrgsbase)                                                \
    _(jmp_far_imm) _(call_far_imm) _(jmp_far_mem) _(call_far_mem) _(ret_far) /* CA and CB */       \
    _(int_n) _(int3) _(into) _(icebp) _(iret)                                                      \
    _(mov_to_sreg) _(mov_from_sreg) _(push_sreg) _(pop_sreg)                                       \
    _(load_far)      /* LDS LES LSS LFS LGS */                                                     \
    _(lar) _(lsl) _(verr) _(verw) _(arpl)                                                          \
    _(cli) _(sti) _(in_imm) _(in_dx) _(out_imm) _(out_dx)                                          \
    _(clac) _(stac) _(xgetbv) _(xsetbv)                                                            \
    _(rdtsc) _(rdtscp) _(rdpid) _(monitor) _(mwait)                                                \
    _(vmcall)        /* VMMCALL too */                                                             \
    _(pushf) _(popf) _(rdpkru) _(wrpkru)

#define _(name) void viv_exec_##name(struct viv_x86 *c, const struct viv_insn *i);
VIV_EXEC_SYS(_)
#undef _

#endif
