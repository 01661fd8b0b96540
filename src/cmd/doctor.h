/* `viv doctor`: what this host has for virtual machines, and the command that mends what it lacks. */
#ifndef VIV_CMD_DOCTOR_H
#define VIV_CMD_DOCTOR_H

#include <stdbool.h>

enum doctor_status { DOCTOR_OK, DOCTOR_WARN, DOCTOR_MISSING };

struct doctor;

/* One line of the report. `remedy` NULL: nothing to do. Texts are copied; detail is printf-like. */
void doctor_add(struct doctor *d, enum doctor_status s, const char *id, const char *remedy,
                const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* The checks, in order of the report. */
void doctor_check_kvm(struct doctor *d, bool fresh);
void doctor_check_software(struct doctor *d);
void doctor_check_host(struct doctor *d);
void doctor_check_parts(struct doctor *d);
/* KVM is there and good: otherwise VMs run on the software CPU. */
void doctor_set_kvm(struct doctor *d, bool usable, const char *why);
/* Which one that is: "xlate" or "interp". */
void doctor_set_software(struct doctor *d, const char *accel);

int viv_doctor_main(int argc, char **argv);

#endif
