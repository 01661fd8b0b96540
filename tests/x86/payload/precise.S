/* Faults in the middle of code that has become hot: registers, flags, memory and RIP are those before the faulting
 * instruction (SDM 3A 6.5), and the instruction run again after the page was mapped gives what it would have given. */
#include "long.inc"

        /* The next instruction, at 77:, faults; execution goes on behind it. */
        .macro faults letter
        step    \letter
        movq    $0, fault_vector
        movq    $78f, resume
        .endm

        .macro did_fault vector, error, address
78:     movq    $0, resume
        check_eq $\vector, fault_vector
        check_eq $\error, fault_error
        check_eq $77b, fault_rip
        .ifnb   \address
        check_eq $(\address), fault_cr2
        .endif
        .endm

        .globl  main
main:   call    demanded
        movl    $30, rounds             /* the second half of the rounds runs hot code */
1:      call    registers
        call    stack_faults
        call    divisions
        call    read_only
        call    strings
        decl    rounds
        jnz     1b
        ret

/* The same program over 64 pages, mapped beforehand and mapped as they are touched: carries and memory come out the same. */
demanded:
        step    'a'
        movl    $POOL, %edi
        movl    $(64 * 4096 / 8), %ecx
        movq    $0x123456789abcdef1, %rax
1:      movq    %rax, (%rdi)            /* what both runs begin with */
        imulq   $0x4f6cdd1d, %rax, %rax
        addq    $11, %rax
        addq    $8, %rdi
        decl    %ecx
        jnz     1b
        movl    $POOL, %esi
        movl    $(POOL + 0x100000), %edi
        movl    $(64 * 4096 / 8), %ecx
        rep movsq
        movl    $0, demand
        xorl    %ecx, %ecx
1:      movq    %rcx, %rax
        shlq    $12, %rax
        addq    $(POOL + 0x100000 + 3), %rax
        movq    %rax, window_pt(, %rcx, 8)
        incl    %ecx
        cmpl    $64, %ecx
        jb      1b
        movq    %cr3, %rax
        movq    %rax, %cr3
        movq    $0, fault_count
        call    program
        movq    %rax, %r12
        movq    %rdx, %r13
        check_eq $0, fault_count
        movl    $window_pt, %edi        /* again, with nothing mapped */
        xorl    %eax, %eax
        movl    $512, %ecx
        rep stosq
        movq    %cr3, %rax
        movq    %rax, %cr3
        movl    $1, demand
        call    program
        movl    $0, demand
        cmpq    %rax, %r12
        jne     fail
        cmpq    %rdx, %r13
        jne     fail
        step    'b'
        cmpq    $55, fault_count
        jb      fail
        movl    $POOL, %esi
        movl    $(POOL + 0x100000), %edi
        movl    $(64 * 4096 / 8), %ecx
        repe cmpsq
        jne     fail
        ret

/* Flags live over memory operands of all kinds, most of them over the border of two pages now and then. */
program:
        movl    $WINDOW, %esi
        movl    $(WINDOW + 0x20000 + 5), %edi
        movl    $4000, %ecx
        xorl    %eax, %eax              /* and CF */
        xorl    %edx, %edx
1:      adcq    (%rsi), %rax
        adcq    %rax, (%rdi)
        lea     29(%rsi), %rsi
        incl    7(%rdi)                 /* keeps CF */
        adcl    %eax, 3(%rsi)
        rclq    $1, %rdx
        sbbw    $0x1234, (%rdi)
        movq    (%rsi), %rbx
        setc    %bl
        xchgq   %rbx, 11(%rdi)
        adcq    %rbx, %rdx
        lea     31(%rdi), %rdi
        notq    (%rsi)                  /* changes no flags */
        adcq    $0x55, %rdx
        lock xaddq %rdx, 8(%rsi)
        btsl    $77, (%rdi)
        adcl    $0, %eax
        cmpxchgq %rdx, (%rdi)
        cmovzq  8(%rdi), %rdx
        movdqu  (%rsi), %xmm0
        pcmpeqb (POOL + 0x200000), %xmm0
        movdqu  %xmm0, 40(%rdi)
        pushfq
        popq    %rbx
        andl    $0x8d5, %ebx
        addq    %rbx, %rdx
        bswapq  %rdx
        shldq   $5, %rdx, 16(%rsi)
        decl    %ecx
        jnz     1b
        ret

registers:
        movq    $0, window_pt
        invlpg  WINDOW
        faults  'c'                     /* a load: the flags of the SUB before it are in the frame */
        movl    $3, %ecx
        movl    $0x11111111, %eax
        subl    $4, %ecx
77:     movl    WINDOW + 8, %eax
        jmp     fail
        did_fault 14, 0, WINDOW + 8
        cmpl    $0x11111111, %eax
        jne     fail
        cmpl    $-1, %ecx
        jne     fail
        movq    fault_flags, %rax
        andl    $0x8d5, %eax
        cmpl    $0x95, %eax             /* CF, PF, AF, SF */
        jne     fail

        faults  'd'                     /* a register counted down in the same block before and not after */
        movl    $100, %ebx
        decl    %ebx
        movl    %ebx, %r9d
        decl    %ebx
77:     xchgl   %ebx, WINDOW
        decl    %ebx
        jmp     fail
        did_fault 14, 2, WINDOW
        cmpl    $98, %ebx
        jne     fail
        cmpl    $99, %r9d
        jne     fail

        faults  'e'                     /* over the border: the first page stays as it was */
        map     1, POOL
        movq    $0, window_pt + 16
        invlpg  WINDOW + 0x2000
        movl    $0x01020304, POOL + 0xffc
        movq    $-1, %rax
77:     movq    %rax, WINDOW + 0x1ffc
        jmp     fail
        did_fault 14, 2, WINDOW + 0x2000
        cmpl    $0x01020304, POOL + 0xffc
        jne     fail

        faults  'f'
        movdqu  %xmm3, %xmm4
77:     movdqu  %xmm3, WINDOW + 0x1ff1
        jmp     fail
        did_fault 14, 2, WINDOW + 0x2000
        faults  'g'                     /* not canonical */
        movq    $0x800000000000, %rdx
77:     addl    $1, (%rdx)
        jmp     fail
        did_fault 13, 0
        faults  'h'                     /* unaligned, where it must be aligned */
        movl    $(POOL + 8), %edx
77:     movaps  (%rdx), %xmm1
        jmp     fail
        did_fault 13, 0
        faults  'i'                     /* no instruction */
        movl    $7, %edx
77:     ud2
        jmp     fail
        did_fault 6, 0
        cmpl    $7, %edx
        jne     fail
        faults  'j'                     /* LOCK where it may not be */
77:     .byte   0xf0, 0x89, 0x02        /* lock mov %eax, (%rdx) */
        jmp     fail
        did_fault 6, 0
        ret

/* RSP has not moved when the stack, or what was to be pushed or popped, is not there. */
stack_faults:
        movq    %rsp, %rbp
        faults  'k'
        movl    $(WINDOW + 8), %esp
        movl    $0x123, %eax
77:     pushq   %rax
        jmp     stack_fail
78:     movq    %rbp, %rsp
        jmp     78f
        did_fault 14, 2, WINDOW
        check_eq $(WINDOW + 8), fault_rsp
        faults  'l'
        movl    $(WINDOW + 16), %esp
77:     call    fail
78:     movq    %rbp, %rsp
        jmp     78f
        did_fault 14, 2, WINDOW + 8
        check_eq $(WINDOW + 16), fault_rsp
        faults  'm'
        movl    $(WINDOW + 24), %esp
77:     ret
78:     movq    %rbp, %rsp
        jmp     78f
        did_fault 14, 0, WINDOW + 24
        check_eq $(WINDOW + 24), fault_rsp
        faults  'n'                     /* popped, but not stored */
        pushq   $5
        movq    %rsp, %r8
77:     popq    WINDOW
        jmp     stack_fail
        did_fault 14, 2, WINDOW
        cmpq    %r8, fault_rsp
        jne     fail
        popq    %rax
        faults  'o'                     /* the target is nowhere: the CALL itself has not begun */
        movl    $WINDOW, %edx
        movq    %rsp, %r8
77:     call    *(%rdx)
        jmp     stack_fail
        did_fault 14, 0, WINDOW
        cmpq    %r8, fault_rsp
        jne     fail
        faults  'p'                     /* LEAVE from a frame that is not there */
        movl    $(WINDOW + 32), %ebp
        movq    %rsp, %r8
77:     leave
        jmp     stack_fail
        did_fault 14, 0, WINDOW + 32
        cmpq    %r8, fault_rsp
        jne     fail
        cmpq    $(WINDOW + 32), %rbp
        jne     fail
        ret
stack_fail:
        movl    $stack, %esp
        jmp     fail

divisions:
        faults  'q'
        movl    $7, %eax
        movl    $1, %edx
        xorl    %ecx, %ecx
        addl    $0x7fffffff, %ecx
        addl    $0x80000001, %ecx       /* 0, with carry */
77:     divl    %ecx
        jmp     fail
        did_fault 0, 0
        cmpl    $7, %eax
        jne     fail
        cmpl    $1, %edx
        jne     fail
        testl   $1, fault_flags
        jz      fail
        faults  'r'                     /* the quotient does not fit */
        movq    $1, %rax
        shlq    $63, %rax
        cqto
        movq    $-1, %rbx
77:     idivq   %rbx
        jmp     fail
        did_fault 0, 0
        movq    $1, %rcx
        shlq    $63, %rcx
        cmpq    %rcx, %rax
        jne     fail
        faults  's'
        movw    $0x1234, %ax
        movb    $1, %bl
77:     divb    %bl
        jmp     fail
        did_fault 0, 0
        cmpw    $0x1234, %ax
        jne     fail
        ret

/* Written, made read-only, written again: the fault comes although a store there has just worked, and after it stores go
 * on. Nothing of a read-modify-write is done. */
read_only:
        map     3, (POOL + 0x3000)
        movl    $5, WINDOW + 0x3000
        incl    WINDOW + 0x3000
        map     3, (POOL + 0x3000), 1
        cmpl    $6, WINDOW + 0x3000
        jne     fail
        faults  't'
        stc
77:     incl    WINDOW + 0x3000
        jmp     fail
        did_fault 14, 3, WINDOW + 0x3000
        cmpl    $6, POOL + 0x3000
        jne     fail
        faults  'u'
77:     lock addl $1, WINDOW + 0x3000
        jmp     fail
        did_fault 14, 3, WINDOW + 0x3000
        faults  'v'                     /* a comparison that fails still is a store */
        movl    $77, %eax
77:     lock cmpxchgl %ecx, WINDOW + 0x3000
        jmp     fail
        did_fault 14, 3, WINDOW + 0x3000
        cmpl    $77, %eax
        jne     fail
        map     3, (POOL + 0x3000)
        incl    WINDOW + 0x3000
        cmpl    $7, POOL + 0x3000
        jne     fail
        step    'w'                     /* accessed and dirty: set by what sets them, again after they were cleared */
        map     3, (POOL + 0x3000)
        movl    WINDOW + 0x3000, %eax
        testb   $0x60, window_pt + 24
        jz      fail
        testb   $0x40, window_pt + 24
        jnz     fail
        movl    %eax, WINDOW + 0x3000
        testb   $0x40, window_pt + 24
        jz      fail
        ret

/* A string instruction that meets a missing page has done all before it. */
strings:
        map     4, (POOL + 0x4000)
        movq    $0, window_pt + 40
        invlpg  WINDOW + 0x5000
        faults  'x'
        movl    $POOL, %esi
        movl    $(WINDOW + 0x4f00), %edi
        movl    $0x200, %ecx
77:     rep movsb
        jmp     fail
        did_fault 14, 2, WINDOW + 0x5000
        cmpl    $0x100, %ecx
        jne     fail
        cmpq    $(WINDOW + 0x5000), %rdi
        jne     fail
        cmpq    $(POOL + 0x100), %rsi
        jne     fail
        faults  'y'                     /* downwards, into the page from above */
        map     5, (POOL + 0x5000)
        movq    $0, window_pt + 32
        invlpg  WINDOW + 0x4000
        std
        movl    $(WINDOW + 0x5000 + 0x3c), %edi
        movl    $32, %ecx
        movl    $0x5555, %eax
77:     rep stosl
        cld
        jmp     fail
        did_fault 14, 2, WINDOW + 0x4ffc
        cld
        cmpl    $16, %ecx
        jne     fail
        cmpq    $(WINDOW + 0x4ffc), %rdi
        jne     fail
        faults  'z'
        movl    $(WINDOW + 0x4f80), %esi
        movl    $(WINDOW + 0x5000), %edi
        movl    $9, %ecx
77:     repe cmpsb
        jmp     fail
        did_fault 14, 0, WINDOW + 0x4f80
        cmpl    $9, %ecx
        jne     fail
        ret

        .data
        .align  8
rounds: .quad   0
