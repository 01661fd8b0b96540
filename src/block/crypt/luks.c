/* LUKS1: an existing one opened, told about, used. */
#include "block/crypt/luks_int.h"

#include "crypto/secret.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* Needs the header; leaves the key in l. */
static int unlock(struct viv_luks *l, const char *key_secret, struct viv_err *err)
{
    char *password;
    int ret;

    if (!key_secret)
        return viv_fail(err, EINVAL,
                        "Parameter 'key-secret' is required for cipher: '%s' is encrypted; give the id of a secret with its "
                        "password (--object secret,id=sec0,file=PASSWORD and key-secret=sec0; encrypt.key-secret for qcow2)",
                        l->file->filename);
    ret = viv_secret_get_text(key_secret, &password, err);
    if (ret)
        return ret;
    ret = luks_unlock(l, password, l->key);
    viv_secret_free_text(password);
    if (ret == -EACCES) {
        unsigned active = 0;

        for (unsigned i = 0; i < LUKS_SLOTS; i++)
            active += l->slot[i].active;
        return viv_fail(err, EACCES,
                        "Invalid password, cannot unlock any keyslot: secret '%s' opens none of the %u active slots of '%s' "
                        "(a newline at the end of a file= secret belongs to the password)",
                        key_secret, active, l->file->filename);
    }
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the key slots of '%s'", l->file->filename);
    l->unlocked = true;
    return 0;
}

int viv_luks_open(struct viv_node *file, uint64_t base, uint64_t room, const char *key_secret, bool no_data,
                  struct viv_luks **out, struct viv_err *err)
{
    struct viv_luks *l = g_new0(struct viv_luks, 1);
    int ret;

    l->file = file;
    l->base = base;
    ret = luks_read_header(l, room, err);
    if (!ret && !no_data)
        ret = unlock(l, key_secret, err);
    if (ret)
        viv_luks_free(l);
    else
        *out = l;
    return ret;
}

void viv_luks_free(struct viv_luks *l)
{
    viv_secret_free(l, sizeof(*l));
}

uint64_t viv_luks_payload_offset(const struct viv_luks *l)
{
    return l->payload * (uint64_t)LUKS_SECTOR;
}

int viv_luks_crypt(const struct viv_luks *l, bool by_host, struct viv_crypt **out, struct viv_err *err)
{
    struct viv_cipher *cipher = NULL;
    int ret;

    if (!l->unlocked) {
        *out = viv_crypt_locked("luks", by_host);
        return 0;
    }
    ret = viv_cipher_new(&l->cipher, l->key, &cipher, err);
    if (!ret)
        *out = viv_crypt_new("luks", cipher, by_host);
    return ret;
}

void viv_luks_info(const struct viv_luks *l, const char *format, struct viv_img_info *i)
{
    viv_img_fact_str(i, "ivgen-alg", viv_cipher_ivgen_names[l->cipher.ivgen]);
    viv_img_fact_str(i, "hash-alg", viv_hash_name(l->hash));
    viv_img_fact_str(i, "cipher-alg", l->cipher.alg->name);
    viv_img_fact_str(i, "uuid", l->uuid);
    if (l->cipher.iv_hash)
        viv_img_fact_str(i, "ivgen-hash-alg", viv_hash_name(l->cipher.iv_hash));
    if (format)
        viv_img_fact_str(i, "format", format);
    viv_img_fact_str(i, "cipher-mode", viv_cipher_mode_names[l->cipher.mode]);
    viv_img_fact_open(i, "slots", true);
    for (unsigned k = 0; k < LUKS_SLOTS; k++) {
        const struct luks_slot *s = &l->slot[k];

        viv_img_fact_open(i, NULL, false);
        viv_img_fact_bool(i, "active", s->active);
        if (s->active)
            viv_img_fact_uint(i, "iters", s->iterations);
        viv_img_fact_uint(i, "key-offset", s->material * (uint64_t)LUKS_SECTOR);
        if (s->active)
            viv_img_fact_uint(i, "stripes", s->stripes);
        viv_img_fact_close(i);
    }
    viv_img_fact_close(i);
    viv_img_fact_uint(i, "payload-offset", viv_luks_payload_offset(l));
    viv_img_fact_uint(i, "master-key-iters", l->digest_iterations);
}
