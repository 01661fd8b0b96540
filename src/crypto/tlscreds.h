/* TLS credentials by name: -object tls-creds-x509, tls-creds-psk and tls-creds-anon.
 *
 * Made while the program is set up; references keep them alive. Any thread. May block (files are read when made). */
#ifndef VIV_CRYPTO_TLSCREDS_H
#define VIV_CRYPTO_TLSCREDS_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>

struct viv_tls_creds;

extern const struct viv_opt_def viv_tls_x509_opts[], viv_tls_psk_opts[], viv_tls_anon_opts[];

/* `o` parsed against those. -EEXIST when the id is taken. */
int viv_tls_x509_add(struct viv_opts *o, struct viv_err *err);
int viv_tls_psk_add(struct viv_opts *o, struct viv_err *err);
int viv_tls_anon_add(struct viv_opts *o, struct viv_err *err);
int viv_tls_creds_del(const char *id, struct viv_err *err);
void viv_tls_creds_free_all(void); /* at exit */

/* By id, for that side of a connection; to be put. -ENOENT: says how to make one. -EINVAL: it is the other side's. */
int viv_tls_creds_get(const char *id, bool server, struct viv_tls_creds **out, struct viv_err *err);
/* x509: another of the same name from the files as they are now, which takes the place of `c` for who asks for that name. `c` stays as it
 * is for whoever has it. To be put; on failure all is as before. */
int viv_tls_creds_reload(struct viv_tls_creds *c, struct viv_tls_creds **out, struct viv_err *err);
/* A client's without a name: the CAs that the system trusts, no certificate of our own. */
int viv_tls_creds_system(struct viv_tls_creds **out, struct viv_err *err);
struct viv_tls_creds *viv_tls_creds_ref(struct viv_tls_creds *c);
void viv_tls_creds_put(struct viv_tls_creds **c); /* NULL inside allowed */
/* Must a client know the server's name to check its certificate? */
bool viv_tls_creds_wants_hostname(const struct viv_tls_creds *c);
/* "x509", "psk" or "anon". */
const char *viv_tls_creds_kind(const struct viv_tls_creds *c);
/* Does the other side have to show who it is, by a certificate or a key? */
bool viv_tls_creds_knows_peer(const struct viv_tls_creds *c);

#endif
