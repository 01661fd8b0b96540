/* Crypts on ciphers, and the one that has no key. */
#include "block/crypt/crypt.h"

#include "crypto/cipher.h"
#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

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

static struct viv_crypt *make(struct viv_cipher *cipher, bool by_host)
{
    struct keyed *k = g_new0(struct keyed, 1);

    k->cipher = cipher;
    k->crypt.unit = VIV_CIPHER_UNIT;
    k->crypt.by_host = by_host;
    k->crypt.run = cipher ? run_cipher : run_locked;
    k->crypt.free = free_keyed;
    return &k->crypt;
}

struct viv_crypt *viv_crypt_new(struct viv_cipher *cipher_take, bool by_host)
{
    return make(cipher_take, by_host);
}

struct viv_crypt *viv_crypt_locked(bool by_host)
{
    return make(NULL, by_host);
}

int viv_crypt_qcow_aes(const char *key_secret, bool no_data, struct viv_crypt **out, struct viv_err *err)
{
    struct viv_cipher_spec spec = {viv_cipher_find("aes-128"), VIV_CIPHER_CBC, VIV_IVGEN_PLAIN64, NULL};
    struct viv_cipher *cipher = NULL;
    uint8_t key[16] = {0};
    char *password = NULL;
    int ret;

    if (no_data) {
        *out = viv_crypt_locked(false);
        return 0;
    }
    if (!key_secret)
        return viv_fail(err, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher: the id of a secret with the password");
    ret = viv_secret_get_text(key_secret, &password, err);
    if (ret)
        return ret;
    memcpy(key, password, MIN(strlen(password), sizeof(key)));
    viv_secret_free_text(password);
    ret = viv_cipher_new(&spec, key, &cipher, err);
    explicit_bzero(key, sizeof(key));
    if (!ret)
        *out = viv_crypt_new(cipher, false);
    return ret;
}
