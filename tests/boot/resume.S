/* A boot sector of a diskette that leaves by the CPUs' reset line and comes back by the shutdown byte (CMOS 0Fh), as programs for the
 * 286 do: by the keyboard controller with code 10, by port 92h with code 5. Memory must be as it was. Then without a code: the machine
 * is reset. On COM1: "S", "1" and "2" where it came back, "!" where memory is not what it was. */
        .code16
        .globl  _start
_start: ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    $'S', %al
        call    put
        movl    $0x12345678, 0x9000
        movw    $first, %bx
        movb    $0x0a, %cl
        call    prepare
        movb    $0xfe, %al
        outb    %al, $0x64
1:      jmp     1b

first:  call    check
        movb    $'1', %al
        call    put
        movw    $second, %bx
        movb    $0x05, %cl
        call    prepare
        inb     $0x92, %al
        orb     $1, %al
        outb    %al, $0x92
1:      jmp     1b

second: call    check
        movb    $'2', %al
        call    put
        movb    $0, %cl
        call    prepare
        movb    $0xfe, %al
        outb    %al, $0x64
1:      jmp     1b

/* 40:67h is 0:%bx, CMOS 0Fh %cl. */
prepare:
        movw    %bx, 0x467
        movw    $0, 0x469
        movb    $0x8f, %al
        outb    %al, $0x70
        movb    %cl, %al
        outb    %al, $0x71
        ret

check:  popw    %dx                     /* from the stack that the firmware left */
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        pushw   %dx
        cmpl    $0x12345678, 0x9000
        je      1f
        movb    $'!', %al
        call    put
1:      ret

put:    movw    $0x3f8, %dx
        outb    %al, %dx
        ret

        .org    510
        .word   0xaa55
