/* Modes and initialization vectors around nettle's block ciphers.
 *
 * XTS (IEEE 1619-2007) is written here in terms of many blocks at a time: nettle's own goes block by block, which leaves AES
 * instructions waiting for each other. IVs are those of dm-crypt: plain (32 bits of the number, little-endian), plain64, and ESSIV
 * (the number encrypted with a hash of the key). */
#include "crypto/cipher.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <nettle/cbc.h>
#include <nettle/nettle-meta.h>
#include <string.h>

#define BLOCK 16u
#define BATCH 16u /* units whose IVs are made together */

static const struct viv_cipher_alg algs[] = {
    {"aes-128", "aes", 16, &nettle_aes128},
    {"aes-192", "aes", 24, &nettle_aes192},
    {"aes-256", "aes", 32, &nettle_aes256},
    {"serpent-128", "serpent", 16, &nettle_serpent128},
    {"serpent-192", "serpent", 24, &nettle_serpent192},
    {"serpent-256", "serpent", 32, &nettle_serpent256},
    {"twofish-128", "twofish", 16, &nettle_twofish128},
    {"twofish-192", "twofish", 24, &nettle_twofish192},
    {"twofish-256", "twofish", 32, &nettle_twofish256},
};

const char *const viv_cipher_alg_names[] = {"aes-128",     "aes-192",     "aes-256",     "serpent-128", "serpent-192",
                                            "serpent-256", "twofish-128", "twofish-192", "twofish-256", NULL};
const char *const viv_cipher_mode_names[] = {"ecb", "cbc", "xts", NULL};
const char *const viv_cipher_ivgen_names[] = {"plain", "plain64", "essiv", NULL};

struct viv_cipher {
    struct viv_cipher_spec spec;
    void *encrypt, *decrypt; /* nettle's contexts */
    void *tweak;             /* XTS: the second key, for encrypting IVs */
    void *essiv;             /* ESSIV: likewise */
    const struct nettle_cipher *essiv_impl;
};

const struct viv_cipher_alg *viv_cipher_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(algs); i++)
        if (strcmp(algs[i].name, name) == 0)
            return &algs[i];
    return NULL;
}

const struct viv_cipher_alg *viv_cipher_find_key(const char *family, unsigned key_bytes)
{
    for (size_t i = 0; i < G_N_ELEMENTS(algs); i++)
        if (strcmp(algs[i].family, family) == 0 && algs[i].key_bytes == key_bytes)
            return &algs[i];
    return NULL;
}

unsigned viv_cipher_key_bytes(const struct viv_cipher_spec *s)
{
    return s->alg->key_bytes * (s->mode == VIV_CIPHER_XTS ? 2 : 1);
}

/* --- keys --- */

static void *context(const struct nettle_cipher *impl, nettle_set_key_func *set, const uint8_t *key)
{
    void *c = g_malloc0(impl->context_size);

    set(c, key);
    return c;
}

static void free_context(void *c, const struct nettle_cipher *impl)
{
    if (c)
        explicit_bzero(c, impl->context_size);
    g_free(c);
}

/* The same cipher with the key's hash as its key. */
static int set_essiv(struct viv_cipher *c, const uint8_t *key, struct viv_err *err)
{
    struct viv_hash_piece piece = {key, viv_cipher_key_bytes(&c->spec)};
    const struct viv_cipher_alg *alg;
    uint8_t digest[VIV_HASH_MAX];

    alg = viv_cipher_find_key(c->spec.alg->family, viv_hash_size(c->spec.iv_hash));
    if (!alg)
        return viv_fail(err, EINVAL, "essiv: a key of %s has no size of %s's %zu bytes; sha256 works", c->spec.alg->family,
                        viv_hash_name(c->spec.iv_hash), viv_hash_size(c->spec.iv_hash));
    viv_hash_digest(c->spec.iv_hash, &piece, 1, digest);
    c->essiv_impl = alg->impl;
    c->essiv = context(alg->impl, alg->impl->set_encrypt_key, digest);
    explicit_bzero(digest, sizeof(digest));
    return 0;
}

int viv_cipher_new(const struct viv_cipher_spec *s, const uint8_t *key, struct viv_cipher **out, struct viv_err *err)
{
    const struct nettle_cipher *impl = s->alg->impl;
    struct viv_cipher *c = g_new0(struct viv_cipher, 1);

    c->spec = *s;
    if (s->mode != VIV_CIPHER_ECB && s->ivgen == VIV_IVGEN_ESSIV) {
        int ret = set_essiv(c, key, err);

        if (ret) {
            viv_cipher_free(c);
            return ret;
        }
    }
    c->encrypt = context(impl, impl->set_encrypt_key, key);
    c->decrypt = context(impl, impl->set_decrypt_key, key);
    if (s->mode == VIV_CIPHER_XTS)
        c->tweak = context(impl, impl->set_encrypt_key, key + s->alg->key_bytes);
    *out = c;
    return 0;
}

void viv_cipher_free(struct viv_cipher *c)
{
    if (!c)
        return;
    free_context(c->encrypt, c->spec.alg->impl);
    free_context(c->decrypt, c->spec.alg->impl);
    free_context(c->tweak, c->spec.alg->impl);
    free_context(c->essiv, c->essiv_impl);
    g_free(c);
}

/* --- one unit --- */

static void ecb(const struct viv_cipher *c, bool encrypt, uint8_t *buf, size_t len)
{
    if (encrypt)
        c->spec.alg->impl->encrypt(c->encrypt, len, buf, buf);
    else
        c->spec.alg->impl->decrypt(c->decrypt, len, buf, buf);
}

/* Serial by its nature; nettle has this loop for AES in one piece. */
static void cbc_aes(const struct viv_cipher *c, uint8_t *iv, uint8_t *buf, size_t len)
{
    switch (c->spec.alg->key_bytes) {
    case 16: cbc_aes128_encrypt(c->encrypt, iv, len, buf, buf); break;
    case 24: cbc_aes192_encrypt(c->encrypt, iv, len, buf, buf); break;
    default: cbc_aes256_encrypt(c->encrypt, iv, len, buf, buf); break;
    }
}

static void cbc(const struct viv_cipher *c, bool encrypt, uint8_t *iv, uint8_t *buf, size_t len)
{
    if (!encrypt)
        cbc_decrypt(c->decrypt, c->spec.alg->impl->decrypt, BLOCK, iv, len, buf, buf);
    else if (strcmp(c->spec.alg->family, "aes") == 0)
        cbc_aes(c, iv, buf, len);
    else
        cbc_encrypt(c->encrypt, c->spec.alg->impl->encrypt, BLOCK, iv, len, buf, buf);
}

static void xor_words(uint8_t *buf, const uint64_t *with, size_t len)
{
    for (size_t i = 0; i < len / 8; i++) {
        uint64_t word;

        memcpy(&word, buf + i * 8, 8);
        word ^= with[i];
        memcpy(buf + i * 8, &word, 8);
    }
}

/* IEEE 1619 section 5.3: block j is xored, before and after, with the tweak times alpha^j in GF(2^128). */
static void xts(const struct viv_cipher *c, bool encrypt, const uint8_t *tweak, uint8_t *buf, size_t len)
{
    uint64_t t[VIV_CIPHER_UNIT / 8], low = viv_ld_le64(tweak), high = viv_ld_le64(tweak + 8);

    for (size_t i = 0; i < len / 8; i += 2) {
        uint64_t carry = -(high >> 63) & 0x87;

        t[i] = htole64(low);
        t[i + 1] = htole64(high);
        high = high << 1 | low >> 63;
        low = low << 1 ^ carry;
    }
    xor_words(buf, t, len);
    ecb(c, encrypt, buf, len);
    xor_words(buf, t, len);
}

/* --- many --- */

static void make_ivs(const struct viv_cipher *c, uint64_t number, unsigned count, uint8_t *iv)
{
    memset(iv, 0, count * BLOCK);
    for (unsigned i = 0; i < count; i++)
        viv_st_le64(iv + i * BLOCK, c->spec.ivgen == VIV_IVGEN_PLAIN ? (uint32_t)(number + i) : number + i);
    if (c->essiv)
        c->essiv_impl->encrypt(c->essiv, count * BLOCK, iv, iv);
    if (c->tweak)
        c->spec.alg->impl->encrypt(c->tweak, count * BLOCK, iv, iv);
}

void viv_cipher_run(const struct viv_cipher *c, bool encrypt, uint64_t number, uint8_t *buf, size_t len)
{
    uint8_t iv[BATCH * BLOCK];

    if (c->spec.mode == VIV_CIPHER_ECB) {
        ecb(c, encrypt, buf, len);
        return;
    }
    for (unsigned i = 0; len; i++) {
        size_t step = MIN(len, VIV_CIPHER_UNIT);

        if (i % BATCH == 0)
            make_ivs(c, number + i, MIN(BATCH, (len + VIV_CIPHER_UNIT - 1) / VIV_CIPHER_UNIT), iv);
        if (c->spec.mode == VIV_CIPHER_CBC)
            cbc(c, encrypt, iv + i % BATCH * BLOCK, buf, step);
        else
            xts(c, encrypt, iv + i % BATCH * BLOCK, buf, step);
        buf += step;
        len -= step;
    }
}
