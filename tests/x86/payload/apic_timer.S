/* The TSC deadline and the hypercall for interrupts: what is due is taken before the next instruction (SDM 3A 10.5.4.1),
 * deadlines compare without sign, writing the TSC reaches them. Needs -cpu with tsc-deadline. Expected on COM1: "ok". */
        .set    APIC, 0xfee00000
        .set    DEADLINE, 0x6e0
        .set    FLAGS, 0
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .text
#include "serial.inc"

        /* Interrupts there must have been so far. A failure prints the step. */
        .macro expect_irqs n, step
        movb    $\step, step
        cmpl    $\n, irqs
        jne     bad
        .endm

        .macro set_deadline             /* %edx:%eax */
        movl    $DEADLINE, %ecx
        wrmsr
        .endm

        .macro expect_deadline low, step
        movb    $\step, step
        movl    $DEADLINE, %ecx
        rdmsr
        cmpl    $\low, %eax
        jne     bad
        cmpl    $\low, %edx
        jne     bad
        .endm

        .macro send_ipi low, first, icr, result, step
        movb    $\step, step
        movl    $10, %eax
        movl    $\low, %ebx
        xorl    %ecx, %ecx
        movl    $\first, %edx
        movl    $\icr, %esi
        vmcall
        cmpl    $\result, %eax
        jne     bad
        .endm

        .globl  _start
_start: movl    $stack, %esp
        lgdt    gdtr
        ljmp    $8, $1f
1:      movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $handler, %eax
        movw    %ax, idt + 0x40 * 8
        shrl    $16, %eax
        movw    %ax, idt + 0x40 * 8 + 6
        movw    $8, idt + 0x40 * 8 + 2
        movw    $0x8e00, idt + 0x40 * 8 + 4
        lidt    idtr
        movb    $0xff, %al              /* only the local APIC is to interrupt */
        outb    %al, $0x21
        movl    $0x1ff, APIC + 0xf0
        movl    $0x40040, APIC + 0x320  /* TSC-deadline mode, vector 40h */
        sti

        rdtsc                           /* due: at once, once, and disarmed */
        set_deadline
        expect_irqs 1, '1'
        expect_deadline 0, '2'

        movl    $-1, %eax               /* the latest there is */
        movl    $-1, %edx
        set_deadline
        expect_irqs 1, '3'
        expect_deadline -1, '4'

        rdtsc                           /* a few minutes from now, then the TSC jumps over it */
        addl    $0x100, %edx
        set_deadline
        expect_irqs 1, '5'
        rdtsc
        addl    $0x200, %edx
        movl    $0x10, %ecx
        wrmsr
        expect_irqs 2, '6'
        expect_deadline 0, '7'

        movl    $0x50040, APIC + 0x320  /* masked: over, but silent */
        rdtsc
        set_deadline
        expect_irqs 2, '8'
        expect_deadline 0, '9'

        send_ipi 1, 0, 0x40, 1, 'a'     /* ourselves */
        expect_irqs 3, 'b'
        send_ipi 0x80000000, 0xffffffff, 0x40, 0, 'c' /* beyond all ids */
        send_ipi 2, 0, 0x40, 0, 'd'     /* nobody has id 1 */
        send_ipi 1, 0, 0x840, -22, 'e'  /* ids are physical */
        expect_irqs 3, 'f'

        movl    $okay, %esi
        call    print
        exit_with 0
bad:    movl    $wrong, %esi
        call    print
        exit_with 1

handler:
        incl    irqs
        movl    $0, APIC + 0xb0
        iret

        .section .rodata
        .align  8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   .word   23
        .long   gdt
idtr:   .word   0x41 * 8 - 1
        .long   idt
okay:   .asciz  "ok\n"
        .data
wrong:  .ascii  "failed at step "
step:   .asciz  "0\n"
        .align  8
irqs:   .long   0
        .bss
        .align  8
idt:    .skip   0x41 * 8
        .skip   4096
stack:
