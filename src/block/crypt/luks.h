/* LUKS version 1 (On-Disk Format Specification 1.2.3) as a piece of a file: the start of an image of format luks, or clusters
 * of a qcow2 image. Reads and writes the header and its key slots; gives the crypt that the core applies to the data.
 *
 * Blocking; one thread at a time, as drivers' open, create and amend are called. */
#ifndef VIV_BLOCK_CRYPT_LUKS_H
#define VIV_BLOCK_CRYPT_LUKS_H

#include "block/crypt/crypt.h"
#include "block/image.h"

#include "crypto/cipher.h"

#define VIV_LUKS_MAGIC "LUKS\xba\xbe" /* 6 bytes, then the version, big-endian */

/* --- options, each with the prefix of its format: "" or "encrypt." --- */

extern const char *const viv_luks_state_values[];

#define VIV_LUKS_CREATE_OPTS(p) \
    {p "cipher-alg", VIV_OPT_ENUM, "Name of encryption cipher algorithm", NULL, viv_cipher_alg_names}, \
        {p "cipher-mode", VIV_OPT_ENUM, "Name of encryption cipher mode", NULL, viv_cipher_mode_names}, \
        {p "hash-alg", VIV_OPT_ENUM, "Name of encryption hash algorithm", NULL, viv_hash_names}, \
        {p "iter-time", VIV_OPT_INT, "Time to spend in PBKDF in milliseconds", .min = 0, .max = INT64_MAX}, \
        {p "ivgen-alg", VIV_OPT_ENUM, "Name of IV generator algorithm", NULL, viv_cipher_ivgen_names}, \
    { \
        p "ivgen-hash-alg", VIV_OPT_ENUM, "Name of IV generator hash algorithm", NULL, viv_hash_names \
    }

#define VIV_LUKS_AMEND_OPTS(p) \
    {p "iter-time", VIV_OPT_INT, "Time to spend in PBKDF in milliseconds", .min = 0, .max = INT64_MAX}, \
        {p "keyslot", VIV_OPT_INT, "Select a single keyslot to modify explicitly"}, \
        {p "new-secret", VIV_OPT_STR, "New secret to set in the matching keyslots. Empty string to erase"}, \
        {p "old-secret", VIV_OPT_STR, "Select all keyslots that match this password"}, \
    { \
        p "state", VIV_OPT_ENUM, "Select new state of affected keyslots (active/inactive)", NULL, viv_luks_state_values \
    }

/* What a new one is to be. */
struct viv_luks_spec {
    struct viv_cipher_spec cipher;
    const struct viv_hash *hash;
    uint64_t iter_ms;
    const char *key_secret; /* id; borrowed from the options */
};
/* From VIV_LUKS_CREATE_OPTS and `prefix`key-secret, with the defaults of qemu-img. -EINVAL: they do not fit together. */
int viv_luks_read_spec(struct viv_opts *o, const char *prefix, struct viv_luks_spec *out, struct viv_err *err);
/* Bytes up to the data: header and key slots. */
uint64_t viv_luks_payload(const struct viv_luks_spec *s);

/* Writes a new header with one active slot at `base`, durably. Costs the CPU time that the spec names, and more. */
int viv_luks_create(const struct viv_luks_spec *s, struct viv_node *file, uint64_t base, struct viv_err *err);

/* --- existing ones --- */

struct viv_luks;

/* Reads the header at `base`, which has `room` bytes, and finds the key by the secret. `no_data`: the header alone, key_secret is
 * not looked at, and what is read through the crypt fails. */
int viv_luks_open(struct viv_node *file, uint64_t base, uint64_t room, const char *key_secret, bool no_data,
                  struct viv_luks **out, struct viv_err *err);
void viv_luks_free(struct viv_luks *l); /* wipes; NULL allowed */
uint64_t viv_luks_payload_offset(const struct viv_luks *l); /* bytes from the header's start; 0: data lies elsewhere */
/* A crypt with a key of its own; the node's from then on. */
int viv_luks_crypt(const struct viv_luks *l, bool by_host, struct viv_crypt **out, struct viv_err *err);
/* Facts, in the open dictionary of `i`; `format`: one more of them, NULL: none. */
void viv_luks_info(const struct viv_luks *l, const char *format, struct viv_img_info *i);
/* Adds or erases keys as VIV_LUKS_AMEND_OPTS say. `force`: also the last one, also over an active one. */
int viv_luks_amend(struct viv_luks *l, struct viv_opts *o, const char *prefix, bool force, struct viv_err *err);

#endif
