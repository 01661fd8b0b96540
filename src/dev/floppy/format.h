/* Diskette formats, and which one an image is. */
#ifndef VIV_DEV_FLOPPY_FORMAT_H
#define VIV_DEV_FLOPPY_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#define FLOPPY_SECTOR      512
#define FLOPPY_MOST_SECTORS 48 /* of a track */

/* As CMOS byte 10h has them. AUTO: by the image. */
enum floppy_type { FLOPPY_NONE = 0, FLOPPY_120 = 2, FLOPPY_144 = 4, FLOPPY_288 = 5, FLOPPY_AUTO = 0xff };
extern const char *const floppy_type_names[]; /* "144", ... for a schema */
enum floppy_type floppy_type_parse(const char *name);

/* As the controller's data rate registers have them. */
enum floppy_rate { FLOPPY_500K, FLOPPY_300K, FLOPPY_250K, FLOPPY_1M };

struct floppy_format {
    uint8_t type; /* the drive it is for: a 2.88M one reads those of 1.44M ones */
    uint8_t sectors, tracks, heads, rate;
};

uint64_t floppy_format_size(const struct floppy_format *f); /* bytes */
/* The drive that an image of that size is for; FLOPPY_AUTO: there is no such format. */
enum floppy_type floppy_type_of_size(uint64_t size);
/* The format of that size in that drive; one of no such size is the drive's usual format (*exact: false). NULL: the drive is none. */
const struct floppy_format *floppy_format_find(enum floppy_type drive, uint64_t size, bool *exact);

#endif
