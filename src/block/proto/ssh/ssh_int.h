/* The insides, for this folder only.
 *
 * One connection, one SFTP channel and one open file a node. libssh's sessions are not for several threads at once, so a
 * request has it for itself; reads keep many packets under way. A connection that breaks is not made again: the server may
 * have been restarted, and then writes that it had taken and not flushed are lost, which a later flush would not tell. */
#ifndef VIV_BLOCK_PROTO_SSH_SSH_INT_H
#define VIV_BLOCK_PROTO_SSH_SSH_INT_H

#include "block/proto/ssh/ssh.h"
#include "block/proto/ssh/ssh_api.h"
#include "opt/opt.h"

#include <glib.h>
#include <pthread.h>

#define SSH_PIECE  32768u /* all servers take and give so much at once (draft-ietf-secsh-filexfer-02, 3) */
#define SSH_WINDOW 32u    /* pieces asked for before the first is waited for */

enum ssh_key_check { SSH_CHECK_KNOWN_HOSTS, SSH_CHECK_HASH, SSH_CHECK_NONE };

struct ssh_target {
    char *host, *user, *path; /* user NULL: the configuration's, else who we are */
    unsigned port;            /* 0: the configuration's, else 22 */
    enum ssh_key_check check;
    enum ssh_publickey_hash_type hash_type;
    uint8_t hash[32];
    size_t hash_len;
};

struct ssh_file {
    char *name; /* for messages */
    ssh_session session;
    sftp_session sftp;
    sftp_file file;
    bool fsync;
    bool lost; /* the connection; told */
    pthread_mutex_t lock;
    uint8_t piece[SSH_PIECE];
};

extern const struct viv_opt_def viv_ssh_opts[];
/* What options or the name say. */
int viv_ssh_target_read(struct viv_opts *o, struct ssh_target *t, struct viv_err *err);
int viv_ssh_target_parse(const char *url, struct ssh_target *t, struct viv_err *err);
void viv_ssh_target_fini(struct ssh_target *t);
char *viv_ssh_target_text(const struct ssh_target *t); /* as a name; g_free */

/* Bytes of such a hash. */
size_t viv_ssh_hash_len(enum ssh_publickey_hash_type type);
const char *viv_ssh_hash_name(enum ssh_publickey_hash_type type);

/* Connects, knows the server, is let in, and has SFTP. `f` has a name and nothing else. */
int viv_ssh_login(struct ssh_file *f, const struct ssh_target *t, struct viv_err *err);
void viv_ssh_logout(struct ssh_file *f);

#endif
