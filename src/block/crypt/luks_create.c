/* A new LUKS1 header.
 *
 * Slots and data start at multiples of 4 KiB, as qemu-img and cryptsetup (without --align-payload) lay them out. The key
 * material of the first slot is durable before the header names it. */
#include "block/crypt/luks_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

static const char *get(struct viv_opts *o, const char *prefix, const char *name)
{
    char key[64];

    g_snprintf(key, sizeof(key), "%s%s", prefix, name);
    return viv_opts_given(o, key) ? viv_opts_str(o, key) : NULL;
}

static int index_of(const char *const *names, const char *name, int otherwise)
{
    for (int i = 0; name && names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return otherwise;
}

int viv_luks_read_spec(struct viv_opts *o, const char *prefix, struct viv_luks_spec *out, struct viv_err *err)
{
    const char *alg = get(o, prefix, "cipher-alg"), *hash = get(o, prefix, "hash-alg"), *iv_hash = get(o, prefix, "ivgen-hash-alg");
    struct viv_cipher_spec *c = &out->cipher;
    char iter[64];

    *out = (struct viv_luks_spec){.iter_ms = LUKS_ITERATE_MS};
    c->alg = viv_cipher_find(alg ? alg : "aes-256");
    c->mode = index_of(viv_cipher_mode_names, get(o, prefix, "cipher-mode"), VIV_CIPHER_XTS);
    c->ivgen = index_of(viv_cipher_ivgen_names, get(o, prefix, "ivgen-alg"), VIV_IVGEN_PLAIN64);
    out->hash = viv_hash_find(hash ? hash : "sha256");
    if (iv_hash && c->ivgen != VIV_IVGEN_ESSIV)
        return viv_fail(err, EINVAL, "%sivgen-hash-alg is for %sivgen-alg=essiv", prefix, prefix);
    if (c->ivgen == VIV_IVGEN_ESSIV)
        c->iv_hash = viv_hash_find(iv_hash ? iv_hash : "sha256");
    if (c->iv_hash && !viv_cipher_find_key(c->alg->family, viv_hash_size(c->iv_hash)))
        return viv_fail(err, EINVAL, "essiv with %s: %s has no keys of its %zu bytes; sha256 works", viv_hash_name(c->iv_hash),
                        c->alg->family, viv_hash_size(c->iv_hash));
    g_snprintf(iter, sizeof(iter), "%siter-time", prefix);
    if (viv_opts_given(o, iter))
        out->iter_ms = viv_opts_int(o, iter);
    out->key_secret = get(o, prefix, "key-secret");
    if (!out->key_secret)
        return viv_fail(err, EINVAL,
                        "Parameter '%skey-secret' is required for cipher: the id of a secret with the password (--object "
                        "secret,id=sec0,file=PASSWORD)",
                        prefix);
    return 0;
}

static uint32_t slot_sectors(uint32_t key_bytes)
{
    return (luks_material_sectors(key_bytes, LUKS_STRIPES) + LUKS_ALIGN - 1) / LUKS_ALIGN * LUKS_ALIGN;
}

uint64_t viv_luks_payload(const struct viv_luks_spec *s)
{
    return (LUKS_ALIGN + LUKS_SLOTS * slot_sectors(viv_cipher_key_bytes(&s->cipher))) * (uint64_t)LUKS_SECTOR;
}

/* RFC 4122 section 4.4. */
static int make_uuid(char out[40])
{
    uint8_t b[16];
    int ret = luks_random(b, sizeof(b));

    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    g_snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
               b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return ret;
}

static int fill(struct viv_luks *l, const struct viv_luks_spec *s)
{
    int ret = luks_random(l->key, sizeof(l->key));

    l->cipher = s->cipher;
    l->hash = s->hash;
    l->key_bytes = viv_cipher_key_bytes(&s->cipher);
    l->payload = viv_luks_payload(s) / LUKS_SECTOR;
    if (!ret)
        ret = luks_random(l->digest_salt, sizeof(l->digest_salt));
    if (!ret)
        ret = make_uuid(l->uuid);
    l->digest_iterations = viv_pbkdf2_iterations(l->hash, LUKS_DIGEST, s->iter_ms / 8); /* an eighth, as cryptsetup */
    luks_digest(l, l->key, l->digest);
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        l->slot[i] = (struct luks_slot){.material = LUKS_ALIGN + i * slot_sectors(l->key_bytes), .stripes = LUKS_STRIPES};
    return ret;
}

static int write_all(struct viv_luks *l, const char *password, uint64_t iter_ms)
{
    int ret = luks_write_material(l, 0, password, iter_ms);

    if (!ret)
        ret = viv_node_flush(l->file);
    l->slot[0].active = true;
    if (!ret)
        ret = luks_write_header(l);
    return ret ? ret : viv_node_flush(l->file);
}

int viv_luks_create(const struct viv_luks_spec *s, struct viv_node *file, uint64_t base, struct viv_err *err)
{
    struct viv_luks *l;
    char *password;
    int ret = viv_secret_get_text(s->key_secret, &password, err);

    if (ret)
        return ret;
    l = g_new0(struct viv_luks, 1);
    l->file = file;
    l->base = base;
    ret = fill(l, s);
    if (!ret)
        ret = write_all(l, password, s->iter_ms);
    if (ret)
        viv_fail_os(err, -ret, "Could not write the LUKS header of '%s'", file->filename);
    viv_luks_free(l);
    viv_secret_free_text(password);
    return ret;
}
