/* What kernels made for -kernel take for granted at the entry: the flat segments are 08h and 10h of a table that is there, so that gates with
 * 08h work without a table of their own, and what lies behind the image is theirs. Expected on COM1: "ok". Exit status 1 and more: 3
 * magic, 5 CS, 7 data segments, 9 information overwritten. */
        .set    FLAGS, 3
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .set    VECTOR, 0x30
        .set    HEAP, 0x100000
        .text
#include "serial.inc"

        .globl  _start
_start: cmpl    $0x2badb002, %eax
        jne     1f
        movw    %cs, %ax
        cmpw    $0x08, %ax
        jne     2f
        movw    %ds, %ax
        movw    %ss, %dx
        cmpw    $0x10, %ax
        jne     3f
        cmpw    $0x10, %dx
        jne     3f
        movl    $stack, %esp
        movw    %ax, %es
        movl    $handler, %eax          /* the gate: 08h, as the loader's table has it */
        movw    %ax, idt + 8 * VECTOR
        shrl    $16, %eax
        movw    %ax, idt + 8 * VECTOR + 6
        movw    $0x08, idt + 8 * VECTOR + 2
        movw    $0x8e00, idt + 8 * VECTOR + 4
        lidt    idtr
        int     $VECTOR                 /* shutdown where 08h is no code segment */
        ljmp    $0x08, $5f
5:      movw    $0x10, %ax
        movw    %ax, %ds
        movl    (%ebx), %ebp            /* flags, the heap, and once more */
        movl    $stack, %edi
        movl    $(HEAP / 4), %ecx
        orl     $-1, %eax
        cld
        rep stosl
        cmpl    %ebp, (%ebx)
        jne     4f
        movl    $okay, %esi
        call    print
        exit_with 0
1:      exit_with 1
2:      exit_with 2
3:      exit_with 3
4:      exit_with 4

handler:
        iret

        .section .rodata
okay:   .asciz  "ok\n"
idtr:   .word   8 * VECTOR + 7
        .long   idt

        .bss
        .align  16
idt:    .skip   8 * VECTOR + 8
        .skip   4096
stack:                                  /* the end of the image */
