/* SMBIOS tables (DSP0134 3.0): what dmidecode and DMI quirks of an OS read.
 *
 * Both entry points are made: 2.8 ("_SM_") and 3.0 ("_SM3_"), found by scanning 0xF0000-0xFFFFF. */
#ifndef VIV_MACHINE_SMBIOS_H
#define VIV_MACHINE_SMBIOS_H

#include "opt/opt.h"

#include <glib.h>

#define VIV_SMBIOS_TYPES 18 /* of those whose fields can be given, and one */

/* What -smbios said. */
struct viv_smbios_given {
    struct viv_opts *of[VIV_SMBIOS_TYPES]; /* a type's fields; NULL: none */
    uint32_t from_file;                    /* bits of types that files bring: no others of these are made */
    GPtrArray *texts, *ports, *files;      /* of type 11; struct viv_opts of type 8, one each; GBytes, whole structures */
    GPtrArray *opts;                       /* all of them, to be freed */
};
struct viv_smbios_given *viv_smbios_given_new(void);
void viv_smbios_given_free(struct viv_smbios_given *g); /* NULL allowed */
int viv_smbios_given_add(struct viv_smbios_given *g, const char *text, struct viv_err *err);

struct viv_smbios_info {
    const char *product; /* type 1 product name: the machine's */
    const char *version; /* type 1 version, e.g. "pc" */
    const uint8_t *uuid; /* 16 bytes in text order; NULL: none set */
    const char *serial;  /* may be NULL */
    const char *cpu;     /* type 4 version string */
    uint64_t ram_bytes;
    uint64_t below_4g;   /* of ram_bytes, how much lies from address 0 */
    unsigned sockets;
    unsigned cores, threads; /* per socket */
    uint32_t signature;      /* CPUID 1 EAX */
    uint32_t features;       /* CPUID 1 EDX */
    bool firmware;           /* one runs and says itself who it is: no type 0 unless it was given */
    const struct viv_smbios_given *given; /* NULL: nothing */
};

#define VIV_SMBIOS_ENTRIES  64 /* bytes at the blob's start: 2.8 entry point, at 32 that of 3.0; the tables follow */
#define VIV_SMBIOS_ENTRY_28 31 /* bytes of the first */

/* Builds for address `base` (16-byte aligned), within `max` bytes. -ENOSPC when it does not fit. g_malloc'ed. */
int viv_smbios_build(const struct viv_smbios_info *info, uint32_t base, size_t max, uint8_t **out,
                     size_t *len, struct viv_err *err);

#endif
