/* The encryption that qcow and the first qcow2 had. */
#include "block/crypt/crypt.h"

#include "crypto/cipher.h"
#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define NEEDS_SECRET "Parameter 'encrypt.key-secret' is required for cipher: the id of a secret with the password"

int viv_crypt_qcow_aes(const char *key_secret, bool no_data, struct viv_crypt **out, struct viv_err *err)
{
    struct viv_cipher_spec spec = {viv_cipher_find("aes-128"), VIV_CIPHER_CBC, VIV_IVGEN_PLAIN64, NULL};
    struct viv_cipher *cipher = NULL;
    uint8_t key[16] = {0};
    char *password = NULL;
    int ret;

    if (no_data) {
        *out = viv_crypt_locked("aes", false);
        return 0;
    }
    if (!key_secret)
        return viv_fail(err, EINVAL, NEEDS_SECRET);
    ret = viv_secret_get_text(key_secret, &password, err);
    if (ret)
        return ret;
    memcpy(key, password, MIN(strlen(password), sizeof(key)));
    viv_secret_free_text(password);
    ret = viv_cipher_new(&spec, key, &cipher, err);
    explicit_bzero(key, sizeof(key));
    if (!ret)
        *out = viv_crypt_new("aes", cipher, false);
    return ret;
}

int viv_crypt_check_secret(const char *id, struct viv_err *err)
{
    char *password = NULL;
    int ret = viv_secret_get_text(id, &password, err);

    viv_secret_free_text(password);
    return ret;
}

int viv_crypt_qcow_asked(struct viv_opts *o, const char **out, struct viv_err *err)
{
    const char *format = viv_opts_str(o, "encrypt.format");
    bool alias = viv_opts_bool(o, "encryption"), key = viv_opts_given(o, "encrypt.key-secret");

    if (alias && format)
        return viv_fail(err, EINVAL, "'encrypt.format' and its alias 'encryption' can't be used at the same time");
    if (!alias && !format && key)
        return viv_fail(err, EINVAL, "Parameter 'encrypt.format' is missing: a key without encryption");
    if ((alias || format) && !key)
        return viv_fail(err, EINVAL, NEEDS_SECRET);
    *out = alias ? "aes" : format;
    return !*out || strcmp(*out, "aes") != 0 ? 0 : viv_crypt_check_secret(viv_opts_str(o, "encrypt.key-secret"), err);
}
