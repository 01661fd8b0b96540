/* Encryption of image data, as the core applies it between the caller's bytes and a child's.
 *
 * A crypt turns whole units (512 bytes, or the image's sector size) whose number, from which the cipher's IV comes, is the
 * byte offset divided by the unit: the offset on the guest's disk, or, with `by_host`, the one in the file. Thread-safe:
 * any number of threads may run one crypt at once. Errors are negative errnos. */
#ifndef VIV_BLOCK_CRYPT_CRYPT_H
#define VIV_BLOCK_CRYPT_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_crypt {
    uint32_t unit; /* bytes, a power of two of at least 512 */
    bool by_host;
    /* In place; offset and len are multiples of unit. */
    int (*run)(struct viv_crypt *c, bool encrypt, uint64_t offset, uint8_t *buf, size_t len);
    void (*free)(struct viv_crypt *c); /* wipes the keys */
};

#endif
