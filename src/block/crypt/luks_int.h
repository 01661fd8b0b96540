/* LUKS1's insides, for this folder only. Fields are in the units of the format: sectors of 512 bytes. */
#ifndef VIV_BLOCK_CRYPT_LUKS_INT_H
#define VIV_BLOCK_CRYPT_LUKS_INT_H

#include "block/crypt/luks.h"

#define LUKS_SLOTS       8
#define LUKS_SECTOR      512u
#define LUKS_DIGEST      20u
#define LUKS_SALT        32u
#define LUKS_STRIPES     4000u   /* of slots that we make */
#define LUKS_STRIPES_MAX 65536u  /* of slots that we read: 4 MiB of key material */
#define LUKS_ALIGN       8u      /* sectors: where we put slots and data */
#define LUKS_ITERATE_MS  2000u

/* Section 4.1, "PHDR layout"; big-endian. */
enum {
    LUKS_H_MAGIC = 0,
    LUKS_H_VERSION = 6,
    LUKS_H_CIPHER = 8,
    LUKS_H_MODE = 40,
    LUKS_H_HASH = 72,
    LUKS_H_PAYLOAD = 104,
    LUKS_H_KEY_BYTES = 108,
    LUKS_H_DIGEST = 112,
    LUKS_H_DIGEST_SALT = 132,
    LUKS_H_DIGEST_ITERATIONS = 164,
    LUKS_H_UUID = 168,
    LUKS_H_SLOT = 208,
    LUKS_H_BYTES = 592,

    LUKS_S_ACTIVE = 0, /* in a slot */
    LUKS_S_ITERATIONS = 4,
    LUKS_S_SALT = 8,
    LUKS_S_MATERIAL = 40,
    LUKS_S_STRIPES = 44,
    LUKS_S_BYTES = 48,
};

#define LUKS_ACTIVE   0x00ac71f3u
#define LUKS_INACTIVE 0x0000deadu

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT];
    uint32_t material; /* sector */
    uint32_t stripes;
};

struct viv_luks {
    struct viv_node *file; /* borrowed */
    uint64_t base;         /* bytes: the header in the file */
    struct viv_cipher_spec cipher;
    const struct viv_hash *hash;
    uint32_t payload; /* sector */
    uint32_t key_bytes;
    uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
    uint32_t digest_iterations;
    char uuid[40];
    struct luks_slot slot[LUKS_SLOTS];
    bool unlocked;
    uint8_t key[VIV_CIPHER_KEY_MAX]; /* when unlocked */
};

/* Sectors that a slot's key material takes. */
static inline uint32_t luks_material_sectors(uint32_t key_bytes, uint32_t stripes)
{
    return ((uint64_t)key_bytes * stripes + LUKS_SECTOR - 1) / LUKS_SECTOR;
}

/* --- luks_header.c --- */
/* Reads and checks the header into l (file and base are set). */
int luks_read_header(struct viv_luks *l, uint64_t room, struct viv_err *err);
/* None of these is durable by itself. */
int luks_write_header(const struct viv_luks *l);
int luks_write_slot(const struct viv_luks *l, unsigned slot);
int luks_write_active(const struct viv_luks *l, unsigned slot);

/* --- luks_key.c --- */
/* 0: `key` (key_bytes) is the master key; -EACCES: the password is not this slot's. */
int luks_try_slot(const struct viv_luks *l, unsigned slot, const char *password, uint8_t *key);
/* The first active slot that the password opens; -EACCES: none. */
int luks_unlock(const struct viv_luks *l, const char *password, uint8_t *key);
/* Digest of a master key by the header's salt and iterations. */
void luks_digest(const struct viv_luks *l, const uint8_t *key, uint8_t out[LUKS_DIGEST]);
/* Gives the slot a new salt and iterations, in memory, and writes l->key, encrypted for the password, to its place. */
int luks_write_material(struct viv_luks *l, unsigned slot, const char *password, uint64_t iter_ms);
int luks_wipe_material(const struct viv_luks *l, unsigned slot);
int luks_random(void *buf, size_t len);

#endif
