/* Crypts on ciphers, and the one that has no key. */
#include "block/crypt/crypt.h"

#include "crypto/cipher.h"

#include <errno.h>
#include <glib.h>

struct keyed {
    struct viv_crypt crypt;
    struct viv_cipher *cipher;
};

static int run_cipher(struct viv_crypt *c, bool encrypt, uint64_t offset, uint8_t *buf, size_t len)
{
    const struct keyed *k = (const struct keyed *)c;

    viv_cipher_run(k->cipher, encrypt, offset / VIV_CIPHER_UNIT, buf, len);
    return 0;
}

static int run_locked(struct viv_crypt *c, bool encrypt, uint64_t offset, uint8_t *buf, size_t len)
{
    return -ENOKEY;
}

static void free_keyed(struct viv_crypt *c)
{
    struct keyed *k = (struct keyed *)c;

    viv_cipher_free(k->cipher);
    g_free(k);
}

static struct viv_crypt *make(const char *format, struct viv_cipher *cipher, bool by_host)
{
    struct keyed *k = g_new0(struct keyed, 1);

    k->cipher = cipher;
    k->crypt.format = format;
    k->crypt.unit = VIV_CIPHER_UNIT;
    k->crypt.by_host = by_host;
    k->crypt.run = cipher ? run_cipher : run_locked;
    k->crypt.free = free_keyed;
    return &k->crypt;
}

struct viv_crypt *viv_crypt_new(const char *format, struct viv_cipher *cipher_take, bool by_host)
{
    return make(format, cipher_take, by_host);
}

struct viv_crypt *viv_crypt_locked(const char *format, bool by_host)
{
    return make(format, NULL, by_host);
}
