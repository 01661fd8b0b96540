/* Encryption of image data, as the core applies it between the caller's bytes and a child's.
 *
 * A crypt turns whole units (512 bytes, or the image's sector size) whose number, from which the cipher's IV comes, is the
 * byte offset divided by the unit: the offset on the guest's disk, or, with `by_host`, the one in the file. Thread-safe:
 * any number of threads may run one crypt at once. Errors are negative errnos. */
#ifndef VIV_BLOCK_CRYPT_CRYPT_H
#define VIV_BLOCK_CRYPT_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct viv_cipher;
struct viv_node;

struct viv_crypt {
    const char *format; /* "luks" or "aes" */
    uint32_t unit; /* bytes, a power of two from 512 to 4096, no more than the node's granule */
    bool by_host;
    /* In place; offset and len are multiples of unit. */
    int (*run)(struct viv_crypt *c, bool encrypt, uint64_t offset, uint8_t *buf, size_t len);
    void (*free)(struct viv_crypt *c); /* wipes the keys */
};

/* Moves plain bytes of [skip, skip + len) of the caller's buffers from or to `child` at `host`, which holds the guest's
 * `offset`; the caller's memory is never encrypted in place. A write of parts of a unit reads the rest of it first: its
 * range must be locked exclusively. Blocking. */
int viv_crypt_read(struct viv_crypt *c, struct viv_node *child, uint64_t offset, uint64_t host, const struct iovec *iov,
                   int cnt, size_t skip, size_t len);
int viv_crypt_write(struct viv_crypt *c, struct viv_node *child, uint64_t offset, uint64_t host, const struct iovec *iov,
                    int cnt, size_t skip, size_t len);

/* Units of 512 bytes by a cipher, which is the crypt's from then on. */
struct viv_crypt *viv_crypt_new(const char *format, struct viv_cipher *cipher_take, bool by_host);
/* For an image that was opened without its key: every run fails with -ENOKEY. */
struct viv_crypt *viv_crypt_locked(const char *format, bool by_host);
/* The old encryption of qcow and qcow2: AES-128-CBC, the first 16 bytes of the password as the key (shorter ones zero-padded), the
 * number of the guest's sector as IV. `no_data`: locked, key_secret is not looked at. */
struct viv_err;
int viv_crypt_qcow_aes(const char *key_secret, bool no_data, struct viv_crypt **out, struct viv_err *err);
/* Is there such a secret, and is it text? To be asked before the file of a new image is touched. */
int viv_crypt_check_secret(const char *id, struct viv_err *err);
/* What "encryption", "encrypt.format" and "encrypt.key-secret" of a new qcow or qcow2 image ask for: *out becomes NULL, "aes" or
 * "luks", with a key-secret. */
struct viv_opts;
int viv_crypt_qcow_asked(struct viv_opts *o, const char **out, struct viv_err *err);

#endif
