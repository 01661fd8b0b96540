/* Under which name the program was called: by one of QEMU's (qemu-system-x86_64, qemu-img, kvm...) it says what scripts that were
 * written for those wait for: its version's first words, the monitor's prompt, the name before its errors. */
#ifndef VIV_BASE_PROGRAM_H
#define VIV_BASE_PROGRAM_H

#include <stdbool.h>

/* The release whose command line and QMP ours are like. */
#define VIV_QEMU_MAJOR 7
#define VIV_QEMU_MINOR 2
#define VIV_QEMU_MICRO 0

/* First thing in main. argv0 is borrowed. */
void viv_program_init(const char *argv0, const char *own_name);
const char *viv_program_name(void); /* own_name, or QEMU's */
bool viv_program_as_qemu(void);
int viv_program_print_version(void); /* a line; 1 when it could not be written, else 0 */

#endif
