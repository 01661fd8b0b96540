/* Disk encryption: a block cipher in a mode, over units of 512 bytes, each with an initialization vector made of its number.
 *
 * Keys are set once; a viv_cipher is not changed by use, so any number of threads may use one. */
#ifndef VIV_CRYPTO_CIPHER_H
#define VIV_CRYPTO_CIPHER_H

#include "base/err.h"
#include "crypto/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_CIPHER_UNIT    512u
#define VIV_CIPHER_KEY_MAX 64 /* bytes: two keys of 32 (XTS) */

/* A block cipher (blocks of 16 bytes) with a size of key. */
struct viv_cipher_alg {
    const char *name;   /* "aes-256" */
    const char *family; /* "aes" */
    unsigned key_bytes; /* of one key */
    const struct nettle_cipher *impl;
};

enum viv_cipher_mode { VIV_CIPHER_ECB, VIV_CIPHER_CBC, VIV_CIPHER_XTS };
enum viv_cipher_ivgen { VIV_IVGEN_PLAIN, VIV_IVGEN_PLAIN64, VIV_IVGEN_ESSIV };

struct viv_cipher_spec {
    const struct viv_cipher_alg *alg;
    enum viv_cipher_mode mode;
    enum viv_cipher_ivgen ivgen;    /* ECB: not used */
    const struct viv_hash *iv_hash; /* ESSIV: of the key */
};

extern const char *const viv_cipher_alg_names[];
extern const char *const viv_cipher_mode_names[];  /* in enum's order, as the next */
extern const char *const viv_cipher_ivgen_names[];

const struct viv_cipher_alg *viv_cipher_find(const char *name); /* "aes-256"; NULL: none */
const struct viv_cipher_alg *viv_cipher_find_key(const char *family, unsigned key_bytes);
/* Bytes of the whole key: XTS has two. */
unsigned viv_cipher_key_bytes(const struct viv_cipher_spec *s);

struct viv_cipher;
/* -EINVAL: this ESSIV hash fits no key of the cipher. */
int viv_cipher_new(const struct viv_cipher_spec *s, const uint8_t *key, struct viv_cipher **out, struct viv_err *err);
void viv_cipher_free(struct viv_cipher *c); /* wipes; NULL allowed */

/* In place, from the start of unit `number` on. The last unit may be short, by multiples of 16. */
void viv_cipher_run(const struct viv_cipher *c, bool encrypt, uint64_t number, uint8_t *buf, size_t len);

#endif
