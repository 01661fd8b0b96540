/* Hash functions by name, and PBKDF2 (RFC 8018 section 5.2) on them. Any thread. */
#ifndef VIV_CRYPTO_HASH_H
#define VIV_CRYPTO_HASH_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define VIV_HASH_MAX 64 /* bytes of the longest digest */

struct viv_hash;

/* "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"; NULL: not one of them. */
const struct viv_hash *viv_hash_find(const char *name);
extern const char *const viv_hash_names[]; /* NULL-terminated */
const char *viv_hash_name(const struct viv_hash *h);
size_t viv_hash_size(const struct viv_hash *h); /* bytes of its digest */

/* Of several pieces, one after the other. */
struct viv_hash_piece {
    const void *data;
    size_t len;
};
void viv_hash_digest(const struct viv_hash *h, const struct viv_hash_piece *piece, unsigned pieces, uint8_t *out);

/* HMAC-h in PBKDF2. Takes as long as `iterations` (at least 1) say. */
void viv_pbkdf2(const struct viv_hash *h, const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
                uint32_t iterations, uint8_t *out, size_t out_len);
/* How many iterations of that this machine does in `ms` of CPU time for out_len bytes; at least 1000 and at most what fits.
 * Measures for some tenths of a second. */
uint32_t viv_pbkdf2_iterations(const struct viv_hash *h, size_t out_len, uint64_t ms);

#endif
