/* luks: a model under random requests with each kind of cipher, key slots added and erased (with power cuts), hostile headers. */
#include "block/fmt/luks/luks.h"

#include "block/crypt/luks_int.h"
#include "block/image.h"
#include "block/mem_test.h"

#include "base/bytes.h"
#include "crypto/secrets_test.h"

#define SIZE (200 * 512u)

/* Not more work than needed: 1000 iterations. */
static int try_create(struct mem *m, const char *options, struct viv_err *err)
{
    g_autofree char *text = g_strdup_printf("key-secret=a,iter-time=0%s%s", *options ? "," : "", options);
    struct viv_create c = {.size = SIZE};
    struct viv_node *file;
    int ret;

    mem_init(m);
    ret = viv_opts_parse("-o", viv_blk_luks.create_opts, NULL, text, &c.opts, err);
    if (ret)
        return ret;
    file = mem_node(m);
    ret = viv_blk_luks.create(&c, file, err);
    viv_opts_free(c.opts);
    viv_node_put(&file);
    return ret;
}

static void create(struct mem *m, const char *options)
{
    struct viv_err err = VIV_ERR_INIT;

    if (try_create(m, options, &err))
        g_error("'%s': %s", options, err.text);
}

static int try_open(struct mem *m, const char *secret, struct viv_node **n, struct viv_err *err)
{
    struct viv_node_opts o = {.key_secret = secret};

    return viv_node_open_format(&viv_blk_luks, mem_node(m), &o, n, err);
}

static struct viv_node *open_with(struct mem *m, const char *secret)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (try_open(m, secret, &n, &err))
        g_error("open with '%s': %s", secret, err.text);
    return n;
}

static bool opens(struct mem *m, const char *secret)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = try_open(m, secret, &n, &err);

    if (ret) {
        g_assert_cmpint(ret, ==, -EACCES);
        g_assert_nonnull(strstr(err.text, "Invalid password, cannot unlock any keyslot"));
    }
    viv_node_put(&n);
    return !ret;
}

/* --- data --- */

static void fill_random(GRand *r, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = g_rand_int(r);
}

static void model(const char *options)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *want = g_malloc(SIZE), *got = g_malloc(SIZE);
    struct viv_node *n;
    struct mem m;

    create(&m, options);
    n = open_with(&m, "a");
    g_assert_cmpuint(viv_node_size(n), ==, SIZE);
    fill_random(r, want, SIZE);
    g_assert_cmpint(viv_node_pwrite(n, 0, want, SIZE), ==, 0);
    for (int i = 0; i < 60; i++) {
        uint64_t at = g_rand_int_range(r, 0, SIZE), len = 1 + g_rand_int_range(r, 0, MIN(9000, SIZE - at));

        if (g_rand_int_range(r, 0, 4) == 0) {
            memset(want + at, 0, len);
            g_assert_cmpint(viv_node_write_zeroes(n, at, len, 0), ==, 0);
        } else {
            fill_random(r, want + at, len);
            g_assert_cmpint(viv_node_pwrite(n, at, want + at, len), ==, 0);
        }
    }
    for (int reopened = 0; reopened < 2; reopened++) {
        g_assert_cmpint(viv_node_pread(n, 0, got, SIZE), ==, 0);
        g_assert_cmpmem(got, SIZE, want, SIZE);
        g_assert_cmpint(viv_node_pread(n, 777, got, 3001), ==, 0);
        g_assert_cmpmem(got, 3001, want + 777, 3001);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        n = open_with(&m, "a");
    }
    viv_node_put(&n);
    for (uint64_t s = 0; s < SIZE; s += 512) /* nothing lies there in plain */
        g_assert_true(memchr(want + s, 0, 8) || !memmem(m.data, m.size, want + s, 16)); /* a byte and zeroes are in any header */
    mem_fini(&m);
    g_rand_free(r);
}

static void test_model(void)
{
    static const char *const options[] = {
        "",
        "cipher-alg=aes-128",
        "cipher-alg=aes-192,cipher-mode=cbc",
        "cipher-alg=aes-192",
        "cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha1",
        "cipher-mode=ecb,hash-alg=ripemd160",
        "cipher-alg=serpent-256,hash-alg=sha512",
        "cipher-alg=twofish-256,cipher-mode=cbc,ivgen-alg=plain",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
        model(options[i]);
}

static void test_resize(void)
{
    uint8_t buf[512] = {1}, got[512];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;
    struct mem m;

    create(&m, "");
    n = open_with(&m, "a");
    g_assert_cmpint(viv_node_pwrite(n, 512, buf, 512), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 2 * SIZE, VIV_PREALLOC_OFF, &err), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 2 * SIZE - 512, buf, 512), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, UINT64_MAX - 100, VIV_PREALLOC_OFF, &err), <, 0);
    viv_node_put(&n);
    n = open_with(&m, "a");
    g_assert_cmpuint(viv_node_size(n), ==, 2 * SIZE);
    for (uint64_t at = 512; at < 2 * SIZE; at += 2 * SIZE - 1024) {
        g_assert_cmpint(viv_node_pread(n, at, got, 512), ==, 0);
        g_assert_cmpmem(got, 512, buf, 512);
    }
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_truncate(n, 1024, VIV_PREALLOC_OFF, &err), ==, 0);
    g_assert_cmpuint(m.size, ==, 2068480 + 1024);
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- who gets in --- */

static void test_locked(void)
{
    struct viv_node_opts o = {.read_only = true, .no_data = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    struct viv_img_info i = {0};
    uint8_t buf[512];
    struct mem m;

    create(&m, "");
    g_assert_false(opens(&m, "b"));
    g_assert_cmpint(try_open(&m, "nobody", &n, &err), ==, -ENOENT);
    viv_err_clear(&err);
    g_assert_cmpint(try_open(&m, NULL, &n, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "Parameter 'key-secret' is required for cipher"));
    g_assert_cmpint(viv_node_open_format(&viv_blk_luks, mem_node(&m), &o, &n, NULL), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, buf, 512), ==, -ENOKEY);
    viv_blk_luks.info(n, &i);
    g_assert_true(i.encrypted);
    viv_img_info_free(&i);
    viv_node_put(&n);
    mem_fini(&m);
}

static int amend(struct mem *m, const char *secret, const char *options, bool force, struct viv_err *err)
{
    struct viv_node *n = open_with(m, secret);
    struct viv_opts *o = NULL;
    int ret = viv_opts_parse("-o", viv_blk_luks.amend_opts, NULL, options, &o, err);

    if (!ret)
        ret = viv_blk_luks.amend(n, o, force, err);
    viv_opts_free(o);
    viv_node_put(&n);
    return ret;
}

static void good(struct mem *m, const char *secret, const char *options, bool force)
{
    struct viv_err err = VIV_ERR_INIT;

    if (amend(m, secret, options, force, &err))
        g_error("'%s': %s", options, err.text);
}

static void bad(struct mem *m, const char *options, const char *says)
{
    struct viv_err err = VIV_ERR_INIT;
    g_autofree uint8_t *before = g_memdup2(m->data, m->size);

    g_assert_cmpint(amend(m, "a", options, false, &err), <, 0);
    if (!strstr(err.text, says))
        g_error("'%s' gave '%s', wanted '%s'", options, err.text, says);
    g_assert_cmpmem(m->data, m->size, before, m->size);
}

static uint32_t slot_field(const struct mem *m, unsigned slot, unsigned field)
{
    return viv_ld_be32(m->data + LUKS_H_SLOT + slot * LUKS_S_BYTES + field);
}

static void test_amend(void)
{
    g_autofree uint8_t *material = NULL;
    struct mem m;
    uint8_t zero[LUKS_SALT] = {0};

    create(&m, "");
    bad(&m, "new-secret=b", "'state' is missing");
    bad(&m, "state=active", "'new-secret' is required");
    bad(&m, "state=active,new-secret=b,old-secret=a", "must not be given when activating");
    bad(&m, "state=active,new-secret=b,keyslot=8", "Invalid keyslot 8");
    bad(&m, "state=active,new-secret=b,keyslot=0", "Refusing to overwrite active keyslot 0");
    bad(&m, "state=active,new-secret=nobody", "No secret with id 'nobody'");
    bad(&m, "state=inactive", "either explicit keyslot index");
    bad(&m, "state=inactive,keyslot=0", "only active keyslot 0");
    bad(&m, "state=inactive,keyslot=3", "already erased");
    bad(&m, "state=inactive,old-secret=a", "All the active keyslots match");
    bad(&m, "state=inactive,old-secret=b", "No keyslots match");
    bad(&m, "state=inactive,keyslot=0,old-secret=b", "doesn't contain");
    bad(&m, "state=inactive,keyslot=0,new-secret=b", "must not be given when erasing");
    bad(&m, "state=inactive,keyslot=0,iter-time=1", "must not be given when erasing");

    good(&m, "a", "state=active,new-secret=b,iter-time=0", false);
    good(&m, "b", "state=active,new-secret=c,iter-time=0,keyslot=6", false);
    g_assert_true(opens(&m, "a") && opens(&m, "b") && opens(&m, "c"));
    material = g_memdup2(m.data + slot_field(&m, 0, LUKS_S_MATERIAL) * 512ull, 256000);
    good(&m, "c", "state=inactive,old-secret=a", false);
    g_assert_false(opens(&m, "a"));
    g_assert_true(opens(&m, "b") && opens(&m, "c"));
    g_assert_cmpuint(slot_field(&m, 0, LUKS_S_ACTIVE), ==, LUKS_INACTIVE);
    g_assert_cmpmem(m.data + LUKS_H_SLOT + LUKS_S_SALT, LUKS_SALT, zero, LUKS_SALT);
    for (unsigned i = 0; i < 256000; i += 16)
        g_assert_cmpint(memcmp(material + i, m.data + 4096 + i, 16), !=, 0);
    good(&m, "c", "state=inactive,keyslot=6", false);
    g_assert_false(opens(&m, "c"));
    for (int i = 0; i < 7; i++)
        good(&m, "b", "state=active,new-secret=a,iter-time=0", false);
    bad(&m, "state=active,new-secret=c", "all keyslots are in use");
    good(&m, "b", "state=inactive,old-secret=a", false);
    g_assert_false(opens(&m, "a"));
    good(&m, "b", "state=active,new-secret=a,keyslot=1,iter-time=0", true); /* over b's own */
    g_assert_true(opens(&m, "a") && !opens(&m, "b"));
    good(&m, "a", "state=inactive,old-secret=a", true);
    g_assert_false(opens(&m, "a"));
    mem_fini(&m);
}

/* What an amendment writes, cut anywhere: the key that it does not touch opens the image, the other one does or does not. */
static void cut_everywhere(struct mem *start, const char *options, const char *kept, const char *gone)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    struct mem run, now, stable, trial;
    guint flushed = 0, images = 0;

    mem_init(&run);
    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&run, start);
    mem_copy(&now, start);
    mem_copy(&stable, start);
    run.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    good(&run, kept, options, false);
    for (guint cut = 0; cut <= run.log->len; cut++) {
        for (int round = 0; round < 4; round++) {
            mem_copy(&trial, round ? &stable : &now);
            for (guint i = flushed; i < cut && round; i++)
                mem_replay(&trial, &g_array_index(run.log, struct mem_entry, i), r);
            g_assert_true(opens(&trial, kept));
            opens(&trial, gone); /* an answer, no error */
            images++;
        }
        if (cut == run.log->len)
            break;
        mem_replay(&now, &g_array_index(run.log, struct mem_entry, cut), NULL);
        if (g_array_index(run.log, struct mem_entry, cut).op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            flushed = cut + 1;
        }
    }
    g_assert_cmpuint(flushed, ==, run.log->len); /* durable at the end */
    mem_tell_cuts(run.log->len, images);
    mem_copy(start, &run);
    mem_fini(&run);
    mem_fini(&now);
    mem_fini(&stable);
    mem_fini(&trial);
    g_rand_free(r);
}

static void test_cuts(void)
{
    struct mem m;

    create(&m, "cipher-alg=aes-128,cipher-mode=cbc"); /* small key material */
    cut_everywhere(&m, "state=active,new-secret=b,iter-time=0,keyslot=6", "a", "b"); /* this slot lies in two sectors */
    g_assert_true(opens(&m, "b"));
    cut_everywhere(&m, "state=inactive,keyslot=6", "a", "b");
    g_assert_false(opens(&m, "b"));
    cut_everywhere(&m, "state=active,new-secret=b,iter-time=0", "a", "b");
    cut_everywhere(&m, "state=inactive,old-secret=a", "b", "a");
    g_assert_false(opens(&m, "a"));
    mem_fini(&m);
}

/* --- hostile headers --- */

static void test_header(void)
{
    static const struct {
        unsigned at, len;
        uint64_t value;
        const char *says;
    } cases[] = {
        {LUKS_H_MAGIC, 1, 'K', "not in LUKS format"},
        {LUKS_H_VERSION, 2, 2, "LUKS version 2"},
        {LUKS_H_VERSION, 2, 0, "LUKS version 0"},
        {LUKS_H_CIPHER, 1, 'x', "cipher 'xes' is not supported"},
        {LUKS_H_CIPHER + 24, 8, UINT64_MAX, NULL}, /* behind the name's end */
        {LUKS_H_MODE, 1, 'X', "cipher mode 'Xts'"},
        {LUKS_H_MODE, 4, 0x7874732d, NULL},
        {LUKS_H_MODE + 3, 1, 0, "IV generator ''"},
        {LUKS_H_MODE + 4, 1, 'q', "IV generator 'qlain64'"},
        {LUKS_H_MODE + 11, 1, ':', NULL},
        {LUKS_H_MODE + 4, 8, 0x65737369763a7878, "hash of essiv 'xx'"},
        {LUKS_H_HASH, 1, 7, "hash '\\007ha256'"},
        {LUKS_H_KEY_BYTES, 4, 0, "no keys of 0 bytes"},
        {LUKS_H_KEY_BYTES, 4, 63, "no keys of 63 bytes"},
        {LUKS_H_KEY_BYTES, 4, UINT32_MAX, "no keys of 4294967295 bytes"},
        {LUKS_H_PAYLOAD, 4, 0, "detached"},
        {LUKS_H_PAYLOAD, 4, 600, "overlaps the data"},
        {LUKS_H_PAYLOAD, 4, UINT32_MAX, "truncated"},
        {LUKS_H_DIGEST, 8, UINT64_MAX, "Invalid password"},
        {LUKS_H_DIGEST_ITERATIONS, 4, 0, "no iterations"},
        {LUKS_H_UUID + 36, 4, UINT32_MAX, "does not end"},
        {LUKS_H_SLOT, 4, 1, "neither active nor inactive"},
        {LUKS_H_SLOT, 4, LUKS_INACTIVE, "Invalid password"},
        {LUKS_H_SLOT + LUKS_S_ITERATIONS, 4, 0, "0 iterations"},
        {LUKS_H_SLOT + LUKS_S_MATERIAL, 4, 1, "overlaps the header"},
        {LUKS_H_SLOT + LUKS_S_MATERIAL, 4, 100, "key slots 0 and 1 overlap"},
        {LUKS_H_SLOT + LUKS_S_MATERIAL, 4, UINT32_MAX, "beyond the file"},
        {LUKS_H_SLOT + LUKS_S_STRIPES, 4, 0, "0 stripes"},
        {LUKS_H_SLOT + LUKS_S_STRIPES, 4, 3999, "Invalid password"},
        {LUKS_H_SLOT + LUKS_S_STRIPES, 4, 65536, "overlap"},
        {LUKS_H_SLOT + LUKS_S_STRIPES, 4, UINT32_MAX, "4294967295 stripes"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        struct mem m;
        int ret;

        create(&m, "");
        for (unsigned k = 0; k < cases[i].len; k++)
            m.data[cases[i].at + k] = cases[i].value >> (8 * (cases[i].len - 1 - k));
        ret = try_open(&m, "a", &n, &err);
        if (!ret != !cases[i].says || (ret && !strstr(err.text, cases[i].says)))
            g_error("case %u: '%s', wanted '%s'", i, ret ? err.text : "opened", cases[i].says ? cases[i].says : "to open");
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static void test_cut_off(void)
{
    static const struct {
        uint64_t size;
        const char *says;
    } cases[] = {{0, "cut off"}, {591, "cut off"}, {592, "beyond the file"}, {2068479, "truncated"}, {2068480, NULL}};

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        struct mem m;

        create(&m, "");
        m.size = cases[i].size;
        g_assert_cmpint(!try_open(&m, "a", &n, &err), ==, !cases[i].says);
        if (cases[i].says && !strstr(err.text, cases[i].says))
            g_error("%u bytes: '%s', wanted '%s'", (unsigned)cases[i].size, err.text, cases[i].says);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static void test_refused(void)
{
    static const char *const options[] = {"ivgen-hash-alg=sha256", "ivgen-alg=essiv,ivgen-hash-alg=sha1", "cipher-alg=des",
                                          "hash-alg=crc32"};

    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct mem m;

        g_assert_cmpint(try_create(&m, options[i], &err), ==, -EINVAL);
        mem_fini(&m);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    secrets_test_add("a", "first");
    secrets_test_add("b", "second");
    secrets_test_add("c", "third");
    g_test_add_func("/block/luks/model", test_model);
    g_test_add_func("/block/luks/resize", test_resize);
    g_test_add_func("/block/luks/locked", test_locked);
    g_test_add_func("/block/luks/amend", test_amend);
    g_test_add_func("/block/luks/cuts", test_cuts);
    g_test_add_func("/block/luks/header", test_header);
    g_test_add_func("/block/luks/cut-off", test_cut_off);
    g_test_add_func("/block/luks/refused", test_refused);
    ret = g_test_run();
    viv_secret_free_all();
    return ret;
}
