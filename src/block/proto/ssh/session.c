/* A session: connected, with a server whose key is right, logged in, SFTP begun. */
#include "block/proto/ssh/ssh_int.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT_SECONDS 30L
#define DEAD_SECONDS    60 /* without an answer of the server's machine */

static const char *last_error(const struct ssh_file *f)
{
    return ssh_get_error(f->session);
}

/* --- connecting --- */

static int set(struct ssh_file *f, enum ssh_options_e option, const void *value, struct viv_err *err)
{
    return ssh_options_set(f->session, option, value) < 0 ? viv_fail(err, EINVAL, "'%s': %s", f->name, last_error(f)) : 0;
}

/* The user's configuration of ssh (aliases, ports, keys) counts; what was said here counts more. */
static int configure(struct ssh_file *f, const struct ssh_target *t, struct viv_err *err)
{
    g_autofree char *dir = g_build_filename(g_get_home_dir(), ".ssh", NULL);
    long timeout = CONNECT_SECONDS;
    int strict = 1, ret = set(f, SSH_OPTIONS_SSH_DIR, dir, err);

    if (!ret)
        ret = set(f, SSH_OPTIONS_HOST, t->host, err);
    if (!ret && t->user)
        ret = set(f, SSH_OPTIONS_USER, t->user, err);
    if (!ret && ssh_options_parse_config(f->session, NULL) < 0)
        ret = viv_fail(err, EINVAL, "'%s': the configuration of ssh cannot be read: %s", f->name, last_error(f));
    if (!ret && t->user)
        ret = set(f, SSH_OPTIONS_USER, t->user, err);
    if (!ret && t->port)
        ret = set(f, SSH_OPTIONS_PORT, &t->port, err);
    if (!ret)
        ret = set(f, SSH_OPTIONS_TIMEOUT, &timeout, err);
    return ret ? ret : set(f, SSH_OPTIONS_STRICTHOSTKEYCHECK, &strict, err); /* how strict is said by host-key-check */
}

/* A machine that is gone does not hold requests for ever. Not with a proxy command's pipe: no harm. */
static void watch(struct ssh_file *f)
{
    int fd = ssh_get_fd(f->session), on = 1, idle = DEAD_SECONDS / 2, step = 10, ms = DEAD_SECONDS * 1000;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof(step));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* --- the server's key --- */

static char *hex_of(const uint8_t *hash, size_t len)
{
    GString *s = g_string_new(NULL);

    for (size_t i = 0; i < len; i++)
        g_string_append_printf(s, "%02x", hash[i]);
    return g_string_free(s, FALSE);
}

/* Kind of key (static) and its hash (g_free). */
static int look_at_key(struct ssh_file *f, enum ssh_publickey_hash_type type, const char **kind, uint8_t **hash, struct viv_err *err)
{
    unsigned char *raw = NULL;
    ssh_key key = NULL;
    size_t len = 0;
    int ret = 0;

    if (ssh_get_server_publickey(f->session, &key) != SSH_OK || ssh_get_publickey_hash(key, type, &raw, &len) < 0 ||
        len != viv_ssh_hash_len(type))
        ret = viv_fail(err, EPROTO, "'%s': the server's key cannot be hashed: %s", f->name, last_error(f));
    else
        *hash = g_memdup2(raw, len);
    *kind = key ? ssh_key_type_to_char(ssh_key_type(key)) : NULL;
    if (!*kind)
        *kind = "host";
    ssh_clean_pubkey_hash(&raw);
    ssh_key_free(key);
    return ret;
}

static int check_hash(struct ssh_file *f, const struct ssh_target *t, struct viv_err *err)
{
    g_autofree char *want = hex_of(t->hash, t->hash_len), *have = NULL;
    g_autofree uint8_t *hash = NULL;
    const char *kind;
    int ret = look_at_key(f, t->hash_type, &kind, &hash, err);

    if (ret || memcmp(hash, t->hash, t->hash_len) == 0)
        return ret;
    have = hex_of(hash, t->hash_len);
    return viv_fail(err, EPERM, "'%s': this is not the server that was meant: its %s key has the %s hash %s, not %s", f->name, kind,
                    viv_ssh_hash_name(t->hash_type), have, want);
}

static int check_known(struct ssh_file *f, struct viv_err *err)
{
    enum ssh_known_hosts_e known = ssh_session_is_known_server(f->session);
    g_autofree uint8_t *hash = NULL;
    g_autofree char *hex = NULL;
    const char *kind;
    int ret;

    if (known == SSH_KNOWN_HOSTS_OK)
        return 0;
    if (known == SSH_KNOWN_HOSTS_ERROR)
        return viv_fail(err, EPERM, "'%s': known_hosts cannot be read: %s", f->name, last_error(f));
    ret = look_at_key(f, SSH_PUBLICKEY_HASH_SHA256, &kind, &hash, err);
    if (ret)
        return ret;
    hex = hex_of(hash, viv_ssh_hash_len(SSH_PUBLICKEY_HASH_SHA256));
    if (known == SSH_KNOWN_HOSTS_CHANGED || known == SSH_KNOWN_HOSTS_OTHER)
        return viv_fail(err, EPERM,
                        "'%s': known_hosts has another key for this server than the %s key that it shows (sha256 hash %s): "
                        "somebody may be in between. If it has a new key, take the old one out (ssh-keygen -R HOST)",
                        f->name, kind, hex);
    return viv_fail(err, EPERM,
                    "'%s': the server is unknown: no known_hosts has its %s key (sha256 hash %s). If that is the right one, connect "
                    "with ssh once, or say host_key_check=sha256:%s",
                    f->name, kind, hex, hex);
}

static int check_key(struct ssh_file *f, const struct ssh_target *t, struct viv_err *err)
{
    return t->check == SSH_CHECK_NONE ? 0 : t->check == SSH_CHECK_HASH ? check_hash(f, t, err) : check_known(f, err);
}

/* --- who we are --- */

static int refused(struct ssh_file *f, struct viv_err *err)
{
    int methods = ssh_userauth_list(f->session, NULL);
    char *user = NULL;
    int ret;

    ssh_options_get(f->session, SSH_OPTIONS_USER, &user);
    ret = viv_fail(err, EPERM, "'%s': the server does not let '%s' in with %s or ~/.ssh/id_* without a passphrase%s; what ssh-add -l lists "
                   "is tried",
                   f->name, user ? user : "?", g_getenv("SSH_AUTH_SOCK") ? "the keys of ssh-agent" : "ssh-agent (SSH_AUTH_SOCK is not set)",
                   methods & SSH_AUTH_METHOD_PUBLICKEY ? "" : " (it takes no keys at all)");
    ssh_string_free_char(user);
    return ret;
}

static int log_in(struct ssh_file *f, struct viv_err *err)
{
    int rc = ssh_userauth_none(f->session, NULL); /* tells the server's methods, too */

    if (rc != SSH_AUTH_SUCCESS && rc != SSH_AUTH_ERROR)
        rc = ssh_userauth_publickey_auto(f->session, NULL, NULL);
    if (rc == SSH_AUTH_SUCCESS)
        return 0;
    return rc == SSH_AUTH_ERROR && !ssh_is_connected(f->session)
               ? viv_fail(err, EPERM, "'%s': cannot log in: %s", f->name, last_error(f))
               : refused(f, err);
}

int viv_ssh_login(struct ssh_file *f, const struct ssh_target *t, struct viv_err *err)
{
    int ret = viv_ssh_load(err);

    if (ret)
        return ret;
    f->session = ssh_new();
    if (!f->session)
        return viv_fail(err, ENOMEM, "'%s': no memory for a session", f->name);
    ret = configure(f, t, err);
    if (!ret && ssh_connect(f->session) != SSH_OK)
        ret = viv_fail(err, ECONNREFUSED, "'%s': cannot connect: %s", f->name, last_error(f));
    if (ret)
        return ret;
    watch(f);
    ret = check_key(f, t, err);
    if (!ret)
        ret = log_in(f, err);
    if (ret)
        return ret;
    f->sftp = sftp_new(f->session);
    if (!f->sftp || sftp_init(f->sftp) < 0)
        return viv_fail(err, EPROTO, "'%s': the server gives no SFTP: %s", f->name, last_error(f));
    f->fsync = sftp_extension_supported(f->sftp, "fsync@openssh.com", "1");
    return 0;
}

void viv_ssh_logout(struct ssh_file *f)
{
    if (f->sftp)
        sftp_free(f->sftp);
    if (f->session) {
        ssh_disconnect(f->session);
        ssh_free(f->session);
    }
    f->sftp = NULL;
    f->session = NULL;
}
