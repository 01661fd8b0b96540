/* Address line 20: off, the second MiB shows the first one to data and code alike, from the next instruction on. By port 92h and by
 * both ways of the keyboard controller. The code that looks runs below 1 MiB, for the line carries this payload too. */
        .set    FLAGS, 0
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .set    LOW, 0x8000
        .set    HERE, 0x79000
        .set    THERE, 0x179000

        .macro wait_kbc
1:      inb     $0x64, %al
        testb   $2, %al
        jnz     1b
        .endm

        .macro expect value
        cmpl    $\value, THERE
        jne     low_fail
        call    *%ebx
        cmpl    $\value, %eax
        jne     low_fail
        .endm

        .text
        .code32
#include "serial.inc"

        .globl  _start
_start: movl    $0x7000, %esp
        cld
        movl    $low, %esi
        movl    $LOW, %edi
        movl    $(low_end - low), %ecx
        rep movsb
        movl    $LOW, %eax
        jmp     *%eax

ok:     movl    $okay, %esi
        call    print
        movl    $0, %eax
        outl    %eax, $0xf4
1:      hlt
        jmp     1b

failed: movl    $wrong, %esi
        call    print
        movl    $1, %eax
        outl    %eax, $0xf4
1:      hlt
        jmp     1b

low:    movl    $1, HERE
        movl    $2, THERE
        movl    $(THERE + 16), %ebx             /* mov $n, %eax; ret */
        movl    $0x000001b8, HERE + 16
        movl    $0x0000c300, HERE + 20
        movl    $0x000002b8, THERE + 16
        movl    $0x0000c300, THERE + 20
        movl    $50, %esi
again:  expect  2
        movb    $0, %al
        outb    %al, $0x92
        expect  1
        movl    $0x1234, THERE + 32
        movb    $2, %al
        outb    %al, $0x92
        expect  2
        cmpl    $0x1234, HERE + 32
        jne     low_fail
        wait_kbc
        movb    $0xd1, %al
        outb    %al, $0x64
        wait_kbc
        movb    $0xdd, %al
        outb    %al, $0x60
        expect  1
        inb     $0x92, %al
        testb   $2, %al
        jnz     low_fail
        wait_kbc
        movb    $0xdf, %al
        outb    %al, $0x64
        expect  2
        wait_kbc
        movb    $0xdd, %al
        outb    %al, $0x64
        expect  1
        movb    $2, %al
        outb    %al, $0x92
        movl    $0, HERE + 32
        decl    %esi
        jnz     again
        movl    $ok, %eax
        jmp     *%eax
low_fail:
        movb    $2, %al
        outb    %al, $0x92
        movl    $failed, %eax
        jmp     *%eax
low_end:

        .data
okay:   .asciz  "ok\n"
wrong:  .asciz  "failed\n"
