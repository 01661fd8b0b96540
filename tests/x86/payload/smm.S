/* System management mode on pc and q35 (-smp 2, smm=on): SMIs by the APM port and by the local APIC, SMBASE moved to A0000h, where the
 * handler and what it counts are seen in SMM alone: not read, written or run from outside, whatever is asked of the lock. And a CPU that
 * is in SMM cannot be had out of it by INIT and SIPI. */
#include "long.inc"
        .set    TRAMPOLINE, 0x8000
        .set    STARTS, 0x7000          /* how often the other CPU has started */
        .set    INSIDE, 0x7004          /* it is in its handler */
        .set    GO_ON, 0x7008           /* it may leave it */
        .set    SEEN, 0x700c            /* what the handler has counted */
        .set    SMRAM, 0xa0000

        .code16
trampoline:
        xorw    %ax, %ax
        movw    %ax, %ds
        lock incl STARTS
1:      cli
        hlt
        jmp     1b
trampoline_end:

move:   movl    $SMRAM, %cs:0xff00      /* SMBASE in the save area */
        rsm
move_end:

count:  incl    %cs:0x100
        movl    %cs:0x100, %eax
        movl    %eax, SEEN
        rsm
count_end:

stay:   movl    $1, INSIDE
1:      cmpl    $0, GO_ON
        je      1b
        rsm
stay_end:
        .code64

        /* %eax: dword of configuration space (with bit 31); %bl: byte in it, %cl: value */
set_byte:
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movzbl  %bl, %edx
        addl    $0xcfc, %edx
        movb    %cl, %al
        outb    %al, %dx
        ret

get_dword:
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfc, %dx
        inl     %dx, %eax
        ret

        /* %cl: to the SMRAM register */
set_smram:
        movl    smram_at, %eax
        movb    smram_at + 4, %bl
        jmp     set_byte

        .macro install from, to
        movl    $\from, %esi
        movl    $\to, %edi
        movl    $(\from\()_end - \from), %ecx
        rep movsb
        .endm

        /* %eax: the low half of the ICR; to the other CPU */
send:   movl    $APIC, %edi
        movl    $0x01000000, 0x310(%rdi)
        movl    %eax, 0x300(%rdi)
        ret

start:  movl    $0x4500, %eax           /* INIT, SIPI */
        call    send
        movl    $(0x4600 + (TRAMPOLINE >> 12)), %eax
        jmp     send

        /* Every 64th PAUSE may cost a slice of the host's time for whatever else runs there, so not many. */
a_while:
        movl    $10000, %ecx
1:      pause
        loop    1b
        ret

        .globl  main
main:   step    'a'
        cld
        install trampoline, TRAMPOLINE
        movl    $0, STARTS
        movl    $0, INSIDE
        movl    $0, GO_ON
        movl    $0, SEEN
        movl    $APIC, %edi
        movl    $0x1ff, 0xf0(%rdi)
        movl    $0x80000000, %eax
        call    get_dword
        cmpl    $0x12378086, %eax
        jne     q35
        movl    $0x80000070, smram_at   /* 72h */
        movb    $2, smram_at + 4
        movl    $0x80000b58, %eax       /* 01.3, DEVACTB: APMC_EN */
        movb    $3, %bl
        movb    $2, %cl
        call    set_byte
        movw    $0x628, %dx             /* GLBCTL: SMI_EN */
        movl    $1, %eax
        outl    %eax, %dx
        jmp     1f
q35:    movl    $0x8000009c, smram_at   /* 9Dh */
        movb    $1, smram_at + 4
        movw    $0x630, %dx             /* SMI_EN */
        movl    $0x21, %eax
        outl    %eax, %dx
1:
        step    'b'                     /* SMRAM open, the handler goes there, SMBASE moves */
        movb    $0x4a, %cl
        call    set_smram
        install move, 0x38000
        install count, SMRAM + 0x8000
        movl    $0, SMRAM + 0x100
        xorl    %eax, %eax
        outb    %al, $0xb2
        cmpl    $0, SMRAM + 0x100
        jne     fail

        step    'c'                     /* closed, the handler runs at once */
        movb    $0x0a, %cl
        call    set_smram
        outb    %al, $0xb2
        cmpl    $1, SEEN
        jne     fail

        step    'd'                     /* not read, not written */
        cmpl    $-1, SMRAM + 0x100
        jne     fail
        cmpl    $-1, SMRAM + 0x8000
        jne     fail
        movl    $7, SMRAM + 0x100
        movb    $0xf4, SMRAM + 0x8000
        outb    %al, $0xb2
        cmpl    $2, SEEN
        jne     fail
        cmpl    $-1, SMRAM + 0x100
        jne     fail

        step    'e'                     /* not run: FFh FFh is no instruction */
        movq    $1f, resume
        movq    %rsp, %rbp
        movl    $(SMRAM + 0x8000), %eax
        call    *%rax
1:      movq    %rbp, %rsp
        movq    $0, resume
        check_eq $6, fault_vector
        check_eq $(SMRAM + 0x8000), fault_rip

        step    'f'                     /* locked */
        movb    $0x1a, %cl
        call    set_smram
        movb    $0x4a, %cl
        call    set_smram
        movl    smram_at, %eax
        call    get_dword
        movb    smram_at + 4, %cl
        shlb    $3, %cl
        shrl    %cl, %eax
        cmpb    $0x1a, %al
        jne     fail
        cmpl    $-1, SMRAM + 0x8000
        jne     fail

        step    'g'                     /* by the local APIC, to oneself */
        movl    $APIC, %edi
        movl    $0x44200, 0x300(%rdi)
1:      pause
        cmpl    $3, SEEN
        jne     1b

        step    'h'                     /* the other CPU, with a handler where SMBASE is after a reset */
        install stay, 0x38000
        call    start
1:      pause
        cmpl    $1, STARTS
        jne     1b
        movl    $0x4200, %eax
        call    send
1:      pause
        cmpl    $1, INSIDE
        jne     1b

        step    'i'                     /* INIT waits, the SIPI comes too early */
        call    start
        call    a_while
        cmpl    $1, STARTS
        jne     fail
        movl    $1, GO_ON
        call    a_while
        cmpl    $1, STARTS
        jne     fail

        step    'j'                     /* once INIT has been taken, a SIPI is heard; before, it is lost, so more than one is sent */
1:      movl    $(0x4600 + (TRAMPOLINE >> 12)), %eax
        call    send
        call    a_while
        cmpl    $2, STARTS
        jne     1b
        ret

        .data
smram_at:
        .long   0
        .byte   0
