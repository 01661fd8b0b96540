/* The side of the process that asks. What runs inside of a SIGSYS handler (sandbox_trap.c) uses no memory but the stack. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int sock = -1;
static bool sealed, may_spawn = true;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* one question at a time */
static pthread_mutex_t noting = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *notes; /* grants of the start: kind letter and canonical name */

bool viv_broker_sealed(void)
{
    return __atomic_load_n(&sealed, __ATOMIC_ACQUIRE);
}

int viv_broker_fd(void)
{
    return sock;
}

int viv_broker_start(struct viv_err *err)
{
    pid_t self = getpid(), pid;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return viv_fail_os(err, errno, "-sandbox: cannot make a pair of sockets");
    pid = fork();
    if (pid < 0) {
        close(pair[0]);
        close(pair[1]);
        return viv_fail_os(err, errno, "-sandbox: cannot start the process that opens files; -sandbox off does without");
    }
    if (pid == 0)
        broker_serve(pair[1], self);
    close(pair[1]);
    sock = pair[0];
    return 0;
}

/* --- the wire --- */

static bool tell(const struct broker_req *q, const void *a, const void *b, int fd)
{
    struct iovec iov[3] = {{(void *)q, sizeof(*q)}, {(void *)a, q->a_len}, {(void *)b, q->b_len}};

    return broker_send(sock, iov, 3, fd);
}

static bool hear(struct broker_ans *ans, int *fd)
{
    struct iovec iov = {ans, sizeof(*ans)};
    bool lost; /* ans->ret says that there is to be one */

    if (broker_receive(sock, &iov, 1, fd, &lost) <= (ssize_t)offsetof(struct broker_ans, text))
        return false;
    ans->text[BROKER_TEXT - 1] = '\0';
    return true;
}

/* Signal safe but for the mutex, which is never held around a call that the filter refuses. The descriptor, or ans->ret. */
static int ask(struct broker_req *q, const void *a, const void *b, int fd_in, struct broker_ans *ans)
{
    int fd = -1;
    bool ok;

    memset(ans, 0, offsetof(struct broker_ans, text) + 1);
    if (q->a_len > BROKER_DATA || q->b_len > BROKER_DATA - q->a_len)
        return ans->ret = -ENAMETOOLONG;
    pthread_mutex_lock(&turn);
    ok = tell(q, a, b, fd_in) && hear(ans, &fd);
    pthread_mutex_unlock(&turn);
    if (!ok) {
        snprintf(ans->text, BROKER_TEXT, "the sandbox's broker is gone");
        return ans->ret = -EPIPE;
    }
    if (fd < 0 && ans->ret == BROKER_GIVES) { /* it found no room here (RLIMIT_NOFILE) */
        snprintf(ans->text, BROKER_TEXT, "%s (`ulimit -n` says how many)", strerror(EMFILE));
        return ans->ret = -EMFILE;
    }
    return fd >= 0 ? fd : ans->ret;
}

/* --- what the start opened --- */

static void add_note(char kind, const char *place)
{
    pthread_mutex_lock(&noting);
    if (!notes)
        notes = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(notes, g_strdup_printf("%c%s", kind, place));
    pthread_mutex_unlock(&noting);
}

/* Where it leads now, and the name itself: a link that is changed later leads nowhere that was meant. */
static void note(char kind, const char *path)
{
    struct broker_place p;

    if (sock < 0 || sealed)
        return;
    if (broker_find(path, &p) == 0) {
        add_note(kind, p.real);
        if (strcmp(p.name, p.real))
            add_note(kind, p.name);
        broker_place_free(&p);
    } else { /* its folder may come later */
        g_autofree char *full = g_canonicalize_filename(path, NULL);

        add_note(kind, full);
    }
}

/* A socket's; an abstract name is shown with '@', which a file's may begin with, too. A server that is not there yet is meant as well. */
static void note_socket(char kind, const char *name, bool abstract)
{
    if (!abstract)
        note(kind, name);
    else if (sock >= 0 && !sealed)
        add_note(kind, name);
}

void viv_broker_note_program(const char *path)
{
    note(GRANT_PROGRAM, path);
}

void viv_broker_note_file(const char *path)
{
    note(GRANT_READ, path);
}

void viv_broker_note_folder(const char *path)
{
    note(GRANT_FOLDER, path);
}

void viv_broker_note_share(const char *folder)
{
    note(GRANT_SHARE, folder);
}

static void send_notes(void)
{
    GString *all = g_string_new(NULL);

    pthread_mutex_lock(&noting);
    for (guint i = 0; notes && i <= notes->len; i++) {
        const char *n = i < notes->len ? notes->pdata[i] : NULL;
        struct broker_req q = {.op = BROKER_GRANT, .a_len = (uint32_t)all->len};

        if (all->len && (!n || all->len + strlen(n) + 1 > BROKER_DATA)) {
            tell(&q, all->str, NULL, -1);
            g_string_truncate(all, 0);
        }
        if (n && strlen(n) < BROKER_DATA)
            g_string_append_len(all, n, (gssize)strlen(n) + 1);
    }
    g_string_free(all, TRUE);
    g_clear_pointer(&notes, g_ptr_array_unref);
    pthread_mutex_unlock(&noting);
}

int viv_broker_seal(const struct viv_broker_end *e, struct viv_err *err)
{
    const char *root = e->root ? e->root : "", *user = e->user ? e->user : "";
    struct broker_req q = {.op = BROKER_SEAL, .flags = (e->may_spawn ? BROKER_SEAL_SPAWN : 0) | (e->may_elevate ? BROKER_SEAL_ELEVATE : 0) |
                                    (e->takes_words ? BROKER_SEAL_WORDS : 0), .mode = (uint32_t)e->uid,
                           .extra = (uint32_t)e->gid, .a_len = (uint32_t)strlen(root), .b_len = (uint32_t)strlen(user)};
    struct broker_ans ans;

    send_notes();
    if (e->uid == (uid_t)-1 && !e->root && e->may_elevate) /* nothing that could fail: start without waiting */
        q.flags |= BROKER_SEAL_SILENT;
    if (q.flags & BROKER_SEAL_SILENT && !tell(&q, root, user, -1))
        return viv_fail(err, EPIPE, "-sandbox: the process that opens files is gone");
    if (!(q.flags & BROKER_SEAL_SILENT) && ask(&q, root, user, -1, &ans) < 0)
        return viv_fail_os(err, -ans.ret, "-sandbox: the process that opens files cannot give up its rights%s%s", *ans.text ? ": " : "",
                           ans.text);
    may_spawn = e->may_spawn;
    __atomic_store_n(&sealed, true, __ATOMIC_RELEASE);
    return 0;
}

void viv_broker_detach(void)
{
    struct broker_req q = {.op = BROKER_DETACH};

    if (sock >= 0) {
        pthread_mutex_lock(&turn);
        tell(&q, NULL, NULL, -1);
        pthread_mutex_unlock(&turn);
    }
}

void viv_broker_words(const char *text)
{
    struct broker_req q = {.op = BROKER_WORDS, .a_len = (uint32_t)strnlen(text, BROKER_DATA + 1)};

    if (!viv_broker_sealed() || !q.a_len || q.a_len > BROKER_DATA)
        return;
    pthread_mutex_lock(&turn);
    tell(&q, text, NULL, -1);
    pthread_mutex_unlock(&turn);
}

/* --- files --- */

static int by_name(enum broker_op op, const char *a, const char *b, int flags, mode_t mode, int fd, char *text, size_t size)
{
    struct broker_req q = {.op = op, .flags = flags, .mode = mode, .a_len = a ? (uint32_t)strlen(a) : 0,
                           .b_len = b ? (uint32_t)strlen(b) : 0};
    struct broker_ans ans;
    int ret = ask(&q, a, b, fd, &ans);

    if (text && size) {
        size_t n = MIN(strlen(ans.text), size - 1);

        memcpy(text, ans.text, n);
        text[n] = '\0';
    }
    return ret;
}

static int own_descriptor(const char *number)
{
    int fd = 0;

    for (; *number >= '0' && *number <= '9' && fd < 1 << 20; number++)
        fd = fd * 10 + (*number - '0');
    fd = *number ? (errno = ENOENT, -1) : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int viv_broker_open(const char *path, int flags, mode_t mode, char *text, size_t size)
{
    int fd;

    if (size)
        *text = '\0';
    if (viv_broker_sealed() && !strncmp(path, "/dev/fd/", 8)) /* this process's, not the broker's */
        return own_descriptor(path + 8);
    if (viv_broker_sealed())
        return by_name(BROKER_OPEN, path, NULL, flags, mode, -1, text, size);
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    if ((flags & O_TMPFILE) != O_TMPFILE)
        note((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC) ? GRANT_WRITE : GRANT_READ, path);
    return fd;
}

int viv_broker_reopen(int fd, int flags, char *text, size_t size)
{
    char path[40];

    if (size)
        *text = '\0';
    if (viv_broker_sealed())
        return by_name(BROKER_REOPEN, NULL, NULL, flags, 0, fd, text, size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

void viv_broker_lock_holder(int fd, off_t byte, char *text, size_t size)
{
    struct broker_lock l = {.byte = byte, .client = getpid(), .client_fd = fd};
    struct broker_req q = {.op = BROKER_HOLDER, .a_len = sizeof(l)};
    struct broker_ans ans;

    if (!viv_broker_sealed()) {
        broker_do_holder(&l, fd, text, size);
        return;
    }
    ask(&q, &l, NULL, fd, &ans);
    snprintf(text, size, "%s", *ans.text ? ans.text : "another process");
}

int viv_broker_unlink(const char *path)
{
    if (viv_broker_sealed())
        return by_name(BROKER_UNLINK, path, NULL, 0, 0, -1, NULL, 0);
    return unlink(path) < 0 ? -errno : 0;
}

/* What got a name before the seal may be opened by it after that. */
static int noted(int rc, const char *to)
{
    if (rc < 0)
        return -errno;
    note(GRANT_WRITE, to);
    return 0;
}

int viv_broker_rename(const char *from, const char *to)
{
    if (viv_broker_sealed())
        return by_name(BROKER_RENAME, from, to, 0, 0, -1, NULL, 0);
    return noted(rename(from, to), to);
}

int viv_broker_replace(const char *from, const char *to)
{
    g_autofree char *folder = g_path_get_dirname(to);
    int rc, dir;

    if (viv_broker_sealed())
        return by_name(BROKER_RENAME, from, to, 1, 0, -1, NULL, 0);
    rc = viv_broker_rename(from, to);
    if (rc < 0)
        return rc;
    dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return 0;
    rc = broker_do_sync(dir);
    close(dir);
    return rc;
}

int viv_broker_link(const char *from, const char *to)
{
    if (viv_broker_sealed())
        return by_name(BROKER_LINK, from, to, 0, 0, -1, NULL, 0);
    return noted(link(from, to), to);
}

int viv_broker_link_fd(int fd, const char *to)
{
    char path[40];

    if (viv_broker_sealed())
        return by_name(BROKER_LINK_FD, NULL, to, 0, 0, fd, NULL, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return noted(linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW), to);
}

int viv_broker_mkdir(const char *path, mode_t mode)
{
    if (viv_broker_sealed())
        return by_name(BROKER_MKDIR, path, NULL, 0, mode, -1, NULL, 0);
    return mkdir(path, mode) < 0 ? -errno : 0;
}

/* --- what a file in a share is --- */

int viv_broker_chmod(int fd, mode_t mode)
{
    return by_name(BROKER_CHMOD, NULL, NULL, 0, mode, fd, NULL, 0);
}

int viv_broker_chown(int fd, uid_t uid, gid_t gid)
{
    struct broker_req q = {.op = BROKER_CHOWN, .mode = uid, .extra = gid};
    struct broker_ans ans;

    return ask(&q, NULL, NULL, fd, &ans);
}

int viv_broker_utimes(int fd, const struct timespec times[2])
{
    struct broker_req q = {.op = BROKER_UTIMES, .a_len = times ? 2 * sizeof(*times) : 0};
    struct broker_ans ans;

    return ask(&q, times, NULL, fd, &ans);
}

int viv_broker_setxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    struct broker_req q = {.op = BROKER_SETXATTR, .flags = flags, .a_len = (uint32_t)strlen(name), .b_len = (uint32_t)size};
    struct broker_ans ans;

    return size > BROKER_DATA ? -E2BIG : ask(&q, name, value, fd, &ans);
}

int viv_broker_removexattr(int fd, const char *name)
{
    return by_name(BROKER_REMOVEXATTR, name, NULL, 0, 0, fd, NULL, 0);
}

/* --- sockets and programs --- */

static int unix_socket(enum broker_op op, const struct sockaddr *a, socklen_t len, int backlog, struct viv_err *err)
{
    struct broker_req q = {.op = op, .flags = backlog, .a_len = len};
    const struct sockaddr_un *un = (const struct sockaddr_un *)a;
    char name[sizeof(un->sun_path) + 2];
    struct broker_ans ans;
    int ret;

    if (!viv_broker_sealed()) {
        snprintf(name, sizeof(name), "%s%.*s", *un->sun_path ? "" : "@", (int)(sizeof(un->sun_path) - 1), un->sun_path + !*un->sun_path);
        ret = op == BROKER_CONNECT ? broker_do_connect(a, len) : broker_do_listen(a, len, backlog);
        note_socket(op == BROKER_CONNECT ? GRANT_SOCKET : GRANT_LISTEN, name, !*un->sun_path);
        return ret < 0 ? viv_fail(err, -ret, "%s", strerror(-ret)) : ret;
    }
    ret = ask(&q, a, NULL, -1, &ans);
    return ret < 0 ? viv_fail(err, -ret, "%s", *ans.text ? ans.text : strerror(-ret)) : ret;
}

int viv_unix_connect(const struct sockaddr *a, unsigned len, struct viv_err *err)
{
    return unix_socket(BROKER_CONNECT, a, len, 0, err);
}

int viv_unix_listen(const struct sockaddr *a, unsigned len, int backlog, struct viv_err *err)
{
    return unix_socket(BROKER_LISTEN, a, len, backlog, err);
}

char *viv_unix_path(const char *path)
{
    g_autofree char *full = g_canonicalize_filename(path, NULL);

    return strlen(full) < sizeof(((struct sockaddr_un *)NULL)->sun_path) ? g_steal_pointer(&full) : g_strdup(path);
}

int viv_spawn(char *const *argv, int child_fd, unsigned seconds, int *status, struct viv_err *err)
{
    struct broker_req q = {.op = BROKER_SPAWN, .mode = seconds};
    struct broker_program named = {AT_FDCWD, argv[0], argv};
    struct broker_ans ans;
    GString *all;
    int ret;

    if (!viv_broker_sealed()) {
        if (!may_spawn)
            return viv_fail(err, EPERM, "-sandbox spawn=deny does not let %s be started; spawn=allow would", argv[0]);
        ret = broker_do_spawn(&named, child_fd, seconds, status);
        return ret < 0 ? viv_fail_os(err, -ret, "%s cannot be run", argv[0]) : 0;
    }
    all = g_string_new(NULL);
    for (; argv[q.flags]; q.flags++)
        g_string_append_len(all, argv[q.flags], (gssize)strlen(argv[q.flags]) + 1);
    q.a_len = (uint32_t)all->len;
    ret = ask(&q, all->str, NULL, child_fd, &ans);
    *status = ans.status;
    g_string_free(all, TRUE);
    if (ret < 0 && *ans.text)
        return viv_fail(err, -ret, "%s", ans.text);
    return ret < 0 ? viv_fail_os(err, -ret, "%s cannot be run", argv[0]) : 0;
}
