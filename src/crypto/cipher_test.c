/* Known answers (computed with libgcrypt and Python's hashlib; IEEE 1619 vector 4), there and back, throughput (-m perf). */
#include "crypto/cipher.h"

#include <glib.h>
#include <string.h>
#include <time.h>

static void hex(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        g_snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* --- ciphers: 18 units and 48 bytes from unit 0xfffffff7 on, so that plain and plain64 differ; SHA-256 of the result --- */

#define LEN (18 * VIV_CIPHER_UNIT + 48)

static const struct answer {
    const char *alg;
    enum viv_cipher_mode mode;
    enum viv_cipher_ivgen ivgen;
    const char *iv_hash, *digest;
} answers[] = {
    {"aes-128", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN64, NULL,
     "1f6d5bc2d31dbba5e3c239da3dfa662b6346450bef8245497d46367d8ee996b2"},
    {"aes-256", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN64, NULL,
     "2e949d3e445fad9075722c54a3d4fd2eb69740c31cf4283afafe514275bd1256"},
    {"aes-128", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN, NULL,
     "21b539e7180e8c1df80159c23fa09d2d6515864118b30deb6115e418f734952c"},
    {"aes-256", VIV_CIPHER_XTS, VIV_IVGEN_ESSIV, "sha256",
     "c93a28813e58e877d0b17d625a0a4c1c1f1aa0c3240f4a325d225a67e4834a1a"},
    {"aes-128", VIV_CIPHER_CBC, VIV_IVGEN_PLAIN64, NULL,
     "23bf4b1c408c88704ee6144424e16f1dbc578cbdd491130ca4c5c15f709a3fce"},
    {"aes-192", VIV_CIPHER_CBC, VIV_IVGEN_PLAIN, NULL,
     "88888218625d9f3d05cdb48e40c504a1e3b1afaa4d92c8cf1d3bf7e3475147ce"},
    {"aes-256", VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, "sha256",
     "96e29e4cbc8b8c13d3f5064b141c7601d897493b142419a0a7919c679f8a1bd7"},
    {"aes-128", VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, "md5",
     "5ff870b4a188b3095d424c8654f389db0144a0ecd641fdcdec845b1ae8b33c80"},
    {"aes-128", VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, "sha256",
     "9d3b02f694f0e6c29f90d5b32c51bb84800fc2f45a3d2897356f745af862b227"},
    {"aes-192", VIV_CIPHER_ECB, VIV_IVGEN_PLAIN64, NULL,
     "71dcef58ab61a942e57902d294a611f7d566909f14dcd76739d09c4185859386"},
    {"serpent-128", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN64, NULL,
     "8f869433095a092f629ec8f68cda0f7a25f975ab72f68f844e8c50c9ef6acc4e"},
    {"serpent-192", VIV_CIPHER_CBC, VIV_IVGEN_PLAIN64, NULL,
     "1d534a06cb36c1d0fb4208b5d657080c67b1d575c90bf4f8014b63fd700d050b"},
    {"serpent-256", VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, "sha256",
     "162efe9a50e70caa7936c9c1333172596f080a232e5c058bd47a844682469cd2"},
    {"serpent-256", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN, NULL,
     "a16f4aaeced80edc7101f3e7d37a51a760c721876278ea9d84cfe8243abbf193"},
    {"twofish-128", VIV_CIPHER_XTS, VIV_IVGEN_PLAIN64, NULL,
     "aee5be35532c6db7203cafe4aaf983381d627296b85bb5557bbba41079297a17"},
    {"twofish-256", VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, "sha256",
     "4af378e7e74747df51269b8c82477c73f6cce22cffada63f04a55418b277c654"},
    {"twofish-256", VIV_CIPHER_ECB, VIV_IVGEN_PLAIN, NULL,
     "bcd5a00ecbb2c07b94c8bc2bca1fa306acae016c3a8ab7449136ef4d567c6bb9"},
};

static struct viv_cipher *cipher_of(const struct answer *a)
{
    struct viv_cipher_spec s = {viv_cipher_find(a->alg), a->mode, a->ivgen, a->iv_hash ? viv_hash_find(a->iv_hash) : NULL};
    struct viv_err err = VIV_ERR_INIT;
    uint8_t key[VIV_CIPHER_KEY_MAX];
    struct viv_cipher *c = NULL;

    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = i * 11 + 1;
    if (viv_cipher_new(&s, key, &c, &err))
        g_error("%s: %s", a->alg, err.text);
    return c;
}

static void test_answers(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++) {
        struct viv_cipher *c = cipher_of(&answers[i]);
        uint8_t plain[LEN], buf[LEN], digest[32];
        struct viv_hash_piece piece = {buf, LEN};
        char text[65];

        for (unsigned k = 0; k < LEN; k++)
            plain[k] = k * 7 + 3 + k / 256;
        memcpy(buf, plain, LEN);
        viv_cipher_run(c, true, 0xfffffff7, buf, LEN);
        viv_hash_digest(viv_hash_find("sha256"), &piece, 1, digest);
        hex(digest, sizeof(digest), text);
        g_assert_cmpstr(text, ==, answers[i].digest);
        /* A piece from the middle is the same as the whole. */
        viv_cipher_run(c, false, 0xfffffff7 + 3, buf + 3 * VIV_CIPHER_UNIT, 9 * VIV_CIPHER_UNIT);
        g_assert_cmpmem(buf + 3 * VIV_CIPHER_UNIT, 9 * VIV_CIPHER_UNIT, plain + 3 * VIV_CIPHER_UNIT, 9 * VIV_CIPHER_UNIT);
        viv_cipher_run(c, true, 0xfffffff7 + 3, buf + 3 * VIV_CIPHER_UNIT, 9 * VIV_CIPHER_UNIT);
        viv_cipher_run(c, false, 0xfffffff7, buf, LEN);
        g_assert_cmpmem(buf, LEN, plain, LEN);
        viv_cipher_free(c);
    }
}

static void test_ieee1619(void)
{
    static const uint8_t key[] = {0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60,
                                  0x28, 0x74, 0x71, 0x35, 0x26, 0x31, 0x41, 0x59, 0x26, 0x53, 0x58,
                                  0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95};
    struct viv_cipher_spec s = {viv_cipher_find("aes-128"), VIV_CIPHER_XTS, VIV_IVGEN_PLAIN64, NULL};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cipher *c = NULL;
    uint8_t buf[512];
    char text[65];

    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = i;
    g_assert_cmpint(viv_cipher_new(&s, key, &c, &err), ==, 0);
    viv_cipher_run(c, true, 0, buf, sizeof(buf));
    hex(buf, 32, text);
    g_assert_cmpstr(text, ==, "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c");
    viv_cipher_free(c);
}

static void test_refused(void)
{
    struct viv_cipher_spec s = {viv_cipher_find("aes-256"), VIV_CIPHER_CBC, VIV_IVGEN_ESSIV, viv_hash_find("sha1")};
    uint8_t key[VIV_CIPHER_KEY_MAX] = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_cipher *c = NULL;

    g_assert_cmpint(viv_cipher_new(&s, key, &c, &err), ==, -22);
    g_assert_nonnull(strstr(err.text, "sha1"));
    g_assert_null(c);
    g_assert_null(viv_cipher_find("aes"));
    g_assert_null(viv_cipher_find_key("aes", 20));
    g_assert_null(viv_hash_find("sha3"));
}

/* --- PBKDF2 --- */

static const struct {
    const char *hash;
    unsigned iterations, len;
    const char *want;
} derived[] = {
    {"sha1", 1000, 20, "065122d5175b34e321cb02f6a09d3246aad86d22"},
    {"sha1", 2, 64,
     "fbefbd9d8f308a39dff1a56ce60efca2806c40f21e9964edde69a389772d55bf09b678fb9e4275123f40f9036934ff6f6c759f59f61ffb9113b64bcf3da522e2"},
    {"sha256", 1000, 64,
     "f6ebd619557ebbfa95b174fbc93da1cc158da169170ab1f7dc622c0577ff8c374ebc94e0c4cac90453d1c320992388b28b1959c140f8dd041d70259334e10605"},
    {"sha512", 1500, 64,
     "30dc430e5b45230cf3192125fbec8a0a544cf179ac073f7b010c2b70c20aa77a54c1fafef4d02707862e7d262be3ee0f95f82439a164a69e0873a5401efa03ae"},
    {"ripemd160", 1001, 50,
     "449b9f617437c5ee08aa22de166875544f2f5d04cb093f398271d251ba377867629e056f73fd83d6c7a605d59f63bd74882b"},
    {"md5", 3, 16, "38eb2e9c983f0389b1a8ff7b79ea5e5a"},
    {"sha224", 4, 40, "23977d9b819c4c6ddeb7d69ff184d7cf520d487008fffd91f66df7f81c1b1bea0634db3fdc1c7bf8"},
    {"sha384", 5, 48, "b4e1559762c48e705975789bf38f8763539017c1fad21a3017d239d0ac7cb5be550c4c811ec993b5ca44b4c971a7eb84"},
};

static void test_pbkdf2(void)
{
    const char *password = "passwordPASSWORDpasswordpasswordPASSWORDpasswordpasswordPASSWORDpasswordpasswordPASSWORDpassword";
    uint8_t salt[32], out[64];
    char text[129];

    for (unsigned i = 0; i < sizeof(salt); i++)
        salt[i] = i;
    for (unsigned i = 0; i < G_N_ELEMENTS(derived); i++) {
        viv_pbkdf2(viv_hash_find(derived[i].hash), password, strlen(password), salt, sizeof(salt), derived[i].iterations, out,
                   derived[i].len);
        hex(out, derived[i].len, text);
        g_assert_cmpstr(text, ==, derived[i].want);
    }
}

static void test_iterations(void)
{
    const struct viv_hash *h = viv_hash_find("sha256");
    uint32_t ten = viv_pbkdf2_iterations(h, 32, 10), thousand = viv_pbkdf2_iterations(h, 32, 1000);

    g_assert_cmpuint(viv_pbkdf2_iterations(h, 32, 0), ==, 1000);
    g_assert_cmpuint(ten, >=, 1000);
    g_assert_cmpuint(thousand, >, ten * 5);
    g_assert_cmpuint(viv_pbkdf2_iterations(h, 32, UINT64_MAX / 2), ==, UINT32_MAX);
}

static void test_speed(void)
{
    size_t len = 1 << 20;
    g_autofree uint8_t *buf = g_malloc0(len);

    for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++) {
        const struct answer *a = &answers[i];
        struct viv_cipher *c = cipher_of(a);
        double mb[2];

        for (int encrypt = 0; encrypt < 2; encrypt++) {
            clock_t start = clock();
            unsigned rounds = 0;

            for (; clock() - start < CLOCKS_PER_SEC / 5; rounds++)
                viv_cipher_run(c, encrypt, rounds * 2048ull, buf, len);
            mb[encrypt] = rounds / ((double)(clock() - start) / CLOCKS_PER_SEC);
        }
        g_test_message("%s-%s-%s: encrypt %.0f MiB/s, decrypt %.0f MiB/s", a->alg, viv_cipher_mode_names[a->mode],
                       viv_cipher_ivgen_names[a->ivgen], mb[1], mb[0]);
        viv_cipher_free(c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crypto/cipher/answers", test_answers);
    g_test_add_func("/crypto/cipher/ieee1619", test_ieee1619);
    g_test_add_func("/crypto/cipher/refused", test_refused);
    g_test_add_func("/crypto/pbkdf2/answers", test_pbkdf2);
    g_test_add_func("/crypto/pbkdf2/iterations", test_iterations);
    if (g_test_perf())
        g_test_add_func("/crypto/cipher/speed", test_speed);
    return g_test_run();
}
