/* x87 errors without CR0.NE: interrupt 13 (vector 75h of the second 8259) at the next waiting instruction, once; port F0h takes it back,
 * and until FNCLEX the error is ignored. With CR0.NE: #MF, and no interrupt. */
#include "long.inc"
        .set    VECTOR, 0x2d            /* 20h + 13 */

main:   movq    %cr0, %rax
        andq    $~0x20, %rax
        movq    %rax, %cr0
        movb    $0x11, %al              /* both 8259s: edges, vectors 20h and 28h, 13 and the cascade open */
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    $0x20, %al
        outb    %al, $0x21
        movb    $0x28, %al
        outb    %al, $0xa1
        movb    $4, %al
        outb    %al, $0x21
        movb    $2, %al
        outb    %al, $0xa1
        movb    $1, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xfb, %al
        outb    %al, $0x21
        movb    $0xdf, %al
        outb    %al, $0xa1

        step    'a'                     /* masked: nothing */
        fninit
        fldz
        fld1
        fdiv    %st(1), %st
        fwait
        call    pending
        jnz     fail
        step    'b'                     /* unmasked zero divide: found by the next waiting instruction */
        fninit
        movw    $0x037b, word
        fldcw   word
        fldz
        fld1
        fdiv    %st(1), %st
        fwait
        call    pending
        jz      fail
        step    'c'                     /* port F0h: the line falls, the error is ignored */
        xorl    %eax, %eax
        outb    %al, $0xf0
        call    pending
        jnz     fail
        fwait
        fld1
        call    pending
        jnz     fail
        step    'd'                     /* cleared, and again */
        fnclex
        fldz
        fld1
        fdiv    %st(1), %st
        fwait
        call    pending
        jz      fail
        xorl    %eax, %eax
        outb    %al, $0xf0
        fnclex
        fninit
        /* IGNNE# also ends where an error goes by masking it, or with the words that are loaded: the next one interrupts. */
        step    'g'
        call    ignored
        fldcw   masks
        call    next
        step    'h'
        call    ignored
        fnstenv area
        call    next
        step    'i'
        fninit
        fxsave  area
        call    ignored
        fxrstor area
        call    next
        step    'j'
        movl    $1, %eax
        cpuid
        testl   $1 << 26, %ecx
        jz      1f
        movq    %cr4, %rax
        orl     $1 << 18, %eax          /* OSXSAVE */
        movq    %rax, %cr4
        movl    $area, %edi             /* nothing in it: the initial state */
        movl    $576 / 8, %ecx
        xorl    %eax, %eax
        rep stosq
        call    ignored
        movl    $1, %eax
        xorl    %edx, %edx
        xrstor  area
        call    next
1:      xorl    %eax, %eax
        outb    %al, $0xf0
        fnclex
        fninit
        step    'e'                     /* NE: an exception */
        movq    %cr0, %rax
        orq     $0x20, %rax
        movq    %rax, %cr0
        fldcw   word
        fldz
        fld1
        fdiv    %st(1), %st
        movq    $1f, resume
        fwait
        jmp     fail
1:      check_eq $16, fault_vector
        call    pending
        jnz     fail
        fnclex
        fninit
        ret

/* A zero divide that port F0h has answered. */
ignored:
        fninit
        fldcw   word
        fldz
        fld1
        fdiv    %st(1), %st
        fwait
        xorl    %eax, %eax
        outb    %al, $0xf0
        call    pending
        fwait
        call    pending
        jnz     fail
        ret

/* Another one, in a control word that is not touched until then. */
next:   fldcw   word
        fldz
        fld1
        fdiv    %st(1), %st
        fwait
        call    pending
        jz      fail
        ret

/* Does the second 8259 have a request? Acknowledged by polling. ZF: no. */
pending:
        movb    $0x0c, %al
        outb    %al, $0xa0
        inb     $0xa0, %al
        movb    %al, %cl
        movb    $0x20, %al
        outb    %al, $0xa0
        testb   $0x80, %cl
        ret

        .data
        .balign 64
area:   .skip   1024
masks:  .word   0x037f
word:   .word   0
