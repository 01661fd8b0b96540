/* Debian's libcrypto with a fixed number of operations: it picks AES-NI, SHA-NI, AVX2 or AVX-512 code by the CPU. */
#include "work.h"
#include <openssl/evp.h>
#include <openssl/pem.h>

enum { SIZE = 16384 };

static void need(int good, const char *what)
{
    if (good > 0)
        return;
    fprintf(stderr, "crypto: %s failed\n", what);
    exit(1);
}

static uint64_t word_of(const uint8_t *p)
{
    uint64_t u;

    memcpy(&u, p, sizeof(u));
    return u;
}

static uint64_t aes_gcm(unsigned long count)
{
    static uint8_t key[16] = "bench key, fixed", data[SIZE], out[SIZE + 16];
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint64_t sum = 0;

    need(c != NULL, "EVP_CIPHER_CTX_new");
    while (count--) {
        uint8_t iv[12] = {0}, tag[16];
        int n;

        memcpy(iv, &count, sizeof(count));
        need(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, iv), "EVP_EncryptInit_ex");
        need(EVP_EncryptUpdate(c, out, &n, data, SIZE), "EVP_EncryptUpdate");
        need(EVP_EncryptFinal_ex(c, out + n, &n), "EVP_EncryptFinal_ex");
        need(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag), "GET_TAG");
        sum = sum * 31 + word_of(tag) + out[count % SIZE];
    }
    EVP_CIPHER_CTX_free(c);
    return sum;
}

static uint64_t sha256(unsigned long count)
{
    static uint8_t data[SIZE];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;

    while (count--) {
        need(EVP_Digest(data, SIZE, digest, &n, EVP_sha256(), NULL), "EVP_Digest");
        memcpy(data, digest, n);
    }
    return word_of(data);
}

/* PKCS #1 v1.5: the same key and text give the same signature (blinding is random, its result is not). */
static uint64_t rsa_sign(unsigned long count)
{
    FILE *f = fopen("/bench/data/rsa2048.pem", "r");
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    uint64_t sum = 0;

    need(key && c, "reading /bench/data/rsa2048.pem");
    fclose(f);
    while (count--) {
        uint8_t sig[256];
        size_t n = sizeof(sig);

        need(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), "EVP_DigestSignInit");
        need(EVP_DigestSign(c, sig, &n, (uint8_t *)&count, sizeof(count)), "EVP_DigestSign");
        sum = sum * 31 + word_of(sig);
    }
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return sum;
}

static uint64_t chacha(unsigned long count)
{
    static uint8_t key[32] = "bench key, fixed, of 256 bits..", data[SIZE];
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint64_t sum = 0;
    int n;

    need(c != NULL, "EVP_CIPHER_CTX_new");
    need(EVP_EncryptInit_ex(c, EVP_chacha20(), NULL, key, key), "EVP_EncryptInit_ex");
    while (count--) {
        need(EVP_EncryptUpdate(c, data, &n, data, SIZE), "EVP_EncryptUpdate");
        sum = sum * 31 + word_of(data + count % (SIZE - 8));
    }
    EVP_CIPHER_CTX_free(c);
    return sum;
}

static const struct work table[] = {
    {"aes-gcm", aes_gcm}, {"sha256", sha256}, {"rsa2048", rsa_sign},
    {"chacha20", chacha}, {NULL, NULL},
};

int main(int argc, char **argv)
{
    return work_main(table, argc, argv);
}
