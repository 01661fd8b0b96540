/* Code that changes: by the program itself, in every way it can be written, through other addresses, and by other page
 * tables. A change is seen by the next instruction (SDM 3A 12.6, 9.3: one processor sees its own stores). */
#include "long.inc"

        .set    F, POOL                 /* where functions are made: physical = linear */
        .set    G, POOL + 0x1000

        /* mov $imm32, %eax; ret at linear address in %rdi */
make:   movb    $0xb8, (%rdi)
        movl    %eax, 1(%rdi)
        movb    $0xc3, 5(%rdi)
        ret

        .globl  main
main:   step    'a'                     /* the very next instruction, and again when it is hot */
        movl    $200, %ecx
1:      movl    %ecx, 2f + 1
2:      movl    $0, %eax
        cmpl    %ecx, %eax
        jne     fail
        decl    %ecx
        jnz     1b

        step    'b'                     /* a function far away */
        movl    $F, %edi
        movl    $1000, %ebx
1:      movl    %ebx, %eax
        call    make
        xorl    %eax, %eax
        call    *%rdi
        cmpl    %ebx, %eax
        jne     fail
        decl    %ebx
        jnz     1b

        step    'c'                     /* the block jumped to directly */
        movl    $300, %ecx
1:      movb    %cl, 3f + 1
        jmp     3f
2:      cmpb    %cl, %al
        jne     fail
        decl    %ecx
        jnz     1b
        jmp     4f
3:      movb    $0, %al
        jmp     2b
4:
        step    'd'                     /* a branch that turns round: jz becomes jnz and back */
        movl    $100, %ecx
        xorl    %ebx, %ebx
1:      xorb    $1, 2f
        xorl    %eax, %eax
2:      jz      3f
        incl    %ebx
3:      decl    %ecx
        jnz     1b
        cmpl    $50, %ebx
        jne     fail

        step    'e'                     /* run in the window, written at the physical address; and the reverse */
        map     0, F
        movl    $100, %ebx
1:      movl    $F, %edi
        movl    %ebx, %eax
        call    make
        movl    $WINDOW, %edi
        call    *%rdi
        cmpl    %ebx, %eax
        jne     fail
        leal    1000(%rbx), %eax
        call    make
        movl    $F, %edi
        call    *%rdi
        subl    $1000, %eax
        cmpl    %ebx, %eax
        jne     fail
        decl    %ebx
        jnz     1b

        step    'f'                     /* an instruction over two pages, its second half written */
        map     1, G
        movl    $100, %ebx
        movl    $(F + 0xffd), %edi
1:      movl    %ebx, %eax
        call    make
        movl    $(WINDOW + 0xffd), %edx
        call    *%rdx
        cmpl    %ebx, %eax
        jne     fail
        movb    $0x5a, G                /* byte 2 of the immediate value */
        call    *%rdx
        xorl    $0x5a0000, %eax
        cmpl    %ebx, %eax
        jne     fail
        decl    %ebx
        jnz     1b

        step    'g'                     /* its second page is another one */
        movl    $0x12345678, %eax
        call    make
        movl    $0x22222222, G + 0x1000
        movb    $0xc3, G + 0x1002
        movl    $50, %ecx
1:      map     1, G
        call    *%rdx
        cmpl    $0x12345678, %eax
        jne     fail
        map     1, (G + 0x1000)
        call    *%rdx
        cmpl    $0x22225678, %eax
        jne     fail
        decl    %ecx
        jnz     1b

        call    remap
        call    writers
        call    data_beside_code
        ret

/* One linear address, two programs: by INVLPG, by loading CR3, through a direct jump, and with a global page. */
remap:  step    'h'
        movl    $F, %edi
        movl    $1, %eax
        call    make
        movl    $G, %edi
        movl    $2, %eax
        call    make
        movl    $50, %ecx
1:      map     0, F
        movl    $WINDOW, %edx
        call    *%rdx
        cmpl    $1, %eax
        jne     fail
        map     0, G
        call    *%rdx
        cmpl    $2, %eax
        jne     fail
        movq    $(F + 3), window_pt
        movq    %cr3, %rax
        movq    %rax, %cr3
        call    *%rdx
        cmpl    $1, %eax
        jne     fail
        decl    %ecx
        jnz     1b

        step    'i'                     /* page 0 ends in a jump to page 1 */
        map     0, F
        movb    $0xe9, F + 0x10         /* jmp WINDOW + 0x1000 */
        movl    $(0x1000 - 0x15), F + 0x11
        movl    $G, %edi
        movl    $3, %eax
        call    make
        movl    $(G + 0x1000), %edi
        movl    $4, %eax
        call    make
        movl    $(WINDOW + 0x10), %edx
        movl    $50, %ecx
1:      map     1, G
        call    *%rdx
        cmpl    $3, %eax
        jne     fail
        map     1, (G + 0x1000), 0x103
        call    *%rdx
        cmpl    $4, %eax
        jne     fail
        decl    %ecx
        jnz     1b

        step    'j'                     /* no execution, then execution again */
        movl    $20, %ecx
1:      map     1, G
        call    *%rdx
        cmpl    $3, %eax
        jne     fail
        btsq    $63, window_pt + 8
        invlpg  WINDOW + 0x1000
        movq    $2f, resume
        movq    $0, fault_vector
        pushq   %rsp
        call    *%rdx
        jmp     fail
2:      movq    $0, resume
        popq    %rax                    /* the return address the call left */
        popq    %rax
        cmpq    %rax, %rsp
        jne     fail
        check_eq $14, fault_vector
        check_eq $0x11, fault_error     /* fetch, present */
        check_eq $(WINDOW + 0x1000), fault_rip
        check_eq $(WINDOW + 0x1000), fault_cr2
        decl    %ecx
        jnz     1b
        ret

/* Each store instruction writes the immediate value of a hot function. %rbx: value, %rdi: where it goes. */
        .macro writer letter, insns
        step    \letter
        movl    $60, %ecx
1:      movl    $F, %edi
        movl    $0, %eax
        call    make
        call    *%rdi
        testl   %eax, %eax
        jnz     fail
        leal    0x1000(%rcx), %ebx
        movl    $(F + 1), %edi
        movl    %ebx, scratch
        \insns
        movl    $F, %edi
        call    *%rdi
        cmpl    %ebx, %eax
        jne     fail
        decl    %ecx
        jnz     1b
        .endm

writers:
        writer  'k', "movw %bx, (%rdi)"
        writer  'l', "xchgl %ebx, (%rdi); movl scratch, %ebx"
        writer  'm', "xorl %eax, %eax; lock; cmpxchgl %ebx, (%rdi)"
        writer  'n', "addl %ebx, (%rdi)"
        writer  'o', "lock; xaddl %ebx, (%rdi); movl scratch, %ebx"
        writer  'p', "movl $scratch, %esi; movsl"
        writer  'q', "movq %rcx, %r8; movl $4, %ecx; movl $scratch, %esi; rep; movsb; movq %r8, %rcx"
        writer  'r', "movl %ebx, %eax; stosl"
        writer  's', "movd %ebx, %xmm0; movd %xmm0, (%rdi)"
        writer  't', "movq %rsp, %r8; movl $(F + 9), %esp; movq F + 1, %r9; shrq $32, %r9; shlq $32, %r9; orq %rbx, %r9; pushq %r9; movq %r8, %rsp"
        writer  'u', "btsl $12, (%rdi); orb %bl, (%rdi)"
        writer  'v', "movnti %ebx, (%rdi); sfence"
        writer  'w', "movl %ebx, -16(%rsp); fildl -16(%rsp); fistpl (%rdi)"
        writer  'x', "movdqu F - 7, %xmm1; movdqu %xmm1, F - 7; movl %ebx, %eax; shll $24, %eax; movl %eax, -2(%rdi); movb $0xb8, F; shrl $8, %ebx; movl %ebx, 1(%rdi); movb $0xc3, F + 5; movl scratch, %ebx; movb %bl, (%rdi)"
        ret

/* Data in the page of hot code, and stores over the border of one: the code is what it was, the data what was stored. */
data_beside_code:
        step    'y'
        movl    $G, %edi
        movl    $7, %eax
        call    make
        movl    $5000, %ecx
        movl    $0, G + 0x20
        movq    $0, G - 4
        movl    $7, %eax
        call    make
1:      call    *%rdi
        cmpl    $7, %eax
        jne     fail
        incl    G + 0x20
        movl    %ecx, G - 4
        decl    %ecx
        jnz     1b
        cmpl    $5000, G + 0x20
        jne     fail
        step    'z'                     /* 8 bytes, of which the last 4 are code */
        movl    $0x000009b8, %eax       /* mov $9, %eax: bytes 0-3 */
        shlq    $32, %rax
        movq    %rax, G - 4
        call    *%rdi
        cmpl    $9, %eax
        jne     fail
        ret

        .data
        .align  16
scratch: .quad  0
