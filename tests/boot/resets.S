/* A boot sector of a diskette that resets the CPUs alone (CMOS 0Fh: 10) again and again, by the keyboard controller. "S" on COM1 where it
 * begins, "R" at each return. With AGAIN defined it also asks for a reset of the machine, by CF9h, for as long as it still runs then:
 * a CPU on its reset line asks for nothing. */
        .code16
        .globl  _start
_start: movb    $'S', %al
1:      cli
        movw    $0x3f8, %dx
        outb    %al, %dx
        xorw    %bx, %bx
        movw    %bx, %ds
        movw    %bx, %ss
        movw    $0x7c00, %sp
        movw    $again, 0x467
        movw    %bx, 0x469
        movb    $0x8f, %al
        outb    %al, $0x70
        movb    $0x0a, %al
        outb    %al, $0x71
        movb    $0xfe, %al
        outb    %al, $0x64
2:
#ifdef AGAIN
        movw    $0xcf9, %dx
        movb    $0x02, %al
        outb    %al, %dx
        movb    $0x06, %al
        outb    %al, %dx
#endif
        jmp     2b
again:  movb    $'R', %al
        jmp     1b

        .org    510
        .word   0xaa55
