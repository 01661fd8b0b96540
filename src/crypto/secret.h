/* Secrets by name (-object secret): passwords and keys that other options refer to, so that they stand in no file name.
 *
 * The bytes live in memory of their own and are wiped when they are freed. Any thread. */
#ifndef VIV_CRYPTO_SECRET_H
#define VIV_CRYPTO_SECRET_H

#include "base/err.h"
#include "opt/opt.h"

#include <stddef.h>
#include <stdint.h>

/* id, data or file, format=raw|base64, keyid and iv (the data is AES-256-CBC encrypted). */
extern const struct viv_opt_def viv_secret_opts[];

/* `o` parsed against viv_secret_opts. Reads the file, decodes, decrypts. -EEXIST when the id is taken. May block. */
int viv_secret_add(struct viv_opts *o, struct viv_err *err);
/* -ENOENT. Copies that were given out stay. */
int viv_secret_del(const char *id, struct viv_err *err);
/* At exit. */
void viv_secret_free_all(void);

/* A copy of the bytes (and one zero byte behind them), to be given to viv_secret_free(). -ENOENT: says how to make one. */
int viv_secret_get(const char *id, uint8_t **out, size_t *len, struct viv_err *err);
/* The same for who needs text: -EINVAL when the bytes are no UTF-8. */
int viv_secret_get_text(const char *id, char **out, struct viv_err *err);
/* Wipes and frees; NULL allowed. */
void viv_secret_free(void *bytes, size_t len);
void viv_secret_free_text(char *text);

#endif
