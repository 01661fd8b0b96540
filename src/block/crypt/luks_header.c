/* The LUKS1 header between disk and memory: read once, checked, believed only then. */
#include "block/crypt/luks_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static int bad(const struct viv_luks *l, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid LUKS header: %s", l->file->filename, what);
}

static int refused(const struct viv_luks *l, struct viv_err *err, const char *what, const char *name, const char *works)
{
    g_autofree char *safe = g_strescape(name, NULL);

    return viv_fail(err, ENOTSUP, "'%s': the %s '%s' is not supported (%s)", l->file->filename, what, safe, works);
}

/* A text field of the header: it ends inside. */
static bool take_text(const uint8_t *field, size_t len, char *out)
{
    memcpy(out, field, len);
    return memchr(field, 0, len) != NULL;
}

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* "xts-plain64", "cbc-essiv:sha256", "ecb". */
static int read_mode(struct viv_luks *l, char *text, struct viv_err *err)
{
    char *ivgen = strchr(text, '-'), *hash = NULL;
    int mode, iv = -1;

    if (ivgen)
        *ivgen++ = 0;
    if (ivgen && (hash = strchr(ivgen, ':')))
        *hash++ = 0;
    mode = index_of(viv_cipher_mode_names, text);
    if (mode < 0)
        return refused(l, err, "cipher mode", text, "ecb, cbc and xts are");
    l->cipher.mode = mode;
    if (ivgen)
        iv = index_of(viv_cipher_ivgen_names, ivgen);
    if (iv < 0 && (ivgen || mode != VIV_CIPHER_ECB))
        return refused(l, err, "IV generator", ivgen ? ivgen : "", "plain, plain64 and essiv are");
    l->cipher.ivgen = iv < 0 ? VIV_IVGEN_PLAIN : iv;
    if (iv != VIV_IVGEN_ESSIV) /* qemu-img writes "plain64:sha256" when it is told to: nothing uses that hash */
        return 0;
    l->cipher.iv_hash = hash ? viv_hash_find(hash) : NULL;
    return l->cipher.iv_hash ? 0 : refused(l, err, "hash of essiv", hash ? hash : "", "sha256 is");
}

static int read_cipher(struct viv_luks *l, const uint8_t *h, struct viv_err *err)
{
    char cipher[32], mode[32], hash[32];
    int ret;

    if (!take_text(h + LUKS_H_CIPHER, 32, cipher) || !take_text(h + LUKS_H_MODE, 32, mode) ||
        !take_text(h + LUKS_H_HASH, 32, hash) || !take_text(h + LUKS_H_UUID, 40, l->uuid))
        return bad(l, err, "a name does not end");
    l->hash = viv_hash_find(hash);
    if (!l->hash)
        return refused(l, err, "hash", hash, "sha1, sha256, sha512, ripemd160 and their kin are");
    ret = read_mode(l, mode, err);
    if (ret)
        return ret;
    l->key_bytes = viv_ld_be32(h + LUKS_H_KEY_BYTES);
    if (l->key_bytes <= VIV_CIPHER_KEY_MAX && (l->cipher.mode != VIV_CIPHER_XTS || l->key_bytes % 2 == 0))
        l->cipher.alg = viv_cipher_find_key(cipher, l->cipher.mode == VIV_CIPHER_XTS ? l->key_bytes / 2 : l->key_bytes);
    if (l->cipher.alg)
        return 0;
    if (!viv_cipher_find_key(cipher, 16))
        return refused(l, err, "cipher", cipher, "aes, serpent and twofish are");
    return viv_fail(err, EINVAL, "'%s': invalid LUKS header: %s has no keys of %u bytes", l->file->filename, cipher,
                    l->key_bytes);
}

static int read_slot(struct viv_luks *l, const uint8_t *h, unsigned i, struct viv_err *err)
{
    const uint8_t *s = h + LUKS_H_SLOT + i * LUKS_S_BYTES;
    uint32_t active = viv_ld_be32(s + LUKS_S_ACTIVE);
    struct luks_slot *k = &l->slot[i];

    k->active = active == LUKS_ACTIVE;
    k->iterations = viv_ld_be32(s + LUKS_S_ITERATIONS);
    memcpy(k->salt, s + LUKS_S_SALT, LUKS_SALT);
    k->material = viv_ld_be32(s + LUKS_S_MATERIAL);
    k->stripes = viv_ld_be32(s + LUKS_S_STRIPES);
    if (active != LUKS_ACTIVE && active != LUKS_INACTIVE)
        return viv_fail(err, EINVAL, "'%s': invalid LUKS header: key slot %u is neither active nor inactive",
                        l->file->filename, i);
    if (!k->stripes || k->stripes > LUKS_STRIPES_MAX || (k->active && !k->iterations))
        return viv_fail(err, EINVAL, "'%s': invalid LUKS header: key slot %u has %u stripes and %u iterations",
                        l->file->filename, i, k->stripes, k->iterations);
    return 0;
}

/* Key material lies behind the header, before the data, and nowhere twice. `room` in sectors. */
static int check_slots(const struct viv_luks *l, uint64_t room, struct viv_err *err)
{
    uint64_t end = l->payload ? MIN(room, l->payload) : room;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        uint64_t start = l->slot[i].material, len = luks_material_sectors(l->key_bytes, l->slot[i].stripes);

        if (start * LUKS_SECTOR < LUKS_H_BYTES)
            return viv_fail(err, EINVAL, "'%s': invalid LUKS header: key slot %u overlaps the header", l->file->filename, i);
        if (start + len > end)
            return viv_fail(err, EINVAL, "'%s': invalid LUKS header: key slot %u overlaps the data or lies beyond the file",
                            l->file->filename, i);
        for (unsigned k = 0; k < i; k++)
            if (start < l->slot[k].material + (uint64_t)luks_material_sectors(l->key_bytes, l->slot[k].stripes) &&
                l->slot[k].material < start + len)
                return viv_fail(err, EINVAL, "'%s': invalid LUKS header: key slots %u and %u overlap", l->file->filename, k, i);
    }
    return 0;
}

int luks_read_header(struct viv_luks *l, uint64_t room, struct viv_err *err)
{
    uint8_t h[LUKS_H_BYTES];
    int ret;

    if (room < sizeof(h))
        return bad(l, err, "it is cut off");
    ret = viv_node_pread(l->file, l->base, h, sizeof(h));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the LUKS header of '%s'", l->file->filename);
    if (memcmp(h, VIV_LUKS_MAGIC, 6) != 0)
        return viv_fail(err, EINVAL, "'%s': Volume is not in LUKS format", l->file->filename);
    if (viv_ld_be16(h + LUKS_H_VERSION) != 1)
        return viv_fail(err, ENOTSUP,
                        "'%s': LUKS version %u is not supported; version 1 is (cryptsetup convert --type luks1 may turn it "
                        "into that)",
                        l->file->filename, viv_ld_be16(h + LUKS_H_VERSION));
    ret = read_cipher(l, h, err);
    if (ret)
        return ret;
    l->payload = viv_ld_be32(h + LUKS_H_PAYLOAD);
    memcpy(l->digest, h + LUKS_H_DIGEST, LUKS_DIGEST);
    memcpy(l->digest_salt, h + LUKS_H_DIGEST_SALT, LUKS_SALT);
    l->digest_iterations = viv_ld_be32(h + LUKS_H_DIGEST_ITERATIONS);
    if (!l->digest_iterations)
        return bad(l, err, "the master key's digest has no iterations");
    for (unsigned i = 0; i < LUKS_SLOTS && !ret; i++)
        ret = read_slot(l, h, i, err);
    return ret ? ret : check_slots(l, room / LUKS_SECTOR, err);
}

static void put_slot(const struct luks_slot *k, uint8_t *s)
{
    viv_st_be32(s + LUKS_S_ACTIVE, k->active ? LUKS_ACTIVE : LUKS_INACTIVE);
    viv_st_be32(s + LUKS_S_ITERATIONS, k->iterations);
    memcpy(s + LUKS_S_SALT, k->salt, LUKS_SALT);
    viv_st_be32(s + LUKS_S_MATERIAL, k->material);
    viv_st_be32(s + LUKS_S_STRIPES, k->stripes);
}

int luks_write_slot(const struct viv_luks *l, unsigned slot)
{
    uint8_t s[LUKS_S_BYTES];

    put_slot(&l->slot[slot], s);
    return viv_node_pwrite(l->file, l->base + LUKS_H_SLOT + slot * LUKS_S_BYTES, s, sizeof(s));
}

/* Four bytes: never half of them. */
int luks_write_active(const struct viv_luks *l, unsigned slot)
{
    uint8_t be[4];

    viv_st_be32(be, l->slot[slot].active ? LUKS_ACTIVE : LUKS_INACTIVE);
    return viv_node_pwrite(l->file, l->base + LUKS_H_SLOT + slot * LUKS_S_BYTES, be, sizeof(be));
}

int luks_write_header(const struct viv_luks *l)
{
    uint8_t h[LUKS_H_BYTES] = {0};
    const struct viv_cipher_spec *c = &l->cipher;

    memcpy(h, VIV_LUKS_MAGIC, 6);
    viv_st_be16(h + LUKS_H_VERSION, 1);
    g_strlcpy((char *)h + LUKS_H_CIPHER, c->alg->family, 32);
    g_snprintf((char *)h + LUKS_H_MODE, 32, "%s-%s%s%s", viv_cipher_mode_names[c->mode], viv_cipher_ivgen_names[c->ivgen],
               c->iv_hash ? ":" : "", c->iv_hash ? viv_hash_name(c->iv_hash) : "");
    g_strlcpy((char *)h + LUKS_H_HASH, viv_hash_name(l->hash), 32);
    viv_st_be32(h + LUKS_H_PAYLOAD, l->payload);
    viv_st_be32(h + LUKS_H_KEY_BYTES, l->key_bytes);
    memcpy(h + LUKS_H_DIGEST, l->digest, LUKS_DIGEST);
    memcpy(h + LUKS_H_DIGEST_SALT, l->digest_salt, LUKS_SALT);
    viv_st_be32(h + LUKS_H_DIGEST_ITERATIONS, l->digest_iterations);
    memcpy(h + LUKS_H_UUID, l->uuid, sizeof(l->uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        put_slot(&l->slot[i], h + LUKS_H_SLOT + i * LUKS_S_BYTES);
    return viv_node_pwrite(l->file, l->base, h, sizeof(h));
}
