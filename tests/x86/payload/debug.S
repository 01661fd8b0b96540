/* Single steps and breakpoints in code that has become hot before they were set (SDM 3B 17.2, 17.3). */
#include "long.inc"

        .set    DR6_BS, 1 << 14

        .globl  main
main:   movl    $on_debug, %eax         /* vector 1 counts and goes on */
        movw    %ax, idt + 16
        shrl    $16, %eax
        movw    %ax, idt + 16 + 6
        movl    $20, %ebp
1:      call    steps
        call    code_breakpoint
        call    data_breakpoint
        call    shadows
        decl    %ebp
        jnz     1b
        ret

/* #DB: counts, remembers where, sets RF (a code breakpoint would come again). */
on_debug:
        pushq   %rax
        movq    8(%rsp), %rax
        movq    %rax, last_rip
        addq    %rax, sum_of_rips
        movq    %dr6, %rax
        andl    $0xf00f, %eax           /* the others read as 1 */
        orl     %eax, all_dr6
        xorl    %eax, %eax
        movq    %rax, %dr6
        incq    debugs
        orl     $0x10000, 24(%rsp)
        cmpq    $0, clear_tf
        je      1f
        andl    $~0x100, 24(%rsp)
1:      popq    %rax
        iretq

clear_counts:
        movq    $0, debugs
        movq    $0, sum_of_rips
        movl    $0, all_dr6
        ret

sum:    movl    $10, %ecx               /* 3 + 10 * 4 + 1 instructions */
        xorl    %eax, %eax
        xorl    %edx, %edx
1:      addl    %ecx, %eax
        adcl    scratch, %edx
        decl    %ecx
        jnz     1b
        ret

steps:  step    'a'                     /* each instruction once, none twice */
        movl    $50, %ebx
1:      call    sum
        cmpl    $55, %eax
        jne     fail
        decl    %ebx
        jnz     1b
        call    clear_counts
        pushfq
        orl     $0x100, (%rsp)
        popfq                           /* the trap comes after the instruction behind it */
        call    sum
        pushfq
        andl    $~0x100, (%rsp)
        popfq
        cmpl    $55, %eax
        jne     fail
        /* call, 44 of sum, pushfq, andl, popfq (TF was set before it) */
        check_eq $48, debugs
        cmpl    $DR6_BS, all_dr6
        jne     fail

        step    'b'                     /* REP: one trap an iteration */
        call    clear_counts
        movl    $POOL, %esi
        movl    $(POOL + 0x1000), %edi
        movl    $7, %ecx
        pushfq
        orl     $0x100, (%rsp)
        popfq
        rep movsb
        pushfq
        andl    $~0x100, (%rsp)
        popfq
        check_eq $10, debugs
        step    'c'                     /* the handler ends it: one trap, and full speed again */
        call    clear_counts
        movq    $1, clear_tf
        pushfq
        orl     $0x100, (%rsp)
        popfq
        nop
        call    sum
        movq    $0, clear_tf
        check_eq $1, debugs
        ret

code_breakpoint:
        step    'd'
        call    sum
        call    clear_counts
        movl    $middle, %eax
        movq    %rax, %dr0
        movl    $2, %eax                /* G0, execution */
        movq    %rax, %dr7
        call    hot
        xorl    %eax, %eax
        movq    %rax, %dr7
        check_eq $100, debugs
        check_eq $middle, last_rip
        cmpl    $1, all_dr6
        jne     fail
        step    'e'                     /* taken away again */
        call    clear_counts
        call    hot
        check_eq $0, debugs
        step    'j'                     /* at a repeated instruction: once, not with each iteration */
        movl    $repeated, %eax
        movq    %rax, %dr0
        movl    $2, %eax
        movq    %rax, %dr7
        movl    $POOL, %esi
        movl    $(POOL + 0x1000), %edi
        movl    $7, %ecx
repeated:
        rep movsb
        xorl    %eax, %eax
        movq    %rax, %dr7
        check_eq $1, debugs
        check_eq $repeated, last_rip
        ret

hot:    movl    $100, %ecx
        xorl    %eax, %eax
1:      incl    %eax
middle: addl    %ecx, %eax
        decl    %ecx
        jnz     1b
        cmpl    $5150, %eax
        jne     fail
        ret

/* Writes to 4 bytes, in a loop that wrote there before; reads and neighbours do not count. */
data_breakpoint:
        step    'f'
        call    stores
        call    clear_counts
        movl    $watched, %eax
        movq    %rax, %dr1
        movl    $0x00d00008, %eax       /* G1, writes, 4 bytes */
        movq    %rax, %dr7
        call    stores
        xorl    %eax, %eax
        movq    %rax, %dr7
        check_eq $60, debugs
        cmpl    $2, all_dr6
        jne     fail
        step    'g'
        call    clear_counts
        call    stores
        check_eq $0, debugs
        step    'h'                     /* reads and writes */
        movl    $0x00f00008, %eax
        movq    %rax, %dr7
        call    stores
        xorl    %eax, %eax
        movq    %rax, %dr7
        check_eq $80, debugs
        ret

stores: movl    $20, %ecx
1:      movl    %ecx, watched           /* counts */
        movl    %ecx, watched - 4
        movl    %ecx, watched + 4
        movl    watched, %eax           /* counts when reads do */
        movb    %cl, watched + 3        /* counts */
        movq    %rcx, watched - 4       /* counts */
        decl    %ecx
        jnz     1b
        ret

/* No trap between MOV SS and what follows it. */
shadows:
        step    'i'
        call    clear_counts
        movl    %ss, %edx
        pushfq
        orl     $0x100, (%rsp)
        popfq
        movl    %edx, %ss
        nop
        pushfq
        andl    $~0x100, (%rsp)
        popfq
        check_eq $4, debugs             /* nop (with MOV SS), pushfq, andl, popfq */
        ret

        .data
        .align  8
debugs:         .quad 0
last_rip:       .quad 0
sum_of_rips:    .quad 0
clear_tf:       .quad 0
scratch:        .quad 0
all_dr6:        .long 0
                .quad 0
        .align  16
                .long 0, 0
watched:        .long 0, 0, 0
