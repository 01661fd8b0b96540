/* A boot sector that sets one mode of the BIOS after the other (those from 100h on by VBE), and fills what is to be seen through the
 * window, a plane at a time where there are planes; then a word as the BIOS draws it. On COM1 "=A;" for the first mode, "=B;" for
 * the second..., small where the BIOS has not got it, and it waits for a byte; "!" at the end. */
        .code16
        .globl  _start
_start: ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        movw    $modes, %si
        movb    $'A', letter
next:   lodsw
        testw   %ax, %ax
        js      end
        pushw   %si
        pushw   %ax
        call    set
        popw    %bx
        jne     missing
        call    fill
        call    word
        movb    letter, %al
        jmp     1f
missing:
        movb    letter, %al
        orb     $0x20, %al
1:      incb    letter
        pushw   %ax
        movb    $'=', %al
        call    put
        popw    %ax
        call    put
        movb    $';', %al
        call    put
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $1, %al
        jz      1b
        movw    $0x3f8, %dx
        inb     %dx, %al
        popw    %si
        jmp     next
end:    movb    $'!', %al
        call    put
1:      hlt
        jmp     1b

/* %ax: the mode. ZF: it is there. */
set:    testb   %ah, %ah
        jz      1f
        movw    %ax, %bx
        movw    $0x4f02, %ax
        int     $0x10
        cmpw    $0x004f, %ax
        ret
1:      int     $0x10                   /* ah 0 */
        movw    $0x2000, %cx            /* no cursor */
        movb    $1, %ah
        int     $0x10
        cmpw    %ax, %ax
        ret

/* %bx: the mode. 0 to 7 are at B800h, text and CGA's; the others have planes at A000h, or do not mind. */
fill:   movw    $0xb800, %ax
        movb    $0, %cl
        cmpw    $7, %bx
        jbe     pattern
1:      movb    $1, %ah
        shlb    %cl, %ah
        call    mask
        movw    $0xa000, %ax
        call    pattern
        incb    %cl
        cmpb    $4, %cl
        jb      1b
        movb    $0x0f, %ah
mask:   movb    $2, %al                 /* sequencer, map mask */
        movw    $0x3c4, %dx
        outw    %ax, %dx
        ret

/* %ax: segment; each plane's is another one. In text nothing blinks, and there is no character of which QEMU's cards draw nine dots
 * where IBM's draw eight (B0h to BFh). */
pattern:
        movw    %ax, %es
        xorw    %di, %di
1:      movw    %di, %ax
        shrw    $1, %ax
        addb    %ah, %al
        rorb    %cl, %al
        cmpw    $7, %bx
        ja      2f
        andb    $0x7f, %al
2:      stosb
        cmpw    $0x3fff, %di
        jne     1b
        ret

word:   movw    $text, %si
1:      lodsb
        testb   %al, %al
        jz      2f
        movb    $0x0e, %ah
        movw    $0x000b, %bx
        int     $0x10
        jmp     1b
2:      ret

put:    movb    %al, %ah
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

text:   .asciz  "Vivarium"
modes:  .word   MODES, -1              /* from modes.py */
        .org    509
letter: .byte   0
        .byte   0x55, 0xaa
