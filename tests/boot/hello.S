/* Smallest multiboot kernel: checks what the loader promised, prints the command line, leaves with 0 (exit status 1).
 * Expected on COM1: "hello, ARGS" where ARGS is the multiboot command line. */
        .set    FLAGS, 3                /* page-aligned modules, memory information */
        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

        .text
#include "serial.inc"

        .globl  _start
_start: movl    $stack, %esp
        cmpl    $0x2badb002, %eax
        jne     bad
        movl    (%ebx), %eax            /* flags: memory, command line, modules, map, loader name */
        andl    $0x24d, %eax
        cmpl    $0x24d, %eax
        jne     bad
        movl    $hello, %esi
        call    print
        movl    16(%ebx), %esi
        call    print
        movl    $newline, %esi
        call    print
        exit_with 0
bad:    movl    $wrong, %esi
        call    print
        exit_with 1

        .section .rodata
hello:  .asciz  "hello, "
newline: .asciz "\n"
wrong:  .asciz  "multiboot registers or flags are wrong\n"
        .bss
        .skip   4096
stack:
