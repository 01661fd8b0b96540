/* Each instruction that the CPU's CPUID does not promise is undefined: it raises #UD, or (LZCNT, hints) does what older CPUs
 * did. The list is gen.c's (table.inc, from the decoder's rows) and extra.inc's. For every entry whose feature bit is clear the
 * instruction is executed in ring 0 of 64-bit mode with all state components on that there are. Output on COM1: one line a
 * wrong answer, then "checked N wrong M". */
        .set    FLAGS, 2
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
        .text
#include "serial.inc"
        .set    UNDEFINED, 6            /* vector #UD */
        .set    RUNS, 255
        .set    LEAF_NOWHERE, 0xffffffff
        .set    SUB_NOWHERE, 0
        .set    BIT_NOWHERE, 0

        .globl  _start
_start: movl    $stack, %esp
        movl    $pdpt + 7, pml4
        movl    $pd + 7, pdpt
        movl    $pd, %edi               /* 1 GiB, 2 MiB pages */
        movl    $0x87, %eax
        movl    $512, %ecx
1:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    1b
        movl    %cr4, %eax
        orl     $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax            /* LME */
        wrmsr
        movl    %cr0, %eax
        andl    $~0xc, %eax             /* TS, EM */
        orl     $0x80000022, %eax       /* PG, NE, MP */
        movl    %eax, %cr0
        lgdt    gdtr
        ljmp    $8, $long

        .code64
/* %eax leaf, %ecx subleaf: CPUID, or zeros beyond the last leaf. Changes %ebx, %edx, %r8. */
leaf:   movl    %eax, %r8d
        movl    %ecx, %r9d
        andl    $0x80000000, %eax
        cpuid
        cmpl    %r8d, %eax
        jb      1f
        movl    %r8d, %eax
        movl    %r9d, %ecx
        cpuid
        ret
1:      xorl    %eax, %eax
        xorl    %ebx, %ebx
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        ret

long:   movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $stack, %esp
        movl    $idt, %edi              /* 32 gates to stubs of 16 bytes */
        movl    $stubs, %eax
        movl    $32, %ecx
1:      movl    %eax, (%rdi)
        movw    $8, 2(%rdi)
        movl    %eax, 4(%rdi)
        movw    $0x8e00, 4(%rdi)
        addl    $16, %eax
        addl    $16, %edi
        loop    1b
        lidt    idtr(%rip)
        call    enable
pass:   movl    $0, checked(%rip)
        movl    $table, %ebx
        movl    %ebx, here(%rip)
next:   movl    here(%rip), %esi
        cmpl    $table_end, %esi
        jae     finished
        movl    8(%rsi), %eax           /* leaf, subleaf, register << 8 | bit */
        movl    12(%rsi), %ecx
        cmpl    $0xffffffff, %eax
        je      lacks
        call    leaf
        movl    %eax, regs(%rip)
        movl    %ebx, regs+4(%rip)
        movl    %ecx, regs+8(%rip)
        movl    %edx, regs+12(%rip)
        movl    here(%rip), %esi
        movl    16(%rsi), %ecx
        movl    %ecx, %eax
        shrl    $8, %eax
        leaq    regs(%rip), %rdx
        movl    (%rdx,%rax,4), %eax
        andl    $31, %ecx
        btl     %ecx, %eax
        jc      advance
lacks:  incl    checked(%rip)
        movl    here(%rip), %esi
        movb    $255, vector(%rip)
        movl    (%rsi), %ebp
        movl    $scratch, %edi
        movl    $scratch + 512, %esi
        xorl    %eax, %eax
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        xorl    %ebx, %ebx
        jmp     *%rbp
after:  movl    $stack, %esp
        cld
        movl    here(%rip), %esi
        movzbl  vector(%rip), %eax
        cmpb    20(%rsi), %al
        je      advance
        incl    wrong(%rip)
        movl    4(%rsi), %esi
        call    print64
        movl    $t_ran, %esi
        movzbl  vector(%rip), %eax
        cmpl    $255, %eax
        je      1f
        movl    $t_vec, %esi
        call    print64
        movzbl  vector(%rip), %eax
        call    number
        movl    $t_end, %esi
1:      call    print64
advance: addl   $24, here(%rip)
        jmp     next

finished:
        decl    passes(%rip)            /* again: what is translated only when it is hot */
        jnz     pass
        movl    $t_checked, %esi
        call    print64
        movl    checked(%rip), %eax
        call    number
        movl    $t_wrong, %esi
        call    print64
        movl    wrong(%rip), %eax
        call    number
        movl    $t_end, %esi
        call    print64
        xorl    %eax, %eax
        cmpl    $0, wrong(%rip)
        setne   %al
        outl    %eax, $0xf4
9:      hlt
        jmp     9b

/* Turns on what the CPU has: SSE, XSAVE with every state component, FSGSBASE, protection keys. */
enable: movl    $1, %eax
        call    leaf
        movq    %cr4, %r10
        testl   $1 << 24, %edx          /* FXSR */
        jz      1f
        orl     $0x600, %r10d
1:      testl   $1 << 26, %ecx          /* XSAVE */
        jz      2f
        orl     $0x40000, %r10d
2:      movl    $7, %eax
        xorl    %ecx, %ecx
        call    leaf
        testl   $1, %ebx                /* FSGSBASE */
        jz      3f
        orl     $0x10000, %r10d
3:      testl   $8, %ecx                /* PKU */
        jz      4f
        orl     $0x400000, %r10d
4:      movq    %r10, %cr4
        testl   $0x40000, %r10d
        jz      5f
        movl    $13, %eax
        xorl    %ecx, %ecx
        call    leaf
        andl    $0x2e7, %eax            /* x87, SSE, AVX, AVX-512, PKRU */
        xorl    %edx, %edx
        xorl    %ecx, %ecx
        xsetbv
5:      ret

print64: lodsb
        testb   %al, %al
        jz      2f
        movb    %al, %ah
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     print64
2:      ret

/* %eax in decimal. */
number: movl    $digits + 11, %esi
        movb    $0, (%rsi)
        movl    $10, %ecx
1:      xorl    %edx, %edx
        divl    %ecx
        addb    $'0', %dl
        decl    %esi
        movb    %dl, (%rsi)
        testl   %eax, %eax
        jnz     1b
        jmp     print64

        .align  16
stubs:
        .set    n, 0
        .rept   32
        .align  16
        movb    $n, vector(%rip)
        jmp     after
        .set    n, n + 1
        .endr

/* Code goes to .text, the name to .rodata, the entry to .table. */
        .macro  entry feature, expect, name, insn:vararg
        .section .rodata.names, "a"
7:      .asciz  "\name"
        .text
8:      \insn
        jmp     after
        .section .rodata.table, "a"
        .long   8b, 7b, LEAF_\feature, SUB_\feature, BIT_\feature
        .byte   \expect, 0, 0, 0
        .text
        .endm

        .section .rodata.table, "a"
        .align  8
table:
        .text
#include "table.inc"
#include "extra.inc"
        .section .rodata.table, "a"
table_end:

        .section .rodata
t_ran:  .asciz  ": ran\n"
t_vec:  .asciz  ": vector "
t_end:  .asciz  "\n"
t_checked: .asciz "checked "
t_wrong: .asciz " wrong "
        .align  8
gdt:    .quad   0
        .quad   0x00af9b000000ffff
        .quad   0x00cf93000000ffff
gdtr:   .word   23
        .long   gdt
idtr:   .word   511
        .long   idt, 0
        .data
here:   .long   0
passes: .long   3
checked: .long  0
wrong:  .long   0
vector: .byte   0
digits: .skip   16
        .bss
        .align  4096
pml4:   .skip   4096
pdpt:   .skip   4096
pd:     .skip   4096
scratch: .skip  8192
idt:    .skip   512
regs:   .skip   16
        .skip   4096
stack:
