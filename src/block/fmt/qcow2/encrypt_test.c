/* Encrypted qcow2 images: a model under random requests, keys, what a hostile header says. */
#include "block/fmt/qcow2/qcow2_int.h"

#include "block/mem_test.h"

#include "base/bytes.h"
#include "crypto/secrets_test.h"

#define SIZE (100 * 4096u + 512)
#define LUKS "encrypt.format=luks,encrypt.key-secret=a,encrypt.iter-time=0,cluster_size=4k"
#define AES  "encrypt.format=aes,encrypt.key-secret=a,cluster_size=4k"

static void create(struct mem *m, const char *options)
{
    struct viv_create c = {.size = SIZE};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file;

    mem_init(m);
    file = mem_node(m);
    if (viv_opts_parse("-o", viv_blk_qcow2.create_opts, NULL, options, &c.opts, &err) || viv_blk_qcow2.create(&c, file, &err))
        g_error("'%s': %s", options, err.text);
    viv_opts_free(c.opts);
    viv_node_put(&file);
}

static int try_open(struct mem *m, const struct viv_node_opts *o, struct viv_node **n, struct viv_err *err)
{
    return viv_node_open_format(&viv_blk_qcow2, mem_node(m), o, n, err);
}

static struct viv_node *open_with(struct mem *m, const char *secret)
{
    struct viv_node_opts o = {.key_secret = secret, .unmap = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (try_open(m, &o, &n, &err))
        g_error("open: %s", err.text);
    return n;
}

static void expect_sound(struct viv_node *n)
{
    struct viv_check c = {0};

    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions + c.leaks + c.check_errors, ==, 0);
}

/* --- data --- */

static void model(const char *options)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *want = g_malloc0(SIZE), *got = g_malloc(SIZE);
    struct viv_node *n;
    struct mem m;

    create(&m, options);
    n = open_with(&m, "a");
    for (int i = 0; i < 150; i++) {
        uint64_t at = g_rand_int_range(r, 0, SIZE), len = 1 + g_rand_int_range(r, 0, MIN(20000, SIZE - at));
        bool zero = g_rand_int_range(r, 0, 4) == 0;

        for (uint64_t k = 0; k < len; k++)
            want[at + k] = zero ? 0 : g_rand_int(r);
        if (zero)
            g_assert_cmpint(viv_node_write_zeroes(n, at, len, i & 1 ? VIV_BLK_UNMAP : 0), ==, 0);
        else
            g_assert_cmpint(viv_node_pwrite(n, at, want + at, len), ==, 0);
        if (i % 50 == 49) {
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_with(&m, "a");
            expect_sound(n);
        }
        g_assert_cmpint(viv_node_pread(n, 0, got, SIZE), ==, 0);
        g_assert_cmpmem(got, SIZE, want, SIZE);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    /* Not where zeroes begin: a byte and many zeroes are in any table. */
    for (uint64_t s = 0; s < SIZE; s += 512)
        g_assert_true(memchr(want + s, 0, 8) || !memmem(m.data, m.size, want + s, 16));
    mem_fini(&m);
    g_rand_free(r);
}

static void test_luks(void)
{
    model(LUKS);
    model("encrypt.format=luks,encrypt.key-secret=a,encrypt.iter-time=0,cluster_size=512,encrypt.cipher-alg=aes-128,"
          "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv");
    model("encrypt.format=luks,encrypt.key-secret=a,encrypt.iter-time=0,cluster_size=16k,extended_l2=on");
}

static void test_aes(void)
{
    model(AES);
    model("encryption=on,encrypt.key-secret=a,compat=0.10");
}

/* The old AES: a known image of one sector. Key "first" and zeroes, IV the sector's number: openssl enc -aes-128-cbc. */
static void test_aes_answer(void)
{
    static const uint8_t want[16] = {0xf8, 0xd8, 0xf6, 0xba, 0xae, 0x7f, 0x56, 0xd4, 0x3f, 0xd2, 0xa5, 0x1d, 0x1f, 0x40, 0xd7, 0x96};
    uint8_t plain[512] = {0};
    struct viv_extent e;
    struct viv_node *n;
    struct mem m;

    create(&m, AES);
    n = open_with(&m, "a");
    g_assert_cmpint(viv_node_pwrite(n, 8 * 4096 + 512, plain, sizeof(plain)), ==, 0); /* sector 65 */
    g_assert_cmpint(viv_blk_qcow2.map(n, 8 * 4096 + 512, 512, &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_DATA);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    g_assert_cmpmem(m.data + e.host, 16, want, 16);
    mem_fini(&m);
}

/* --- keys --- */

static int amend(struct mem *m, const char *secret, const char *options, struct viv_err *err)
{
    struct viv_node *n = open_with(m, secret);
    struct viv_opts *o = NULL;
    int ret = viv_opts_parse("-o", viv_blk_qcow2.amend_opts, NULL, options, &o, err);

    if (!ret)
        ret = viv_blk_qcow2.amend(n, o, false, err);
    viv_opts_free(o);
    viv_node_put(&n);
    return ret;
}

static bool opens(struct mem *m, const char *secret)
{
    struct viv_node_opts o = {.key_secret = secret};
    struct viv_node *n = NULL;
    int ret = try_open(m, &o, &n, NULL);

    g_assert_true(ret == 0 || ret == -EACCES);
    viv_node_put(&n);
    return !ret;
}

static void test_keys(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;

    create(&m, LUKS);
    g_assert_true(opens(&m, "a") && !opens(&m, "b"));
    g_assert_cmpint(amend(&m, "a", "encrypt.state=active,encrypt.new-secret=b,encrypt.iter-time=0", &err), ==, 0);
    g_assert_true(opens(&m, "a") && opens(&m, "b"));
    g_assert_cmpint(amend(&m, "b", "encrypt.state=inactive,encrypt.old-secret=a", &err), ==, 0);
    g_assert_true(!opens(&m, "a") && opens(&m, "b"));
    g_assert_cmpint(amend(&m, "b", "encrypt.state=inactive,encrypt.keyslot=1", &err), ==, -EINVAL);
    n = open_with(&m, "b");
    expect_sound(n);
    viv_node_put(&n);
    mem_fini(&m);
    viv_err_clear(&err);
    create(&m, AES);
    g_assert_cmpint(amend(&m, "a", "encrypt.state=active,encrypt.new-secret=b", &err), ==, -ENOTSUP);
    mem_fini(&m);
}

/* --- headers --- */

static uint32_t extension_at(const struct mem *m)
{
    for (uint32_t at = QCOW2_H_V3_LENGTH; at < 4096;) {
        if (viv_ld_be32(m->data + at) == QCOW2_EXT_CRYPT)
            return at;
        at += 8 + ((viv_ld_be32(m->data + at + 4) + 7) & ~7u);
    }
    g_assert_not_reached();
}

static void expect(struct mem *m, const char *says)
{
    struct viv_node_opts o = {.key_secret = "a"};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = try_open(m, &o, &n, &err);

    viv_node_put(&n);
    if (!ret || !strstr(err.text, says))
        g_error("'%s', wanted '%s'", ret ? err.text : "opened", says);
    mem_fini(m);
}

static void test_header(void)
{
    static const struct {
        unsigned at, len; /* in the extension */
        uint64_t value;
        const char *says;
    } cases[] = {
        {0, 4, 0x12345678, "without an encryption header"},
        {4, 4, 8, "not 16 bytes long"},
        {8, 8, 0, "impossible offset"},
        {8, 8, 512, "impossible offset"},
        {8, 8, UINT64_MAX - 4095, "impossible offset"},
        {8, 8, 1u << 30, "impossible offset"},
        {8, 8, 4096, "not in LUKS format"},
        {16, 8, 0, "cut off"},
        {16, 8, 4096, "beyond the file"},
        {16, 8, UINT64_MAX, "impossible offset"},
    };
    struct mem m;

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint32_t at;

        create(&m, LUKS);
        at = extension_at(&m) + cases[i].at;
        for (unsigned k = 0; k < cases[i].len; k++)
            m.data[at + k] = cases[i].value >> (8 * (cases[i].len - 1 - k));
        expect(&m, cases[i].says);
    }
    create(&m, LUKS);
    viv_st_be32(m.data + QCOW2_H_CRYPT, QCOW2_CRYPT_AES);
    expect(&m, "no LUKS encryption");
    create(&m, AES);
    viv_st_be32(m.data + QCOW2_H_CRYPT, QCOW2_CRYPT_LUKS);
    expect(&m, "without an encryption header");
    create(&m, AES);
    viv_st_be32(m.data + QCOW2_H_CRYPT, 3);
    expect(&m, "other than AES and LUKS");
    create(&m, AES);
    viv_st_be32(m.data + QCOW2_H_CRYPT, QCOW2_CRYPT_NONE);
    expect(&m, "No encryption in image");
}

/* A table that lies on the key material must not be written. */
static void test_overlap(void)
{
    struct mem m;

    create(&m, LUKS);
    viv_st_be64(m.data + QCOW2_H_L1_OFFSET, viv_ld_be64(m.data + extension_at(&m) + 8) + 1810432); /* the last slot's */
    memset(m.data + viv_ld_be64(m.data + QCOW2_H_L1_OFFSET), 0, 64);
    expect(&m, "encryption header at offset");
}

static void test_format_asked(void)
{
    struct viv_node_opts o = {.key_secret = "a", .encrypt_format = "aes"};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    struct mem m;

    create(&m, LUKS);
    g_assert_cmpint(try_open(&m, &o, &n, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "reported 'luks' encryption format but options specify 'aes'"));
    o = (struct viv_node_opts){.read_only = true, .no_data = true};
    g_assert_cmpint(try_open(&m, &o, &n, NULL), ==, 0);
    expect_sound(n); /* needs no key */
    viv_node_put(&n);
    mem_fini(&m);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    secrets_test_add("a", "first");
    secrets_test_add("b", "second");
    g_test_add_func("/block/qcow2/encrypt/luks", test_luks);
    g_test_add_func("/block/qcow2/encrypt/aes", test_aes);
    g_test_add_func("/block/qcow2/encrypt/aes-answer", test_aes_answer);
    g_test_add_func("/block/qcow2/encrypt/keys", test_keys);
    g_test_add_func("/block/qcow2/encrypt/header", test_header);
    g_test_add_func("/block/qcow2/encrypt/overlap", test_overlap);
    g_test_add_func("/block/qcow2/encrypt/format-asked", test_format_asked);
    ret = g_test_run();
    viv_secret_free_all();
    return ret;
}
