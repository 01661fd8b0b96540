/* What real-mode code finds of a BIOS: vectors that return, a timer that ticks and ends HLT, the data area. With "nopit" on
 * the command line: no 8254 at its ports. Expected on COM1: "ok". */
        .set    FLAGS, 2
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .set    LOW, 0x1000             /* where the 16-bit part runs */
        .text
#include "serial.inc"

        .globl  _start
_start: movl    $stack, %esp
        movl    16(%ebx), %esi          /* command line: ends in "nopit"? */
1:      lodsb
        testb   %al, %al
        jnz     1b
        cmpl    $0x7469706f, -5(%esi)   /* "opit" */
        je      no_pit
        cld
        movl    $code16, %esi
        movl    $LOW, %edi
        movl    $(code16_end - code16), %ecx
        rep movsb
        lgdt    gdtr
        lidt    ivt
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        ljmp    $0x08, $LOW

no_pit: movl    $16, %ecx               /* nothing there: all reads are ones */
1:      inb     $0x40, %al
        cmpb    $0xff, %al
        jne     2f
        loop    1b
        movl    $okay, %esi
        call    print
        exit_with 0
2:      exit_with 1

        .code16
code16: movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $0, $(LOW + 1f - code16)
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x800, %sp
        movl    $3, %edi                /* exit status 7: data area */
        cmpw    $0x9fc0, 0x40e
        jne     leave
        cmpw    $639, 0x413
        jne     leave
        cmpw    $0x3f8, 0x400
        jne     leave
        movl    $1, %edi                /* a service nobody offers returns; hangs otherwise */
        int     $0x15
        int     $0x1a
        movl    0xff * 4, %eax          /* (some KVM cannot do int ffh here) */
        cmpl    %eax, 0x15 * 4
        jne     leave
        movw    $3, %cx                 /* only the timer can end these; each end-of-interrupt lets the next come */
2:      sti
        hlt
        loop    2b
        cli
        movb    $0x0b, %al              /* nothing is left in service, in either 8259 */
        outb    %al, $0x20
        outb    %al, $0xa0
        inb     $0x20, %al
        movb    %al, %ah
        inb     $0xa0, %al
        testw   %ax, %ax
        jnz     leave
        int     $0x70                   /* ends an interrupt of the second one */
        xorl    %edi, %edi
        movw    $(LOW + text - code16), %si
3:      lodsb
        testb   %al, %al
        jz      leave
        movb    %al, %ah
        movw    $0x3fd, %dx
4:      inb     %dx, %al
        testb   $0x20, %al
        jz      4b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     3b
leave:  movl    %edi, %eax
        outl    %eax, $0xf4
5:      hlt
        jmp     5b
text:   .asciz  "ok\n"
code16_end:

        .section .rodata
okay:   .asciz  "ok\n"
        .align  8
gdt:    .quad   0
        .quad   0x00009b000000ffff      /* 16-bit code at 0 */
        .quad   0x000093000000ffff      /* 16-bit data at 0 */
gdtr:   .word   23
        .long   gdt
ivt:    .word   0x3ff
        .long   0
        .bss
        .skip   4096
stack:
