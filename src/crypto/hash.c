/* nettle's hashes under the names that LUKS and QEMU's options use. */
#include "crypto/hash.h"

#include <glib.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <string.h>
#include <time.h>

#define ITERATIONS_LEAST 1000 /* LUKS1 section 2.3 and RFC 8018 section 4.2 */
#define MEASURE_NS       (100 * 1000 * 1000ull)

struct viv_hash {
    const char *name;
    const struct nettle_hash *h;
};

static const struct viv_hash hashes[] = {
    {"md5", &nettle_md5},       {"sha1", &nettle_sha1},     {"sha224", &nettle_sha224},       {"sha256", &nettle_sha256},
    {"sha384", &nettle_sha384}, {"sha512", &nettle_sha512}, {"ripemd160", &nettle_ripemd160},
};

const char *const viv_hash_names[] = {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", NULL};

union context {
    struct md5_ctx md5;
    struct sha1_ctx sha1;
    struct sha256_ctx sha256;
    struct sha512_ctx sha512;
    struct ripemd160_ctx ripemd160;
};

const struct viv_hash *viv_hash_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(hashes); i++)
        if (strcmp(hashes[i].name, name) == 0)
            return &hashes[i];
    return NULL;
}

const char *viv_hash_name(const struct viv_hash *h)
{
    return h->name;
}

size_t viv_hash_size(const struct viv_hash *h)
{
    return h->h->digest_size;
}

void viv_hash_digest(const struct viv_hash *h, const struct viv_hash_piece *piece, unsigned pieces, uint8_t *out)
{
    union context c;

    h->h->init(&c);
    for (unsigned i = 0; i < pieces; i++)
        h->h->update(&c, piece[i].len, piece[i].data);
    h->h->digest(&c, h->h->digest_size, out);
    explicit_bzero(&c, sizeof(c));
}

/* nettle's HMAC takes the hash beside its context, its PBKDF2 a context alone. */
struct hmac {
    const struct nettle_hash *h;
    union context outer, inner, state;
};

static void mac_update(void *opaque, size_t len, const uint8_t *data)
{
    struct hmac *m = opaque;

    hmac_update(&m->state, m->h, len, data);
}

static void mac_digest(void *opaque, size_t len, uint8_t *out)
{
    struct hmac *m = opaque;

    hmac_digest(&m->outer, &m->inner, &m->state, m->h, len, out);
}

void viv_pbkdf2(const struct viv_hash *h, const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
                uint32_t iterations, uint8_t *out, size_t out_len)
{
    struct hmac m = {.h = h->h};

    hmac_set_key(&m.outer, &m.inner, &m.state, m.h, password_len, password);
    pbkdf2(&m, mac_update, mac_digest, m.h->digest_size, iterations, salt_len, salt, out_len, out);
    explicit_bzero(&m, sizeof(m));
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

uint32_t viv_pbkdf2_iterations(const struct viv_hash *h, size_t out_len, uint64_t ms)
{
    static const uint8_t salt[32];
    g_autofree uint8_t *out = g_malloc(out_len);
    uint32_t count = ITERATIONS_LEAST;
    uint64_t ns = 1;
    double want;

    for (; ms && count < 1u << 30; count *= 2) {
        uint64_t start = cpu_ns();

        viv_pbkdf2(h, "password", 8, salt, sizeof(salt), count, out, out_len);
        ns = cpu_ns() - start;
        if (ns >= MEASURE_NS)
            break;
    }
    want = ms * 1e6 * count / MAX(ns, 1);
    return CLAMP(want, ITERATIONS_LEAST, UINT32_MAX);
}
