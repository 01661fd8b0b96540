/* No loop keeps interrupts out: the local APIC's timer must end each of them. What would keep one out is code that never
 * comes back to look: blocks chained to themselves, jumps through caches, long string instructions. A loop that is not
 * left is a test that hangs. Each is left three times, so that the last ones run in hot code. */
#include "long.inc"

        .set    TICKS, 3

        /* From here the timer's interrupts lead to 99f. */
        .macro until_timer letter
        step    \letter
        movl    $TICKS, %ebp
        movq    %rsp, stack_was
98:     movq    $99f, leave_to
        movl    $APIC, %ebx
        movl    $200000, 0x380(%rbx)    /* initial count: counts once */
        .endm

        .macro left
99:     movq    stack_was, %rsp         /* it may have been inside a call */
        decl    %ebp
        jnz     98b
        .endm

        .globl  main
main:   movq    $go_on, on_interrupt
        movl    $APIC, %ebx
        movl    $0x1ff, 0xf0(%rbx)
        movl    $0xb, 0x3e0(%rbx)       /* divide by 1 */
        movl    $0x20, 0x320(%rbx)      /* one shot, vector 20h */
        sti

        until_timer 'a'                 /* one block, itself its successor */
1:      jmp     1b
        left
        until_timer 'b'
        xorl    %ecx, %ecx
1:      incq    %rcx
        jmp     1b
        left
        until_timer 'c'                 /* a conditional branch always taken, flags from before */
        xorl    %eax, %eax
1:      jz      1b
        jmp     fail
        left
        until_timer 'd'                 /* two blocks */
1:      incl    %ecx
        jmp     2f
3:      decl    %ecx
        jmp     1b
2:      jmp     3b
        left
        until_timer 'e'                 /* an indirect jump */
        movl    $1f, %edx
1:      jmp     *%rdx
        left
        until_timer 'f'                 /* one over a table */
        xorl    %ecx, %ecx
1:      incl    %ecx
        movl    %ecx, %edx
        andl    $3, %edx
        jmp     *table(, %rdx, 8)
3:      jmp     1b
4:      nop
        jmp     1b
        .section .rodata
        .align  8
table:  .quad   1b, 3b, 4b, 1b
        .text
        left
        until_timer 'g'                 /* calls and returns */
1:      call    2f
        jmp     1b
2:      ret
        left
        until_timer 'h'
1:      loop    1b
        jmp     1b
        left
        until_timer 'i'                 /* long string instructions: interrupted between iterations */
1:      movl    $POOL, %esi
        movl    $(POOL + 1), %edi
        movl    $0x2000000, %ecx
        rep movsb
        jmp     1b
        left
        until_timer 'j'
        xorl    %eax, %eax
1:      movl    $POOL, %edi
        movl    $0x2000000, %ecx
        rep stosb
        jmp     1b
        left
        until_timer 'k'
1:      movl    $POOL, %edi
        movl    $0x2000000, %ecx
        repe scasb
        jmp     1b
        left
        until_timer 'l'
1:      pause
        jmp     1b
        left
        until_timer 'm'                 /* memory in the loop, locked and not */
1:      lock incl counter
        addl    $1, counter + 4
        jmp     1b
        left
        until_timer 'n'                 /* a spin lock that nobody opens */
1:      cmpl    $0, never
        je      1b
        jmp     fail
        left
        until_timer 'o'                 /* HLT */
1:      hlt
        jmp     1b
        left
        until_timer 'p'                 /* code that always changes */
1:      incl    2f + 1
2:      movl    $0, %eax
        jmp     1b
        left
        until_timer 'q'                 /* pages that always change */
1:      movq    $(POOL + 3), window_pt
        invlpg  WINDOW
        movl    WINDOW, %eax
        jmp     1b
        left
        until_timer 'r'                 /* system calls of a kind: into the handler and out again */
        movq    $1f, resume
1:      ud2
        left
        movq    $0, resume

        /* Held off by CLI for many blocks, and taken before the instruction after the next one (STI's shadow). */
        step    's'
        movl    $100, %ebp
1:      cli
        movq    $3f, leave_to
        movl    $APIC, %ebx
        movl    $1, 0x380(%rbx)
2:      testl   $1, 0x210(%rbx)         /* until it waits in the local APIC */
        jz      2b
        xorl    %eax, %eax
        sti
        incl    %eax
        jmp     fail
3:      cmpl    $1, %eax
        jne     fail
        decl    %ebp
        jnz     1b
        ret

/* The interrupted program goes on at leave_to. */
go_on:  movq    leave_to, %rax
        movq    %rax, 24(%rsp)
        jmp     interrupt_done

        .data
        .align  8
leave_to:       .quad 0
stack_was:      .quad 0
counter:        .quad 0
never:          .quad 0
