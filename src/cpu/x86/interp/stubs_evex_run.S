/* The runner of evex.h: see there for registers. r8 = io, r9 = stub. */

#define IO_GPR  160
#define IO_MXCSR 192
#define IO_ARITH 196
#define IO_V 256

    .section .rodata
    .balign 4
host_mxcsr:
    .long 0x1f80

    .text
    .globl viv_run_evex
    .type viv_run_evex, @function
    .balign 16
viv_run_evex:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rdi, %r8
    mov %rsi, %r9
    mov IO_GPR+8(%r8), %rcx
    mov IO_GPR+16(%r8), %rdx
    mov IO_GPR+24(%r8), %rbx
    lea 1f(%rip), %r10 /* after #XM: viv_stub_recover */
    vpxor %xmm0, %xmm0, %xmm0
    .irp n, 1, 2, 3
    vmovdqa64 IO_V+64*\n(%r8), %zmm\n
    kmovq 8*\n(%r8), %k\n
    .endr
    kmovq (%r8), %k4
    ldmxcsr IO_MXCSR(%r8)
    call *%r9
1:  stmxcsr IO_MXCSR(%r8)
    ldmxcsr host_mxcsr(%rip)
    .irp n, 1, 2, 3
    vmovdqa64 %zmm\n, IO_V+64*\n(%r8)
    kmovq %k\n, 8*\n(%r8)
    .endr
    vzeroupper
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

    .section .note.GNU-stack, "", @progbits
