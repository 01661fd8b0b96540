/* Who may come in, by the name in the certificate that he has shown: -object authz-simple and authz-list-file, for tls-authz=ID.
 * References keep them alive. Any thread. May block: a list is read from its file, and again when the file has changed. */
#ifndef VIV_CRYPTO_AUTHZ_H
#define VIV_CRYPTO_AUTHZ_H

#include "crypto/tls.h"

struct viv_authz;

extern const struct viv_opt_def viv_authz_simple_opts[], viv_authz_list_file_opts[];

/* `o` parsed against those. -EEXIST when the id is taken. */
int viv_authz_simple_add(struct viv_opts *o, struct viv_err *err);
int viv_authz_list_file_add(struct viv_opts *o, struct viv_err *err);
int viv_authz_del(const char *id, struct viv_err *err);
void viv_authz_free_all(void); /* at exit */

/* By id, for sessions with these credentials (NULL: without TLS), which have to know names: to be put. */
int viv_authz_get(const char *id, const struct viv_tls_creds *creds, struct viv_authz **out, struct viv_err *err);
struct viv_authz *viv_authz_ref(struct viv_authz *a); /* NULL allowed */
void viv_authz_put(struct viv_authz **a);             /* NULL inside allowed */

bool viv_authz_allows(struct viv_authz *a, const char *name);
/* The other side of a session after its handshake; -EACCES with its name when it may not. NULL: everybody may. */
int viv_authz_check(struct viv_authz *a, struct viv_tls *t, struct viv_err *err);

#endif
