#include "host/sandbox_int.h"

#include "host/broker.h"

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct viv_sandbox *wanted;
static unsigned needs;
static struct {
    uid_t uid;
    gid_t gid;
    const char *name; /* for the groups; NULL: the one group */
} become = {(uid_t)-1, (gid_t)-1, NULL};

void viv_sandbox_need(unsigned n)
{
    __atomic_fetch_or(&needs, n, __ATOMIC_RELAXED);
}

static const char *cannot;

int viv_sandbox_cannot(const char *why, struct viv_err *err)
{
    if (viv_broker_sealed())
        return viv_fail(err, EPERM, "%s, which this confined process cannot; -sandbox off can", why);
    cannot = why;
    return 0;
}

void viv_sandbox_share(const char *folder, bool read_only)
{
    sandbox_landlock_share(folder, read_only);
    viv_broker_note_folder(folder); /* a device may come for it later */
    if (!read_only)
        viv_broker_note_share(folder);
    viv_sandbox_need(VIV_SANDBOX_SHARE);
}

/* A user's name, or UID:GID in numbers. */
static int find_user(const char *text, struct viv_err *err)
{
    const struct passwd *p;
    unsigned uid, gid;
    char more;

    if (sscanf(text, "%u:%u%c", &uid, &gid, &more) == 2) {
        become.uid = uid;
        become.gid = gid;
    } else {
        p = getpwnam(text);
        if (!p)
            return viv_fail(err, EINVAL, "-runas: there is no user '%.60s'; it takes a user's name or UID:GID in numbers", text);
        become.uid = p->pw_uid;
        become.gid = p->pw_gid;
        become.name = text;
    }
    if (become.uid == (uid_t)-1 || become.gid == (gid_t)-1)
        return viv_fail(err, EINVAL, "-runas: %.60s is no user's number", text);
    if (geteuid() != 0)
        return viv_fail(err, EPERM, "-runas %.60s: only root can become another user; start it as that user (sudo -u, su)", text);
    return 0;
}

int viv_sandbox_start(const struct viv_sandbox *s, struct viv_err *err)
{
    int rc = s->user ? find_user(s->user, err) : 0;

    if (!rc && s->root && geteuid() != 0)
        rc = viv_fail(err, EPERM, "-chroot %.60s: only root can do that; a user's process is confined by -sandbox on", s->root);
    if (!rc && s->root && access(s->root, X_OK) < 0)
        rc = viv_fail_os(err, errno, "-chroot %s", s->root);
    wanted = s;
    if (rc < 0 || !s->on)
        return rc;
    rc = viv_broker_start(err);
    if (rc < 0 && s->optional) {
        viv_err_clear(err);
        cannot = "the process that opens files for it cannot be started";
        rc = 0;
    }
    return rc;
}

static int change_root(struct viv_err *err)
{
    if (chroot(wanted->root) < 0 || chdir("/") < 0)
        return viv_fail_os(err, errno, "-chroot %s", wanted->root);
    /* share/tree.h: its files are opened by descriptor there. Without it a guest would mount the folder and could open nothing. */
    if (needs & VIV_SANDBOX_SHARE && access("/proc/self/fd", X_OK) < 0)
        return viv_fail(err, ENOENT, "-chroot %s: a shared folder (-virtfs, -fsdev) needs /proc, which is not there; mount it there, "
                        "or leave one of the two out", wanted->root);
    return 0;
}

/* Groups first, while that is allowed. glibc does it in all threads. */
static int change_user_and_root(struct viv_err *err)
{
    int rc;

    if (become.uid != (uid_t)-1 && (become.name ? initgroups(become.name, become.gid) : setgroups(1, &become.gid)) < 0)
        return viv_fail_os(err, errno, "-runas: cannot set the groups of '%s'", wanted->user);
    rc = wanted->root ? change_root(err) : 0;
    if (rc < 0 || become.uid == (uid_t)-1)
        return rc;
    if (setresgid(become.gid, become.gid, become.gid) < 0 || setresuid(become.uid, become.uid, become.uid) < 0)
        return viv_fail_os(err, errno, "-runas: cannot become '%s'", wanted->user);
    if (become.uid && setuid(0) == 0)
        return viv_fail(err, EPERM, "-runas: this process could become root again");
    return 0;
}

int viv_sandbox_seal(int log_fd, struct viv_err *err)
{
    struct viv_broker_end end;
    bool fenced, confined;
    int rc;

    if (!wanted)
        return 0;
    end = (struct viv_broker_end){.uid = become.uid, .gid = become.gid, .root = wanted->root, .may_spawn = wanted->spawn,
                                  .may_elevate = wanted->elevateprivileges, .user = become.name,
                                  .takes_words = needs & VIV_SANDBOX_MONITOR};
    if (wanted->on && cannot && !wanted->optional)
        return viv_fail(err, EPERM, "-sandbox on: %s, which a confined process cannot; -sandbox off can", cannot);
    confined = wanted->on && !cannot;
    if (confined) {
        rc = viv_broker_seal(&end, err);
        if (rc < 0)
            return rc;
    }
    rc = change_user_and_root(err);
    if (!rc && wanted->on && cannot) {
        viv_fail(err, EPERM, "this process is not confined: %s; -sandbox off says that it need not be", cannot);
        return 1;
    }
    if (rc < 0 || !confined)
        return rc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return viv_fail_os(err, errno, "-sandbox: no-new-privileges");
    fenced = sandbox_landlock(needs) == 0 || !(needs & VIV_SANDBOX_SHARE);
    sandbox_trap_install(log_fd, needs);
    rc = sandbox_filter_install(wanted, needs, err);
    if (rc < 0)
        return wanted->optional ? 1 : rc;
    sandbox_landlock_others();
    if (fenced)
        return 0;
    viv_fail(err, ENOSYS, "-sandbox: this kernel has no Landlock: beside the shared folder this process can open all that its user may");
    return 1;
}
