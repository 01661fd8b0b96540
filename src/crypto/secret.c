/* Secrets: where their bytes come from, and that they do not stay behind. */
#include "crypto/secret.h"

#include "base/base64.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SECRET_MAX (1u << 20) /* bytes of a file: a password or a key, not a disk */

struct secret {
    struct secret *next;
    char *id;
    uint8_t *bytes;
    size_t len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret *secrets;

static const char *const formats[] = {"raw", "base64", NULL};

const struct viv_opt_def viv_secret_opts[] = {
    {"id", VIV_OPT_STR, "name for key-secret= and the like", .required = true},
    {"data", VIV_OPT_STR, "the secret itself (other users of this machine can see command lines: file= is better)"},
    {"file", VIV_OPT_STR, "file that holds the secret, and nothing else: a newline at its end counts"},
    {"format", VIV_OPT_ENUM, "how data or file is written", "raw", formats},
    {"keyid", VIV_OPT_STR, "id of the secret that decrypts this one (AES-256-CBC, 32 bytes)"},
    {"iv", VIV_OPT_STR, "initialization vector for keyid, base64 of 16 bytes"},
    VIV_OPT_END,
};

void viv_secret_free(void *bytes, size_t len)
{
    if (bytes)
        explicit_bzero(bytes, len);
    g_free(bytes);
}

void viv_secret_free_text(char *text)
{
    viv_secret_free(text, text ? strlen(text) : 0);
}

/* --- where the bytes come from --- */

static int read_all(int fd, const char *path, uint8_t *buf, size_t room, size_t *len, struct viv_err *err)
{
    for (*len = 0; *len < room;) {
        ssize_t n = read(fd, buf + *len, room - *len);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return viv_fail_os(err, errno, "Unable to read %s", path);
        *len += MAX(n, 0);
    }
    return viv_fail(err, EFBIG, "%s is larger than %u bytes: no secret is", path, SECRET_MAX);
}

/* Pipes and /dev/fd/N are as good as files. */
static int read_file(const char *path, uint8_t **out, size_t *len, struct viv_err *err)
{
    uint8_t *buf = g_try_malloc0(SECRET_MAX + 1);
    int fd, ret;

    if (!buf)
        return viv_fail(err, ENOMEM, "no memory to read %s", path);
    fd = viv_open(path, O_RDONLY, 0, err);
    ret = fd < 0 ? fd : read_all(fd, path, buf, SECRET_MAX + 1, len, err);
    if (fd >= 0)
        close(fd);
    if (!ret)
        *out = g_memdup2(buf, *len + 1);
    explicit_bzero(buf, SECRET_MAX + 1);
    g_free(buf);
    return ret;
}

/* In place of *bytes. */
static int decode_base64(uint8_t **bytes, size_t *len, struct viv_err *err)
{
    size_t chars = *len;
    uint8_t *out;
    int rc = viv_base64_decode((const char *)*bytes, chars, &out, len, err);

    if (rc < 0)
        return rc;
    viv_secret_free(*bytes, chars);
    *bytes = out;
    return 0;
}

/* --- encrypted secrets --- */

/* PKCS#7 (RFC 5652 section 6.3): n bytes of value n, 1 to 16. */
static int unpad(const uint8_t *bytes, size_t *len, struct viv_err *err)
{
    uint8_t pad = *len ? bytes[*len - 1] : 0;

    if (!pad || pad > AES_BLOCK_SIZE || pad > *len)
        return viv_fail(err, EINVAL, "Incorrect number of padding bytes (%u) found on decrypted data: wrong keyid or iv?", pad);
    for (size_t i = *len - pad; i < *len; i++)
        if (bytes[i] != pad)
            return viv_fail(err, EINVAL, "Incorrect padding on decrypted data: wrong keyid or iv?");
    *len -= pad;
    return 0;
}

static int decrypt_with(const uint8_t *key, size_t key_len, const uint8_t *iv, uint8_t *bytes, size_t *len, struct viv_err *err)
{
    struct aes256_ctx ctx;
    uint8_t run[AES_BLOCK_SIZE];

    if (key_len != AES256_KEY_SIZE)
        return viv_fail(err, EINVAL, "keyid: Key should be 32 bytes in length, not %zu", key_len);
    if (*len % AES_BLOCK_SIZE)
        return viv_fail(err, EINVAL, "the encrypted data has %zu bytes, which is no multiple of 16", *len);
    memcpy(run, iv, sizeof(run));
    aes256_set_decrypt_key(&ctx, key);
    cbc_decrypt(&ctx, (nettle_cipher_func *)aes256_decrypt, AES_BLOCK_SIZE, run, *len, bytes, bytes);
    explicit_bzero(&ctx, sizeof(ctx));
    return unpad(bytes, len, err);
}

static int decrypt(struct viv_opts *o, uint8_t *bytes, size_t *len, struct viv_err *err)
{
    const char *text = viv_opts_str(o, "iv");
    uint8_t *iv = NULL, *key = NULL;
    size_t iv_len = 0, key_len = 0;
    int ret;

    if (!text)
        return viv_fail(err, EINVAL, "IV is required to decrypt secret (iv=, base64 of 16 bytes)");
    iv = (uint8_t *)g_strdup(text);
    iv_len = strlen(text);
    ret = decode_base64(&iv, &iv_len, err);
    if (!ret && iv_len != AES_BLOCK_SIZE)
        ret = viv_fail(err, EINVAL, "IV should be 16 bytes in length not %zu", iv_len);
    if (!ret)
        ret = viv_secret_get(viv_opts_str(o, "keyid"), &key, &key_len, err);
    if (!ret)
        ret = decrypt_with(key, key_len, iv, bytes, len, err);
    viv_secret_free(key, key_len);
    g_free(iv);
    return ret;
}

static int load(struct viv_opts *o, uint8_t **bytes, size_t *len, struct viv_err *err)
{
    const char *data = viv_opts_str(o, "data"), *file = viv_opts_str(o, "file"), *key = viv_opts_str(o, "keyid");
    int ret = 0;

    if (data && file)
        return viv_fail(err, EINVAL, "'file' and 'data' are mutually exclusive");
    if (!data && !file)
        return viv_fail(err, EINVAL, "Either 'file' or 'data' must be provided");
    if (viv_opts_given(o, "iv") && !key)
        return viv_fail(err, EINVAL, "iv= is for encrypted secrets: keyid= is missing");
    if (file) {
        ret = read_file(file, bytes, len, err);
    } else {
        *len = strlen(data);
        *bytes = g_memdup2(data, *len + 1);
    }
    if (!ret && strcmp(viv_opts_str(o, "format"), "base64") == 0)
        ret = decode_base64(bytes, len, err);
    if (!ret && key)
        ret = decrypt(o, *bytes, len, err);
    if (!ret)
        (*bytes)[*len] = 0;
    return ret;
}

/* --- by name --- */

static struct secret **find(const char *id)
{
    struct secret **s = &secrets;

    while (*s && strcmp((*s)->id, id))
        s = &(*s)->next;
    return s;
}

static void free_secret(struct secret *s)
{
    viv_secret_free(s->bytes, s->len);
    g_free(s->id);
    g_free(s);
}

int viv_secret_add(struct viv_opts *o, struct viv_err *err)
{
    struct secret *s = g_new0(struct secret, 1);
    int ret = load(o, &s->bytes, &s->len, err);

    s->id = g_strdup(viv_opts_str(o, "id"));
    if (!ret) {
        pthread_mutex_lock(&lock);
        if (*find(s->id))
            ret = viv_fail(err, EEXIST, "there is a secret '%s' already", s->id);
        else
            *find(s->id) = s;
        pthread_mutex_unlock(&lock);
    }
    if (ret) {
        viv_err_prefix(err, "secret '%s'", s->id);
        free_secret(s);
    }
    return ret;
}

int viv_secret_del(const char *id, struct viv_err *err)
{
    struct secret **at, *s;

    pthread_mutex_lock(&lock);
    at = find(id);
    s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&lock);
    if (!s)
        return viv_fail(err, ENOENT, "No secret with id '%s'", id);
    free_secret(s);
    return 0;
}

void viv_secret_free_all(void)
{
    struct secret *s;

    pthread_mutex_lock(&lock);
    while ((s = secrets)) {
        secrets = s->next;
        free_secret(s);
    }
    pthread_mutex_unlock(&lock);
}

int viv_secret_get(const char *id, uint8_t **out, size_t *len, struct viv_err *err)
{
    struct secret *s;

    pthread_mutex_lock(&lock);
    s = *find(id);
    if (s) {
        *out = g_memdup2(s->bytes, s->len + 1);
        *len = s->len;
    }
    pthread_mutex_unlock(&lock);
    if (!s)
        return viv_fail(err, ENOENT, "No secret with id '%s'; make it with --object secret,id=%s,file=... in front", id, id);
    return 0;
}

int viv_secret_get_text(const char *id, char **out, struct viv_err *err)
{
    uint8_t *bytes;
    size_t len;
    int ret = viv_secret_get(id, &bytes, &len, err);

    if (ret)
        return ret;
    if (!g_utf8_validate((char *)bytes, len, NULL)) { /* nor may it hold a zero byte */
        viv_secret_free(bytes, len);
        return viv_fail(err, EINVAL, "Data from secret %s is not valid UTF-8 text", id);
    }
    *out = (char *)bytes;
    return 0;
}
