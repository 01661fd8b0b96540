/* Goes from the multiboot entry down to real mode, counts there, and comes back out through the same exit: what every
 * KVM can run, also one without VT-x or SVM. Expected on COM1: "real mode". */
        .set    FLAGS, 0
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .set    LOW, 0x1000             /* where the 16-bit part runs */
        .text
        .globl  _start
_start: movl    $stack, %esp
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

        .code16
code16: movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $0, $(LOW + 1f - code16)
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x800, %sp
        movw    $1000, %cx              /* some work: 500500 */
        xorl    %ebx, %ebx
2:      movzwl  %cx, %eax
        addl    %eax, %ebx
        loop    2b
        cmpl    $500500, %ebx
        movl    $1, %edi                /* fails: exit status 3 */
        jne     5f
        xorl    %edi, %edi
        movw    $(LOW + text - code16), %si
3:      lodsb
        testb   %al, %al
        jz      5f
        movb    %al, %ah
        movw    $0x3fd, %dx
4:      inb     %dx, %al
        testb   $0x20, %al
        jz      4b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     3b
5:      movl    %edi, %eax
        outl    %eax, $0xf4
6:      hlt
        jmp     6b
text:   .asciz  "real mode\n"
code16_end:

        .section .rodata
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
