/* Between translated code and C. RSP is struct viv_x86 - XL_SP in translated code; see layout.h and docs/xlate.md.
 *
 * Guest registers live in the host's of the same name, except RCX in R8, RSP in R9, R8-R11 in memory. RCX, R10 and
 * R11 are scratch. The arithmetic flags are the host's. */
#include "cpu/x86/xlate/layout.h"

    .intel_syntax noprefix
    .text

#define GPR(n) [rsp + XL_O_GPR + 8 * (n)]

.macro SAVE_REGS
    mov GPR(0), rax
    mov GPR(1), r8
    mov GPR(2), rdx
    mov GPR(3), rbx
    mov GPR(4), r9
    mov GPR(5), rbp
    mov GPR(6), rsi
    mov GPR(7), rdi
    mov GPR(12), r12
    mov GPR(13), r13
    mov GPR(14), r14
    mov GPR(15), r15
    lahf
    seto al
    mov word ptr [rsp + XL_O_ARITH], ax
.endm

.macro LOAD_REGS
    movzx eax, word ptr [rsp + XL_O_ARITH]
    add al, 0x7f /* OF */
    sahf
    mov rax, GPR(0)
    mov r8, GPR(1)
    mov rdx, GPR(2)
    mov rbx, GPR(3)
    mov r9, GPR(4)
    mov rbp, GPR(5)
    mov rsi, GPR(6)
    mov rdi, GPR(7)
    mov r12, GPR(12)
    mov r13, GPR(13)
    mov r14, GPR(14)
    mov r15, GPR(15)
.endm

/* Vector registers to memory if they are in the host's. Destroys RAX, RCX, flags. */
.macro PARK_VEC
    cmp byte ptr [rsp + XL_O_VECIN], 0
    je 99f
    call viv_xl_park_vec
99:
.endm

/* The same for x87 state. Destroys RAX, RDX, RDI, R8, R9, flags. */
.macro PARK_X87
    cmp byte ptr [rsp + XL_O_X87IN], 0
    je 99f
    call viv_xl_park_x87
99:
.endm

.macro LOAD_HOST_SP
    mov rbx, rsp
    lea rdi, [rsp + XL_SP]
    mov rsp, [rbx + XL_O_HOSTSP]
.endm

/* void viv_xl_enter(struct viv_x86 *c, const void *code) */
    .globl viv_xl_enter
    .type viv_xl_enter, @function
viv_xl_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov [rdi - XL_SP + XL_O_HOSTSP], rsp
    lea rsp, [rdi - XL_SP]
    mov r11, rsi
    LOAD_REGS
    jmp r11

/* Everything is in memory, RSP is as in translated code. */
leave:
    PARK_X87
    PARK_VEC
    mov rsp, [rsp + XL_O_HOSTSP]
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

/* RSP: 8 below that (called). */
viv_xl_park_vec:
    mov rax, [rsp + 8 + XL_O_ZMM]
    mov rcx, [rsp + 8 + XL_O_MXCSR]
    stmxcsr [rcx]
    mov byte ptr [rsp + 8 + XL_O_VECIN], 0
    cmp byte ptr [rsp + 8 + XL_O_WIDE], 1
    jb 1f
    ja 2f
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqa [rax + 64 * \n], ymm\n
    .endr
    vzeroupper
    ldmxcsr host_mxcsr[rip]
    ret
1:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqa [rax + 64 * \n], xmm\n
    .endr
    ldmxcsr host_mxcsr[rip]
    ret
2:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmovdqa64 [rax + 64 * \n], zmm\n
    .endr
    .irp n, 0,1,2,3,4,5,6,7
    kmovq [rax + 2048 + 8 * \n], k\n
    .endr
    vzeroupper
    ldmxcsr host_mxcsr[rip]
    ret

/* Destroys RCX, R11; keeps flags. RSP: 8 below that. */
viv_xl_load_vec:
    mov r11, [rsp + 8 + XL_O_ZMM]
    mov rcx, [rsp + 8 + XL_O_MXCSR]
    ldmxcsr [rcx]
    mov byte ptr [rsp + 8 + XL_O_VECIN], 1
    movzx ecx, byte ptr [rsp + 8 + XL_O_WIDE]
    jrcxz 1f
    lea ecx, [rcx - 1]
    jrcxz 2f
    jmp 3f
1:  jmp 4f
2:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqa ymm\n, [r11 + 64 * \n]
    .endr
    ret
3:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmovdqa64 zmm\n, [r11 + 64 * \n]
    .endr
    .irp n, 0,1,2,3,4,5,6,7
    kmovq k\n, [r11 + 2048 + 8 * \n]
    .endr
    ret
4:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqa xmm\n, [r11 + 64 * \n]
    .endr
    ret

/* C code is to find an empty stack and FCW 37FH. FIP and its kin become what has been noted, not what the host's unit
 * says; FCS and FDS are segments as they are now, because only C code changes those. RSP: 8 below that. */
viv_xl_park_x87:
    mov rdi, [rsp + 8 + XL_O_FPU]
    movzx r9d, word ptr [rdi + XL_FPU_FOP]
    mov r8, [rdi + XL_FPU_FIP]
    fxsave64 [rdi]
    mov byte ptr [rsp + 8 + XL_O_X87IN], 0
    cmp word ptr [rdi], 0x37f
    jne 1f
    cmp byte ptr [rdi + XL_FPU_FTW], 0
    je 2f
1:  fninit
2:  mov edx, [rsp + 8 + XL_O_FLAST]
    test edx, edx
    jz 3f
    movzx r8d, dx
    add r8, [rsp + 8 + XL_O_FPAGE]
    mov r9d, edx
    shr r9d, 16
    and r9d, 0x7ff
    mov rdx, [rsp + 8 + XL_O_SEG]
    movzx eax, word ptr [rdx + XL_SEG_BYTES * XL_SEG_CS + XL_SEG_SEL]
    mov [rdi + XL_FPU_FCS], ax
    mov dword ptr [rsp + 8 + XL_O_FLAST], 0
3:  mov [rdi + XL_FPU_FOP], r9w
    mov [rdi + XL_FPU_FIP], r8
    mov rax, [rsp + 8 + XL_O_FDP]
    mov [rdi + XL_FPU_FDP], rax
    movzx eax, byte ptr [rsp + 8 + XL_O_FSEG]
    cmp eax, XL_NO_SEG
    je 4f
    imul eax, eax, XL_SEG_BYTES
    mov rdx, [rsp + 8 + XL_O_SEG]
    movzx eax, word ptr [rdx + rax + XL_SEG_SEL]
    mov [rdi + XL_FPU_FDS], ax
4:  ret

/* Not FXRSTOR, which would take the vector registers along. Destroys RAX, RDX, R10; keeps flags. RSP: 8 below that. */
viv_xl_load_x87:
    mov r10, [rsp + 8 + XL_O_FPU]
    mov rax, [r10 + XL_FPU_FDP]
    mov [rsp + 8 + XL_O_FDP], rax
    mov byte ptr [rsp + 8 + XL_O_FSEG], XL_NO_SEG
    mov byte ptr [rsp + 8 + XL_O_X87IN], 1
    mov qword ptr [r10 + XL_FPU_STATE], 1
    mov eax, 1
    mov edx, 0
    xrstor64 [r10]
    ret

    .globl viv_xl_t_x87
viv_xl_t_x87: /* called; destroys RCX, R10, R11 */
    pop qword ptr [rsp + XL_O_RET]
    mov r11, rax
    mov rcx, rdx
    call viv_xl_load_x87
    mov rax, r11
    mov rdx, rcx
    jmp [rsp + XL_O_RET]

    .globl viv_xl_t_vec
viv_xl_t_vec: /* called: return address at [rsp] */
    pop qword ptr [rsp + XL_O_RET]
    call viv_xl_load_vec
    jmp [rsp + XL_O_RET]

/* The word behind the call into RAX; RET: behind it. Everything has been saved. */
.macro DATA
    mov rcx, [rsp + XL_O_RET]
    movsxd rax, dword ptr [rcx]
    add rcx, 4
    mov [rsp + XL_O_RET], rcx
.endm

.macro RIP_FROM_DATA
    DATA
    add rax, [rsp + XL_O_PAGE]
    mov [rsp + XL_O_RIP], rax
.endm

    .globl viv_xl_t_exit, viv_xl_t_link, viv_xl_t_jump_miss, viv_xl_t_jump_at, viv_xl_t_fault, viv_xl_t_cross
viv_xl_t_exit:
    pop qword ptr [rsp + XL_O_RET]
    SAVE_REGS
    RIP_FROM_DATA
    mov word ptr [rsp + XL_O_WHY], XL_WHY_NEXT
    jmp leave

/* Leaves with the data behind the call in a word of the struct. */
.macro LEAVE_WITH where, why
    pop qword ptr [rsp + XL_O_RET]
    SAVE_REGS
    DATA
    mov [rsp + \where], rax
    mov word ptr [rsp + XL_O_WHY], \why
    jmp leave
.endm

viv_xl_t_link:
    LEAVE_WITH XL_O_ARG, XL_WHY_LINK

viv_xl_t_cross:
    LEAVE_WITH XL_O_ARG, XL_WHY_CROSS

viv_xl_t_jump_at:
    LEAVE_WITH XL_O_LAST, XL_WHY_JUMP

viv_xl_t_jump_miss:
    mov word ptr [rsp + XL_O_WHY], XL_WHY_JUMP
    SAVE_REGS
    jmp leave

viv_xl_t_fault:
    mov r10, [rsp + XL_O_PAGE]
    lea rcx, [rcx + r10]
    mov [rsp + XL_O_RIP], rcx
    mov word ptr [rsp + XL_O_WHY], XL_WHY_INTERP
    SAVE_REGS
    jmp leave

/* Asks C for the slot of R10 with the data behind the call: R13. R12, R14: what BACK_WITH_SLOT has to load again. */
.macro ASK_SLOT function
    SAVE_REGS
    PARK_X87
    DATA
    mov rsi, r10
    mov edx, eax
    mov r14d, eax
    movzx r12d, byte ptr [rsp + XL_O_VECIN]
    PARK_VEC
    LOAD_HOST_SP
    call \function
    mov rsp, rbx
    mov r13, rax
.endm

.macro BACK_WITH_SLOT
    test r12d, r12d
    jz 97f
    call viv_xl_load_vec
97: test r14d, XL_I_X87
    jz 98f
    call viv_xl_load_x87
98: mov r11, r13
.endm

/* uint64_t viv_xl_miss(c, lin, info): the slot, or -1: the interpreter is to do it (c->rip is set). */
    .globl viv_xl_t_miss
viv_xl_t_miss:
    pop qword ptr [rsp + XL_O_RET]
    mov [rsp + XL_O_R10], r10
    ASK_SLOT viv_xl_miss
    cmp rax, -1
    je 2f
    BACK_WITH_SLOT
    LOAD_REGS
    mov r10, [rsp + XL_O_R10]
    jmp [rsp + XL_O_RET]
2:  mov word ptr [rsp + XL_O_WHY], XL_WHY_INTERP
    jmp leave /* registers are in memory as they were */

/* uint64_t viv_xl_group_miss(c, lin, info): the slot, or -1: the jump behind the data. */
    .globl viv_xl_t_group
viv_xl_t_group:
    pop qword ptr [rsp + XL_O_RET]
    mov rcx, [rsp + XL_O_RET]
    movzx ecx, word ptr [rcx] /* the range: does it cross a page? Flags stay as they are. */
    lea rcx, [rcx + r10 - 1]
    pext rcx, rcx, [rsp + XL_O_MASK]
    pext r11, r10, [rsp + XL_O_MASK]
    not r11
    lea rcx, [rcx + r11 + 1]
    jrcxz 3f
    mov rcx, [rsp + XL_O_RET]
    lea rcx, [rcx + 4]
    jmp rcx
3:  ASK_SLOT viv_xl_group_miss
    BACK_WITH_SLOT
    cmp r11, -1
    je 2f
    add qword ptr [rsp + XL_O_RET], 5
2:  LOAD_REGS
    jmp [rsp + XL_O_RET]

/* void viv_xl_stored(c, flags): code was changed, or the dirty log wants to know. */
    .globl viv_xl_t_stored, viv_xl_t_stored_rip
viv_xl_t_stored:
    pop qword ptr [rsp + XL_O_RET]
    SAVE_REGS
    RIP_FROM_DATA
    mov word ptr [rsp + XL_O_WHY], XL_WHY_NEXT
    jmp stored
viv_xl_t_stored_rip:
    pop qword ptr [rsp + XL_O_RET]
    SAVE_REGS
    mov word ptr [rsp + XL_O_WHY], XL_WHY_JUMP /* the target is still to be checked */
stored:
    PARK_X87
    PARK_VEC
    mov rsi, r11
    LOAD_HOST_SP
    call viv_xl_stored
    mov rsp, rbx
    jmp leave

/* bool viv_xl_exec(c, insn, offset): the handler; true: go on in the block. x87 state stays parked: the block knows. */
    .globl viv_xl_t_exec, viv_xl_t_exec_end
viv_xl_t_exec:
    pop qword ptr [rsp + XL_O_RET]
    mov r10d, ecx
    SAVE_REGS
    PARK_X87
    movzx r12d, byte ptr [rsp + XL_O_VECIN]
    PARK_VEC
    mov rsi, r11
    mov edx, r10d
    LOAD_HOST_SP
    call viv_xl_exec
    mov rsp, rbx
    test al, al
    jz 2f
    test r12d, r12d
    jz 1f
    call viv_xl_load_vec
1:  LOAD_REGS
    jmp [rsp + XL_O_RET]
2:  mov word ptr [rsp + XL_O_WHY], XL_WHY_NEXT
    jmp leave

viv_xl_t_exec_end: /* bool viv_xl_exec_end(c, insn, offset): true: c->rip may be in the jump cache */
    mov r10d, ecx
    SAVE_REGS
    PARK_X87
    PARK_VEC
    mov rsi, r11
    mov edx, r10d
    LOAD_HOST_SP
    call viv_xl_exec_end
    mov rsp, rbx
    test al, al
    jz 1f
    LOAD_REGS
    mov qword ptr [rsp + XL_O_LAST], XL_LAST_NONE
    mov rcx, [rsp + XL_O_RIP]
    jmp [rsp + XL_O_THUNK + 8 * XL_T_JUMP]
1:  mov word ptr [rsp + XL_O_WHY], XL_WHY_NEXT
    jmp leave

    .section .rodata
    .balign 4
host_mxcsr:
    .long 0x1f80

    .section .note.GNU-stack, "", @progbits
