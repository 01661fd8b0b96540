/* Runners: load registers by role, call a stub, store them. See stubs.h for the contract.
 * r8 = io, r9 = stub: no stub touches either. */

#define IO_MM   128
#define IO_GPR  160
#define IO_MXCSR 192
#define IO_ARITH 196
#define IO_FAULT 198
#define X87_MEM 512
#define X87_ARITH 624

    .section .rodata
    .balign 4
host_mxcsr:
    .long 0x1f80

    .text

.macro ENTER
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rdi, %r8
    mov %rsi, %r9
    mov IO_GPR(%r8), %rax
    mov IO_GPR+8(%r8), %rcx
    mov IO_GPR+16(%r8), %rdx
    mov IO_GPR+24(%r8), %rbx
.endm

/* No instruction here may change flags before LAHF. */
.macro LEAVE
    mov %rax, IO_GPR(%r8)
    mov %rcx, IO_GPR+8(%r8)
    mov %rdx, IO_GPR+16(%r8)
    mov %rbx, IO_GPR+24(%r8)
    lahf
    seto %al
    mov %ax, IO_ARITH(%r8)
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
    .cfi_endproc
.endm

.macro VECS op, reg, store=0
    .irp n, 0, 1, 2, 3
    .if \store
    \op %\reg\n, 32*\n(%r8)
    .else
    \op 32*\n(%r8), %\reg\n
    .endif
    .endr
.endm

.macro FUNC name
    .globl \name
    .type \name, @function
    .balign 16
\name:
.endm

FUNC viv_run_sse
    ENTER
    VECS movdqu, xmm
    call *%r9
    VECS movdqu, xmm, 1
    LEAVE

FUNC viv_run_avx
    ENTER
    VECS vmovdqu, ymm
    call *%r9
    VECS vmovdqu, ymm, 1
    vzeroupper
    LEAVE

/* The FP runners share one recovery label per kind of register: the handler picks viv_stub_recover, which finds
 * the right tail in r10. */
FUNC viv_run_sse_fp
    ENTER
    lea 1f(%rip), %r10
    VECS movdqu, xmm
    ldmxcsr IO_MXCSR(%r8)
    call *%r9
1:  stmxcsr IO_MXCSR(%r8)
    ldmxcsr host_mxcsr(%rip)
    VECS movdqu, xmm, 1
    LEAVE

FUNC viv_run_avx_fp
    ENTER
    lea 1f(%rip), %r10
    VECS vmovdqu, ymm
    ldmxcsr IO_MXCSR(%r8)
    call *%r9
1:  stmxcsr IO_MXCSR(%r8)
    ldmxcsr host_mxcsr(%rip)
    VECS vmovdqu, ymm, 1
    vzeroupper
    LEAVE

FUNC viv_run_mmx
    ENTER
    lea 1f(%rip), %r10
    VECS movdqu, xmm
    .irp n, 0, 1, 2, 3
    movq IO_MM+8*\n(%r8), %mm\n
    .endr
    ldmxcsr IO_MXCSR(%r8)
    call *%r9
1:  stmxcsr IO_MXCSR(%r8)
    ldmxcsr host_mxcsr(%rip)
    VECS movdqu, xmm, 1
    .irp n, 0, 1, 2, 3
    movq %mm\n, IO_MM+8*\n(%r8)
    .endr
    emms
    LEAVE

/* The signal handler resumes here after #XM in a stub: the stub's return address is still on the stack. */
    .globl viv_stub_recover
viv_stub_recover:
    movb $1, IO_FAULT(%r8)
    lea 8(%rsp), %rsp
    jmp *%r10

/* FNINIT restores the ABI's x87 state (empty, 0x37f) even with an exception pending; FXRSTOR left MXCSR at the
 * image's 0x1f80. */
FUNC viv_run_x87
    .cfi_startproc
    mov %rdi, %r8
    mov %rsi, %r9
    lea X87_MEM(%r8), %rdx
    fxrstor64 (%r8)
    mov X87_ARITH(%r8), %ax
    add $127, %al
    sahf
    call *%r9
    fxsave64 (%r8)
    lahf
    seto %al
    mov %ax, X87_ARITH(%r8)
    fninit
    ret
    .cfi_endproc

/* x87 stubs. */
    .section .text.viv_stubs_x87, "ax", @progbits
    .globl viv_stubs_x87_reg
    .balign 8
viv_stubs_x87_reg:
    .set i, 0
    .rept 512
    .byte 0xd8 + (i >> 6), 0xc0 + (i & 63)
    ret
    .balign 8, 0xcc
    .set i, i + 1
    .endr

    .globl viv_stubs_x87_mem
viv_stubs_x87_mem:
    .set i, 0
    .rept 64
    .byte 0xd8 + (i >> 3), 0x02 + ((i & 7) << 3)
    ret
    .balign 8, 0xcc
    .set i, i + 1
    .endr

    .globl viv_stub_ret
viv_stub_ret:
    ret

    .section .note.GNU-stack, "", @progbits
