/* Diskette formats: those of IBM and DOS, and what Linux's driver reads and writes beside them
 * (Documentation/admin-guide/devices.txt, major 2). */
#include "dev/floppy/format.h"

#include <glib.h>
#include <string.h>

const char *const floppy_type_names[] = {"144", "288", "120", "none", "auto", NULL};

enum floppy_type floppy_type_parse(const char *name)
{
    static const enum floppy_type types[] = {FLOPPY_144, FLOPPY_288, FLOPPY_120, FLOPPY_NONE, FLOPPY_AUTO};
    unsigned i = 0;

    while (i < G_N_ELEMENTS(types) - 1 && strcmp(name, floppy_type_names[i]))
        i++;
    return types[i];
}

/* The first of a drive is its usual one; of two of a size the first is meant. */
static const struct floppy_format formats[] = {
    {FLOPPY_144, 18, 80, 2, FLOPPY_500K}, {FLOPPY_144, 20, 80, 2, FLOPPY_500K}, {FLOPPY_144, 21, 80, 2, FLOPPY_500K},
    {FLOPPY_144, 21, 82, 2, FLOPPY_500K}, {FLOPPY_144, 21, 83, 2, FLOPPY_500K}, {FLOPPY_144, 22, 80, 2, FLOPPY_500K},
    {FLOPPY_144, 23, 80, 2, FLOPPY_500K}, {FLOPPY_144, 24, 80, 2, FLOPPY_500K},
    {FLOPPY_288, 36, 80, 2, FLOPPY_1M},   {FLOPPY_288, 39, 80, 2, FLOPPY_1M},   {FLOPPY_288, 40, 80, 2, FLOPPY_1M},
    {FLOPPY_288, 44, 80, 2, FLOPPY_1M},   {FLOPPY_288, 48, 80, 2, FLOPPY_1M},
    {FLOPPY_144, 9, 80, 2, FLOPPY_250K},  {FLOPPY_144, 10, 80, 2, FLOPPY_250K}, {FLOPPY_144, 10, 82, 2, FLOPPY_250K},
    {FLOPPY_144, 10, 83, 2, FLOPPY_250K}, {FLOPPY_144, 13, 80, 2, FLOPPY_250K}, {FLOPPY_144, 14, 80, 2, FLOPPY_250K},
    {FLOPPY_120, 15, 80, 2, FLOPPY_500K}, {FLOPPY_120, 18, 80, 2, FLOPPY_500K}, {FLOPPY_120, 18, 82, 2, FLOPPY_500K},
    {FLOPPY_120, 18, 83, 2, FLOPPY_500K}, {FLOPPY_120, 20, 80, 2, FLOPPY_500K},
    {FLOPPY_120, 9, 80, 2, FLOPPY_300K},  {FLOPPY_120, 11, 80, 2, FLOPPY_300K}, {FLOPPY_120, 9, 40, 2, FLOPPY_300K},
    {FLOPPY_120, 9, 40, 1, FLOPPY_300K},  {FLOPPY_120, 10, 41, 2, FLOPPY_300K}, {FLOPPY_120, 10, 42, 2, FLOPPY_300K},
    {FLOPPY_120, 8, 40, 2, FLOPPY_300K},  {FLOPPY_120, 8, 40, 1, FLOPPY_300K},
};

uint64_t floppy_format_size(const struct floppy_format *f)
{
    return (uint64_t)f->sectors * f->tracks * f->heads * FLOPPY_SECTOR;
}

enum floppy_type floppy_type_of_size(uint64_t size)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (floppy_format_size(&formats[i]) == size)
            return formats[i].type;
    }
    return FLOPPY_AUTO;
}

static bool takes(enum floppy_type drive, const struct floppy_format *f)
{
    return f->type == drive || (drive == FLOPPY_288 && f->type == FLOPPY_144);
}

const struct floppy_format *floppy_format_find(enum floppy_type drive, uint64_t size, bool *exact)
{
    const struct floppy_format *usual = NULL;

    *exact = true;
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (takes(drive, &formats[i]) && floppy_format_size(&formats[i]) == size)
            return &formats[i];
        if (!usual && formats[i].type == drive)
            usual = &formats[i];
    }
    *exact = false;
    return usual;
}
