/* Key slots: a master key, split so that losing a sector loses it, encrypted with a key made of a password. */
#include "block/crypt/luks_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "crypto/secret.h"
#include "host/random.h"

#include <errno.h>
#include <glib.h>
#include <nettle/memops.h>
#include <string.h>

int luks_random(void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len) {
        ssize_t n = viv_random_read(NULL, p, len);

        if (n < 0)
            return n;
        p += n;
        len -= n;
    }
    return 0;
}

/* --- the anti-forensic splitter, section 2.4 --- */

static void xor_into(uint8_t *d, const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        d[i] ^= s[i];
}

/* H1: each piece of a digest's length becomes the hash of its number and itself. */
static void diffuse(const struct viv_hash *h, uint8_t *d, size_t len)
{
    size_t size = viv_hash_size(h);
    uint8_t number[4], digest[VIV_HASH_MAX];

    for (uint32_t i = 0; i * size < len; i++) {
        size_t part = MIN(size, len - i * size);
        struct viv_hash_piece piece[] = {{number, sizeof(number)}, {d + i * size, part}};

        viv_st_be32(number, i);
        viv_hash_digest(h, piece, 2, digest);
        memcpy(d + i * size, digest, part);
    }
    explicit_bzero(digest, sizeof(digest));
}

/* What all stripes but the last come to: the last is this xor the key. */
static void gather(const struct viv_luks *l, const uint8_t *stripe, uint32_t stripes, uint8_t *d)
{
    memset(d, 0, l->key_bytes);
    for (uint32_t i = 0; i + 1 < stripes; i++) {
        xor_into(d, stripe + (size_t)i * l->key_bytes, l->key_bytes);
        diffuse(l->hash, d, l->key_bytes);
    }
}

static void merge(const struct viv_luks *l, const uint8_t *stripe, uint32_t stripes, uint8_t *key)
{
    gather(l, stripe, stripes, key);
    xor_into(key, stripe + (size_t)(stripes - 1) * l->key_bytes, l->key_bytes);
}

static int split(const struct viv_luks *l, const uint8_t *key, uint8_t *stripe, uint32_t stripes)
{
    uint8_t *last = stripe + (size_t)(stripes - 1) * l->key_bytes;
    int ret = luks_random(stripe, last - stripe);

    if (!ret) {
        gather(l, stripe, stripes, last);
        xor_into(last, key, l->key_bytes);
    }
    return ret;
}

/* --- slots --- */

static size_t material_bytes(const struct viv_luks *l, unsigned slot)
{
    return luks_material_sectors(l->key_bytes, l->slot[slot].stripes) * (size_t)LUKS_SECTOR;
}

static uint64_t material_at(const struct viv_luks *l, unsigned slot)
{
    return l->base + l->slot[slot].material * (uint64_t)LUKS_SECTOR;
}

/* The cipher of a slot's material: keyed with what PBKDF2 makes of the password. */
static int slot_cipher(const struct viv_luks *l, unsigned slot, const char *password, struct viv_cipher **out)
{
    const struct luks_slot *k = &l->slot[slot];
    uint8_t derived[VIV_CIPHER_KEY_MAX];
    int ret;

    viv_pbkdf2(l->hash, password, strlen(password), k->salt, LUKS_SALT, k->iterations, derived, l->key_bytes);
    ret = viv_cipher_new(&l->cipher, derived, out, NULL);
    explicit_bzero(derived, sizeof(derived));
    return ret;
}

void luks_digest(const struct viv_luks *l, const uint8_t *key, uint8_t out[LUKS_DIGEST])
{
    viv_pbkdf2(l->hash, key, l->key_bytes, l->digest_salt, LUKS_SALT, l->digest_iterations, out, LUKS_DIGEST);
}

int luks_try_slot(const struct viv_luks *l, unsigned slot, const char *password, uint8_t *key)
{
    size_t len = material_bytes(l, slot);
    uint8_t *stripe = g_try_malloc(len), digest[LUKS_DIGEST];
    struct viv_cipher *c = NULL;
    int ret = stripe ? viv_node_pread(l->file, material_at(l, slot), stripe, len) : -ENOMEM;

    if (!ret)
        ret = slot_cipher(l, slot, password, &c);
    if (!ret) {
        viv_cipher_run(c, false, 0, stripe, len);
        merge(l, stripe, l->slot[slot].stripes, key);
        luks_digest(l, key, digest);
        ret = memeql_sec(digest, l->digest, LUKS_DIGEST) ? 0 : -EACCES;
    }
    if (ret)
        explicit_bzero(key, VIV_CIPHER_KEY_MAX);
    viv_cipher_free(c);
    viv_secret_free(stripe, len);
    return ret;
}

int luks_unlock(const struct viv_luks *l, const char *password, uint8_t *key)
{
    int ret = -EACCES;

    for (unsigned i = 0; i < LUKS_SLOTS && ret == -EACCES; i++)
        if (l->slot[i].active)
            ret = luks_try_slot(l, i, password, key);
    return ret;
}

int luks_write_material(struct viv_luks *l, unsigned slot, const char *password, uint64_t iter_ms)
{
    size_t len = material_bytes(l, slot);
    uint8_t *stripe = g_try_malloc0(len);
    struct viv_cipher *c = NULL;
    int ret = stripe ? luks_random(l->slot[slot].salt, LUKS_SALT) : -ENOMEM;

    l->slot[slot].iterations = viv_pbkdf2_iterations(l->hash, l->key_bytes, iter_ms);
    if (!ret)
        ret = slot_cipher(l, slot, password, &c);
    if (!ret)
        ret = split(l, l->key, stripe, l->slot[slot].stripes);
    if (!ret) {
        viv_cipher_run(c, true, 0, stripe, len);
        ret = viv_node_pwrite(l->file, material_at(l, slot), stripe, len);
    }
    viv_cipher_free(c);
    viv_secret_free(stripe, len);
    return ret;
}

int luks_wipe_material(const struct viv_luks *l, unsigned slot)
{
    size_t len = material_bytes(l, slot);
    uint8_t *noise = g_try_malloc(len);
    int ret = noise ? luks_random(noise, len) : -ENOMEM;

    if (!ret)
        ret = viv_node_pwrite(l->file, material_at(l, slot), noise, len);
    g_free(noise);
    return ret;
}
