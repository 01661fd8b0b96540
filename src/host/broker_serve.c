/* The broker's process: one request after the other, until the process that it serves is gone. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WORDS_OF_COMMAND 64

static struct {
    pid_t client;
    bool sealed, may_spawn;
    struct broker_req req;
    char data[BROKER_DATA + 2]; /* a and b, each with a NUL */
    const char *a, *b;
    int fd;      /* that came, or -1 */
    int own_fds; /* /proc/self/fd */
} s;

/* Is it /proc/self/NAME of what a process may know about itself? Here it would be the broker's. */
static char *own_proc(const char *path)
{
    static const char *const names[] = {"maps", "pagemap", "smaps", "stat", "statm", "status", "task", "limits", "cgroup", "mounts"};
    const char *name = g_str_has_prefix(path, "/proc/self/") ? path + strlen("/proc/self/") : !strcmp(path, "/proc/mounts") ? "mounts" : NULL;

    for (size_t i = 0; name && i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(name, names[i]))
            return g_strdup_printf("/proc/%d/%s", (int)s.client, name);
    }
    return NULL;
}

static int open_it(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);

    return fd < 0 ? -errno : fd;
}

/* /proc/self/fd/N, also where a new root has no /proc. */
static int open_own(int fd, int flags)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", fd);
    fd = openat(s.own_fds, name, flags | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

/* Where an open file is. */
static bool name_of_fd(int fd, char real[PATH_MAX])
{
    char number[16];
    ssize_t n;

    snprintf(number, sizeof(number), "%d", fd);
    n = readlinkat(s.own_fds, number, real, PATH_MAX - 1);
    if (n >= 0)
        real[n] = '\0';
    return n >= 0;
}

static bool is_public_fd(int fd)
{
    char real[PATH_MAX];

    return name_of_fd(fd, real) && broker_public_fd(fd, real);
}

/* -EACCES: there is nothing public of that name. */
static int open_public(const char *said)
{
    g_autofree char *path = g_canonicalize_filename(said, NULL);
    int fd = broker_is_public(path, s.req.flags) ? open_it(path, s.req.flags | O_NONBLOCK, 0) : -EACCES;

    if (fd >= 0 && !is_public_fd(fd)) {
        close(fd);
        return -EACCES;
    }
    if (fd >= 0 && !(s.req.flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

static int do_open(char *text)
{
    g_autofree char *own = own_proc(s.a);
    struct broker_place p;
    int rc, fd;

    if (own && (s.req.flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY)
        return open_it(own, s.req.flags, 0);
    rc = broker_find(s.a, &p);
    if (rc < 0)
        return rc;
    rc = broker_may_open(s.a, &p, s.req.flags, text);
    if (!rc) {
        fd = broker_open_place(p.real, s.req.flags, s.req.mode);
    } else {
        fd = open_public(s.a);
        if (fd != -EACCES)
            *text = '\0';
    }
    broker_place_free(&p);
    return fd;
}

static int do_reopen(char *text)
{
    int rc = s.fd < 0 ? -EBADF : broker_may_use_fd(s.fd, s.req.flags, text);

    return rc < 0 ? rc : open_own(s.fd, s.req.flags);
}

/* --- names --- */

struct spot {
    struct broker_place p;
    int dir;
    char *base;
};

/* What -chroot shuts out, and is to be removed at the end all the same: a pid file, sockets. */
static struct kept {
    char *name, *base;
    int dir;
} *kept;
static unsigned kept_count;

void broker_keep_folder(const char *name)
{
    struct kept k = {.name = g_strdup(name)};

    k.dir = broker_folder(name, &k.base);
    kept = g_renew(struct kept, kept, kept_count + 1);
    kept[kept_count++] = k;
}

static bool remove_kept(const char *said, int *rc)
{
    g_autofree char *name = g_canonicalize_filename(said, NULL);

    for (unsigned i = 0; i < kept_count; i++) {
        if (strcmp(kept[i].name, name))
            continue;
        *rc = unlinkat(kept[i].dir, kept[i].base, 0) < 0 ? -errno : 0;
        return true;
    }
    return false;
}

static int find_spot(const char *said, struct spot *at, char *text)
{
    int rc = broker_find(said, &at->p);

    at->base = NULL;
    at->dir = -1;
    if (!rc)
        rc = broker_may_change(said, &at->p, text);
    if (!rc)
        rc = at->dir = broker_folder(at->p.name, &at->base);
    return rc < 0 ? rc : 0;
}

static void leave_spot(struct spot *at)
{
    broker_place_free(&at->p);
    g_free(at->base);
    if (at->dir >= 0)
        close(at->dir);
}

/* A folder that moves takes along what lies in it: a script that may be started, somebody's files. */
static bool is_folder(const struct spot *at)
{
    struct stat st;

    return fstatat(at->dir, at->base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* A file without a name gets one. Not one that has: it may be open for reading alone, and its new name is for writing. */
static int link_fd(const struct spot *to)
{
    char number[16];
    struct stat st;

    if (s.fd < 0 || fstat(s.fd, &st) < 0)
        return -EBADF;
    if (st.st_nlink)
        return -EPERM;
    snprintf(number, sizeof(number), "%d", s.fd);
    return linkat(s.own_fds, number, to->dir, to->base, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int change(const struct spot *a, const struct spot *b)
{
    int rc;

    switch (s.req.op) {
    case BROKER_UNLINK: rc = unlinkat(a->dir, a->base, 0); break;
    case BROKER_MKDIR: rc = mkdirat(a->dir, a->base, s.req.mode); break;
    case BROKER_LINK: rc = linkat(a->dir, a->base, b->dir, b->base, 0); break;
    case BROKER_RENAME:
        if (is_folder(a))
            return -EACCES;
        rc = renameat(a->dir, a->base, b->dir, b->base);
        break;
    default: return link_fd(b);
    }
    return rc < 0 ? -errno : 0;
}

static int do_names(char *text)
{
    struct spot a = {.dir = -1}, b = {.dir = -1};
    int rc;

    if (s.req.op == BROKER_UNLINK && remove_kept(s.a, &rc))
        return rc;
    rc = s.req.op == BROKER_LINK_FD ? 0 : find_spot(s.a, &a, text);
    if (!rc && s.req.op != BROKER_UNLINK && s.req.op != BROKER_MKDIR)
        rc = find_spot(s.b, &b, text);
    if (!rc)
        rc = change(&a, &b);
    leave_spot(&a);
    leave_spot(&b);
    return rc;
}

/* --- calls that know names only, made with a descriptor's: in /proc/self/fd, wherever the root is --- */

static int at_own_fds(int (*call)(const char *number), int fd)
{
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), rc;
    char number[16];

    if (here < 0)
        return -errno;
    snprintf(number, sizeof(number), "%d", fd);
    rc = fchdir(s.own_fds) < 0 ? -errno : call(number);
    if (fchdir(here) < 0)
        _exit(1);
    close(here);
    return rc;
}

static int change_file(const char *number)
{
    struct timespec times[2];
    int rc;

    switch (s.req.op) {
    case BROKER_CHMOD: rc = chmod(number, s.req.mode); break;
    case BROKER_CHOWN: rc = fchownat(s.fd, "", s.req.mode, s.req.extra, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW); break;
    case BROKER_UTIMES:
        memcpy(times, s.a, s.req.a_len);
        rc = utimensat(AT_FDCWD, number, s.req.a_len ? times : NULL, 0);
        break;
    case BROKER_SETXATTR: rc = setxattr(number, s.a, s.b, s.req.b_len, s.req.flags); break;
    default: rc = removexattr(number, s.a); break;
    }
    return rc < 0 ? -errno : 0;
}

/* Landlock knows nothing of these: that the file is in a folder which the guest has is looked at here. */
static int do_file(void)
{
    char real[PATH_MAX];

    if (s.fd < 0 || (s.req.op == BROKER_UTIMES && s.req.a_len && s.req.a_len != 2 * sizeof(struct timespec)))
        return -EINVAL;
    return name_of_fd(s.fd, real) && broker_in_share(real) ? at_own_fds(change_file, s.fd) : -EACCES;
}

/* --- sockets --- */

static int connect_number(const char *number)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    g_strlcpy(un.sun_path, number, sizeof(un.sun_path));
    return broker_do_connect((struct sockaddr *)&un, sizeof(un));
}

/* Connects to the socket that was looked at: by its descriptor, which no link can replace. */
static int connect_place(const char *real)
{
    int at = broker_open_place(real, O_PATH, 0), rc;

    if (at < 0)
        return at;
    rc = at_own_fds(connect_number, at);
    close(at);
    return rc;
}

static int connect_or_listen(const struct sockaddr_un *un, const struct broker_place *p)
{
    struct sockaddr_un real = {.sun_family = AF_UNIX};

    if (!*un->sun_path)
        return s.req.op == BROKER_CONNECT ? broker_do_connect((const struct sockaddr *)un, s.req.a_len)
                                          : broker_do_listen((const struct sockaddr *)un, s.req.a_len, s.req.flags);
    if (s.req.op == BROKER_CONNECT)
        return connect_place(p->real);
    if (strlen(p->name) >= sizeof(real.sun_path)) /* a relative name, of a long folder */
        return broker_do_listen((const struct sockaddr *)un, s.req.a_len, s.req.flags);
    g_strlcpy(real.sun_path, p->name, sizeof(real.sun_path));
    return broker_do_listen((struct sockaddr *)&real, sizeof(real), s.req.flags);
}

static int do_socket(char *text)
{
    struct sockaddr_un un = {0};
    size_t head = offsetof(struct sockaddr_un, sun_path);
    char name[sizeof(un.sun_path) + 2];
    struct broker_place p;
    int rc;

    if (s.req.a_len <= head || s.req.a_len > sizeof(un))
        return -EINVAL;
    memcpy(&un, s.a, s.req.a_len);
    if (un.sun_family != AF_UNIX)
        return -EINVAL;
    /* An abstract name is shown with '@'. */
    snprintf(name, sizeof(name), "%s%.*s", *un.sun_path ? "" : "@", (int)(sizeof(un.sun_path) - 1), un.sun_path + !*un.sun_path);
    if (*name == '@' && !*un.sun_path) {
        p = (struct broker_place){g_strdup(name), g_strdup(name)};
        rc = 0;
    } else {
        rc = broker_find(name, &p);
    }
    if (!rc)
        rc = broker_may_connect(name, &p, s.req.op == BROKER_LISTEN, text);
    if (!rc)
        rc = connect_or_listen(&un, &p);
    broker_place_free(&p);
    return rc;
}

static int do_spawn(int *status, char *text)
{
    char *argv[WORDS_OF_COMMAND + 1] = {0};
    char *p = s.data, *end = s.data + s.req.a_len;
    int rc;

    if (s.req.flags < 1 || s.req.flags > WORDS_OF_COMMAND)
        return -E2BIG;
    for (int i = 0; i < s.req.flags; i++) {
        if (p >= end)
            return -EINVAL;
        argv[i] = p;
        p += strlen(p) + 1;
    }
    if (!s.may_spawn) {
        snprintf(text, BROKER_TEXT, "-sandbox spawn=deny does not let '%.160s' be started; spawn=allow would", argv[0]);
        return -EPERM;
    }
    rc = broker_may_run(argv, text);
    return rc < 0 ? rc : broker_do_spawn(argv, s.fd, s.req.mode, status);
}

/* The same as the other side does: whoever has a monitor's words has its rights, no more. */
static int do_seal(void)
{
    gid_t gid = s.req.extra;

    s.may_spawn = s.req.flags & BROKER_SEAL_SPAWN;
    broker_take_words(s.req.flags & BROKER_SEAL_WORDS);
    if (!(s.req.flags & BROKER_SEAL_ELEVATE) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (s.req.mode != (uint32_t)-1 && (*s.b ? initgroups(s.b, gid) : setgroups(1, &gid)) < 0)
        return -errno;
    if (*s.a)
        broker_each_name(broker_keep_folder);
    if (*s.a && (chroot(s.a) < 0 || chdir("/") < 0))
        return -errno;
    if (s.req.mode != (uint32_t)-1 && (setresgid(gid, gid, gid) < 0 ||
                                       setresuid(s.req.mode, s.req.mode, s.req.mode) < 0))
        return -errno;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user's process has lost it */
    s.sealed = true;
    return 0;
}

static int do_detach(void)
{
    for (int fd = 1; fd < 3; fd++)
        dup2(0, fd); /* settle() has put /dev/null there */
    return chdir("/") < 0 ? -errno : 0;
}

static void do_grant(void)
{
    const char *end = s.a + s.req.a_len;

    for (const char *p = s.a; !s.sealed && p < end && *p; p += strlen(p) + 1)
        broker_grant(p[0], p + 1);
}

static int serve_one(int *status, char *text)
{
    switch (s.req.op) {
    case BROKER_GRANT: do_grant(); return 0;
    case BROKER_WORDS: broker_grant_words(s.a); return 0;
    case BROKER_SEAL: return s.sealed ? -EPERM : do_seal();
    case BROKER_DETACH: return do_detach();
    default: break;
    }
    if (!s.sealed)
        return -EPERM;
    switch (s.req.op) {
    case BROKER_OPEN: return do_open(text);
    case BROKER_REOPEN: return do_reopen(text);
    case BROKER_UNLINK:
    case BROKER_RENAME:
    case BROKER_LINK:
    case BROKER_LINK_FD:
    case BROKER_MKDIR: return do_names(text);
    case BROKER_CHMOD:
    case BROKER_CHOWN:
    case BROKER_UTIMES:
    case BROKER_SETXATTR:
    case BROKER_REMOVEXATTR: return do_file();
    case BROKER_CONNECT:
    case BROKER_LISTEN: return do_socket(text);
    case BROKER_SPAWN: return do_spawn(status, text);
    default: return -ENOSYS;
    }
}

/* 0: the other side is gone. */
static bool receive(int sock)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    static char data[BROKER_DATA];
    struct iovec iov[2] = {{&s.req, sizeof(s.req)}, {data, sizeof(data)}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c;
    ssize_t n;

    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    s.fd = -1;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&s.fd, CMSG_DATA(c), sizeof(int));
    /* Who does not keep to the form is not the program that we know. A descriptor that found no room (RLIMIT_NOFILE) leaves -1. */
    if ((c && s.fd < 0) || (size_t)n < sizeof(s.req) || s.req.a_len > BROKER_DATA || s.req.b_len > BROKER_DATA ||
        (size_t)n != sizeof(s.req) + s.req.a_len + s.req.b_len)
        return false;
    memcpy(s.data, data, s.req.a_len);
    s.data[s.req.a_len] = '\0';
    memcpy(s.data + s.req.a_len + 1, data + s.req.a_len, s.req.b_len);
    s.data[s.req.a_len + 1 + s.req.b_len] = '\0';
    s.a = s.data;
    s.b = s.data + s.req.a_len + 1;
    return true;
}

static bool answer(int sock, const struct broker_ans *ans, int fd)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {(void *)ans, offsetof(struct broker_ans, text) + strlen(ans->text) + 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

static bool gives_descriptor(unsigned op)
{
    return op == BROKER_OPEN || op == BROKER_REOPEN || op == BROKER_CONNECT || op == BROKER_LISTEN;
}

static bool wants_answer(void)
{
    return s.req.op != BROKER_GRANT && s.req.op != BROKER_WORDS && s.req.op != BROKER_DETACH && !(s.req.op == BROKER_SEAL && s.req.flags & BROKER_SEAL_SILENT);
}

/* It keeps the terminal for what helpers print, and nothing else that would stay open with it. */
static void settle(int *sock)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_NAME, "viv-broker");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        signal(ignored[i], SIG_IGN); /* the terminal sends them to both */
    if (null >= 0)
        dup2(null, 0);
    *sock = dup3(*sock, 3, O_CLOEXEC) < 0 ? *sock : 3;
    close_range(4, ~0u, 0);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would hide how a helper ended */
    s.own_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void broker_serve(int sock, pid_t client)
{
    settle(&sock);
    s.client = client;
    while (getppid() == client && receive(sock)) {
        struct broker_ans ans = {0};
        int ret = serve_one(&ans.status, ans.text);
        bool gives = gives_descriptor(s.req.op) && ret >= 0, ok = true;

        ans.ret = gives ? BROKER_GIVES : ret;
        if (wants_answer())
            ok = answer(sock, &ans, gives ? ret : -1);
        if (gives)
            close(ret);
        if (s.fd >= 0)
            close(s.fd);
        if (!ok)
            break;
    }
    _exit(0);
}
