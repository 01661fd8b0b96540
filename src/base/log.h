/* One sink for what operators and developers read.
 *
 * viv_error/viv_warn/viv_info go to stderr as "viv-vm: warning: ..." (program name from
 * viv_log_set_program). Categories (-d) are off by default and go to the -D file or stderr.
 * Anything a guest can trigger uses viv_guest_error(), which is category `guest_errors`
 * and rate-limited with a count of what was suppressed. Any thread; may block on the sink. */
#ifndef VIV_BASE_LOG_H
#define VIV_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* -d categories. The list is data: `-d help` prints it. */
#define VIV_LOG_CATEGORIES(_)                                                                      \
    _(INT, "int", "interrupts and exceptions, with the registers")                                                     \
    _(CPU_RESET, "cpu_reset", "triple faults, which reset the machine, with the registers")                            \
    _(GUEST_ERRORS, "guest_errors", "what the guest does that hardware would not expect")          \
    _(UNIMP, "unimp", "guest use of functions that are not implemented")                           \
    _(MMU, "mmu", "page walks that fault")                                                         \
    _(PCI, "pci", "PCI configuration and BAR placement")                                           \
    _(VIRTIO, "virtio", "virtio feature negotiation and queue errors")                              \
    _(IN_ASM, "in_asm", "guest code of each block that -accel xlate translates")                   \
    _(OUT_ASM, "out_asm", "host code it makes of it")

enum viv_log_category {
#define _(id, name, help) VIV_LOG_##id,
    VIV_LOG_CATEGORIES(_)
#undef _
        VIV_LOG_CATEGORY_COUNT
};

extern uint32_t viv_log_mask; /* bit n: category n is on; read anywhere, written at start and by viv_log_set */

static inline bool viv_log_on(enum viv_log_category c)
{
    return __builtin_expect(viv_log_mask >> c & 1, 0);
}

void viv_log_set_program(const char *name); /* borrowed; default "viv" */

/* Comma list of names; "help" is the caller's business. */
int viv_log_enable(const char *names, struct viv_err *err);
/* These and no others, "none" for no one. What the translator writes is chosen at the start: in_asm and out_asm stay. */
int viv_log_set(const char *names, struct viv_err *err);
/* Path for category output; opened (truncated) now. */
int viv_log_open(const char *path, struct viv_err *err);
/* The same while the program runs, to an open file, which is taken over. What is written through viv_log_file() by those who asked
 * before goes there, too, unless they were given stderr. */
int viv_log_switch(int fd_take, struct viv_err *err);
void viv_log_help(FILE *out);
/* Where categories go, for those that write whole pages themselves, under flockfile(3). It stays open. */
FILE *viv_log_file(void);

void viv_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void viv_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void viv_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What those lines begin with: the time (UTC, as QEMU writes it), the guest's name (borrowed; NULL: not). */
void viv_log_stamp(bool timestamp, const char *guest);

/* While a program is set up: viv_info lines wait, so that a refusal stays the only line. viv_log_release prints
 * (or drops) them and ends the waiting. Main thread. */
void viv_log_hold(void);
void viv_log_release(bool print);

/* Prints "name: text" lines of category c, unless it is off. */
void viv_log_write(enum viv_log_category c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define viv_log(c, ...)                                                                            \
    do {                                                                                           \
        if (viv_log_on(c))                                                                         \
            viv_log_write(c, __VA_ARGS__);                                                         \
    } while (0)

/* What a guest, an image or a peer did wrong: category guest_errors, at most 10 lines a second,
 * then "(N suppressed)". `who` names the device. */
void viv_guest_error(const char *who, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
