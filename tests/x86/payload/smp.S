/* Two processors on the same code, page tables and memory (-smp 2). What one changes the other sees: code after it was told,
 * and sooner or later in any case, pages after their TLB entry was shot down, memory in the order it was written, and no
 * locked operation is lost. What is not seen is a test that hangs. */
#include "long.inc"

        .set    TRAMPOLINE, 0x8000
        .set    F, POOL + 3             /* a function whose immediate value is aligned */
        .set    LOOP, POOL + 0x1000
        .set    ROUNDS, 300

        .code16
trampoline:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   TRAMPOLINE + 1f - trampoline
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x18, $ap32
1:      .word   47
        .long   gdt
trampoline_end:
        .code32
ap32:   movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0x6b0, %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x901, %eax
        wrmsr
        movl    $0x80010033, %eax
        movl    %eax, %cr0
        ljmp    $8, $ap64
        .code64
ap64:   movl    $ap_stack, %esp
        lidt    idtr
        movl    $APIC, %ebx
        movl    $0x1ff, 0xf0(%rbx)
        sti
        call    ap_main
1:      hlt
        jmp     1b

        /* Both come here, and both go on. %r15: how often it has been done. */
meet:   incq    %r15
        lock incq met
        lea     (%r15, %r15), %rax
1:      pause
        cmpq    %rax, met
        jb      1b
        ret

        .globl  main
main:   step    'a'                     /* the other processor starts */
        cld
        movl    $trampoline, %esi
        movl    $TRAMPOLINE, %edi
        movl    $(trampoline_end - trampoline), %ecx
        rep movsb
        movb    $0xb8, F
        movl    $0, F + 1
        movb    $0xc3, F + 5
        movq    $shoot, on_interrupt
        movl    $APIC, %ebx
        movl    $0x1ff, 0xf0(%rbx)
        movl    $0x01000000, 0x310(%rbx)
        movl    $0x4500, 0x300(%rbx)    /* INIT, SIPI */
        movl    $0x01000000, 0x310(%rbx)
        movl    $(0x4600 + (TRAMPOLINE >> 12)), 0x300(%rbx)
        sti
        xorl    %r15d, %r15d
        call    meet

        step    'b'                     /* told, and serialized */
        movl    $1, %ebp
1:      movl    %ebp, F + 1
        movl    %ebp, go
2:      cmpl    %ebp, done
        jne     2b
        cmpl    %ebp, seen
        jne     fail
        incl    %ebp
        cmpl    $ROUNDS, %ebp
        jbe     1b

        step    'c'                     /* not told: some time */
        call    meet
        movl    $1, %ebp
1:      movl    %ebp, F + 1
2:      pause
        cmpl    %ebp, seen
        jne     2b
        incl    %ebp
        cmpl    $ROUNDS, %ebp
        jbe     1b
        movl    $1, stop

        step    'd'                     /* a jump to itself is taken away */
        call    meet
        movl    $ROUNDS, %ebp
1:      movw    $0xfeeb, LOOP           /* jmp . */
        movb    $0xc3, LOOP + 2
        call    meet
        movl    $100, %ecx
2:      pause
        loop    2b
        movw    $0x9090, LOOP
        call    meet
        decl    %ebp
        jnz     1b

        step    'e'                     /* nothing is lost */
        call    meet
        call    count
        call    meet
        cmpl    $200000, counts
        jne     fail
        cmpl    $200000, counts + 8
        jne     fail
        cmpl    $200000, counts + 16
        jne     fail
        cmpl    $0, counts + 24
        jne     fail

        step    'f'                     /* stores are seen in their order */
        movl    $5000, %ecx
1:      movl    %ecx, message
        movl    %ecx, letter
2:      cmpl    %ecx, answer
        jne     2b
        decl    %ecx
        jnz     1b
        call    meet
        cmpl    $0, wrong_messages
        jne     fail

        step    'g'                     /* a locked instruction is a fence: not both read 0 */
        movl    $1000, %ebp
1:      movl    $0, flag_a
        movl    $0, flag_b
        call    meet
        movl    $1, flag_a
        lock addl $0, (%rsp)
        movl    flag_b, %eax
        movl    %eax, saw_b
        call    meet
        movl    saw_a, %eax
        orl     saw_b, %eax
        jz      fail
        call    meet
        decl    %ebp
        jnz     1b

        step    'h'                     /* pages change under a loop */
        movl    $0x11111111, POOL + 0x2000
        movl    $0x22222222, POOL + 0x3000
        map     0, (POOL + 0x2000)
        movl    $0, stop
        call    meet
        movl    $(ROUNDS / 2), %ebp
1:      movq    $(POOL + 0x3003), window_pt
        movl    $0x22222222, %edi
        call    shoot_down
        movq    $(POOL + 0x2003), window_pt
        movl    $0x11111111, %edi
        call    shoot_down
        decl    %ebp
        jnz     1b

        step    'i'                     /* and so does code */
        movl    $1, stop
        call    meet
        movb    $0xb8, POOL + 0x2000
        movl    $0x33333333, POOL + 0x2001
        movb    $0xc3, POOL + 0x2005
        movb    $0xb8, POOL + 0x3000
        movl    $0x44444444, POOL + 0x3001
        movb    $0xc3, POOL + 0x3005
        movl    $0, stop
        call    meet
        movl    $(ROUNDS / 2), %ebp
1:      movq    $(POOL + 0x3003), window_pt
        movl    $0x44444444, %edi
        call    shoot_down
        movq    $(POOL + 0x2003), window_pt
        movl    $0x33333333, %edi
        call    shoot_down
        decl    %ebp
        jnz     1b
        movl    $1, stop
        call    meet
        ret

/* Interrupts the other processor; from its answer on it only sees %edi. */
shoot_down:
        movl    acks, %ecx
        movl    $APIC, %ebx
        movl    $0x01000000, 0x310(%rbx)
        movl    $0x4021, 0x300(%rbx)
1:      pause
        cmpl    %ecx, acks
        je      1b
        movl    turns, %ecx             /* a turn may have been under way: wait for two */
        addl    $2, %ecx
1:      pause
        movl    turns, %eax
        subl    %ecx, %eax
        js      1b
        cmpl    %edi, seen
        jne     fail
        ret

/* In the other's interrupt. */
shoot:  invlpg  WINDOW
        incl    acks
        jmp     interrupt_done

count:  movl    $100000, %ecx
        xorl    %edx, %edx
1:      lock incl counts
        movl    $1, %eax
        lock xaddl %eax, counts + 8
2:      movl    counts + 16, %eax
        lea     1(%rax), %edx
        lock cmpxchgl %edx, counts + 16
        jne     2b
        lock xorl $0x55, counts + 24    /* 200000 times: even */
        decl    %ecx
        jnz     1b
        ret

ap_main:
        xorl    %r15d, %r15d
        call    meet
        xorl    %ebp, %ebp              /* b */
1:      incl    %ebp
2:      cmpl    %ebp, go
        jne     2b
        xorl    %eax, %eax
        cpuid
        movl    $F, %edx
        call    *%rdx
        movl    %eax, seen
        movl    %ebp, done
        cmpl    $ROUNDS, %ebp
        jb      1b

        call    meet                    /* c */
        movl    $F, %edx
1:      call    *%rdx
        movl    %eax, seen
        cmpl    $0, stop
        je      1b

        call    meet                    /* d */
        movl    $ROUNDS, %ebp
        movl    $LOOP, %edx
1:      call    meet
        call    *%rdx
        call    meet
        decl    %ebp
        jnz     1b

        call    meet                    /* e */
        call    count
        call    meet

        movl    $5000, %ecx            /* f */
1:      cmpl    %ecx, letter
        jne     1b
        cmpl    %ecx, message
        je      2f
        incl    wrong_messages
2:      movl    %ecx, answer
        decl    %ecx
        jnz     1b
        call    meet

        movl    $1000, %ebp             /* g */
1:      call    meet
        movl    $1, flag_b
        lock addl $0, (%rsp)
        movl    flag_a, %eax
        movl    %eax, saw_a
        call    meet
        call    meet
        decl    %ebp
        jnz     1b

        call    meet                    /* h */
1:      movl    WINDOW, %eax
        movl    %eax, seen
        incl    turns
        cmpl    $0, stop
        je      1b

        call    meet                    /* i */
        call    meet
        movl    $WINDOW, %edx
1:      call    *%rdx
        movl    %eax, seen
        incl    turns
        cmpl    $0, stop
        je      1b
        call    meet
        ret

        .data
        .align  64
met:    .quad   0
        .align  64
go:     .long   0
        .align  64
done:   .long   0
seen:   .long   0
stop:   .long   0
acks:   .long   0
turns:  .long   0
wrong_messages: .long 0
        .align  64
message: .long  0
        .align  64
letter: .long   0
        .align  64
answer: .long   0
        .align  64
counts: .quad   0, 0, 0, 0
        .align  64
flag_a: .long   0
        .align  64
flag_b: .long   0
        .align  64
saw_a:  .long   0
saw_b:  .long   0
        .bss
        .align  16
        .skip   8192
ap_stack:
