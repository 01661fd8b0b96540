/* The broker's process: one request after the other, until the process that it serves is gone. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <unistd.h>

#define WORDS_OF_COMMAND 64

struct broker_asked broker_asked;

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
    rc = broker_at_own_fds(connect_number, at);
    close(at);
    return rc;
}

static int listen_name(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (g_strlcpy(un.sun_path, name, sizeof(un.sun_path)) >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    return broker_do_listen((struct sockaddr *)&un, sizeof(un), broker_asked.req.flags);
}

/* Listens in the folder that was judged, and removes what an earlier one left there. */
static int listen_place(const char *place)
{
    g_autofree char *base = NULL;
    int dir = broker_folder(place, &base), rc;

    if (dir < 0)
        return dir;
    rc = broker_in_folder(dir, listen_name, base);
    close(dir);
    return rc;
}

static int connect_or_listen(const struct sockaddr_un *un, const struct broker_place *p)
{
    if (!*un->sun_path)
        return broker_asked.req.op == BROKER_CONNECT ? broker_do_connect((const struct sockaddr *)un, broker_asked.req.a_len)
                                          : broker_do_listen((const struct sockaddr *)un, broker_asked.req.a_len, broker_asked.req.flags);
    if (broker_asked.req.op == BROKER_CONNECT)
        return connect_place(p->real);
    return listen_place(p->name);
}

/* An abstract name with nothing but zeros after its first one: that much of it is judged. */
static bool is_text(const char *name, size_t len)
{
    for (size_t i = strnlen(name, len); i < len; i++) {
        if (name[i])
            return false;
    }
    return true;
}

static int do_socket(char *text)
{
    struct sockaddr_un un = {0};
    size_t head = offsetof(struct sockaddr_un, sun_path);
    char name[sizeof(un.sun_path) + 2];
    struct broker_place p;
    int rc;

    if (broker_asked.req.a_len <= head || broker_asked.req.a_len > sizeof(un))
        return -EINVAL;
    memcpy(&un, broker_asked.a, broker_asked.req.a_len);
    if (un.sun_family != AF_UNIX || (!*un.sun_path && !is_text(un.sun_path + 1, broker_asked.req.a_len - head - 1)))
        return -EINVAL;
    /* An abstract name is shown with '@'. */
    snprintf(name, sizeof(name), "%s%.*s", *un.sun_path ? "" : "@", (int)(sizeof(un.sun_path) - 1), un.sun_path + !*un.sun_path);
    if (!*un.sun_path) {
        p = (struct broker_place){g_strdup(name), g_strdup(name)};
        rc = 0;
    } else {
        rc = broker_find(name, &p);
    }
    if (!rc)
        rc = broker_may_connect(name, &p, broker_asked.req.op == BROKER_LISTEN, text);
    if (!rc)
        rc = connect_or_listen(&un, &p);
    broker_place_free(&p);
    return rc;
}

/* Starts what was judged, whatever its name leads to by now. */
static int spawn_place(char *const *argv, const char *real, int *status)
{
    g_autofree char *base = NULL;
    struct broker_program w = {.dir = broker_folder(real, &base), .argv = argv};
    int rc;

    if (w.dir < 0)
        return w.dir;
    w.name = base;
    rc = broker_do_spawn(&w, broker_asked.fd, broker_asked.req.mode, status);
    close(w.dir);
    return rc;
}

static int do_spawn(int *status, char *text)
{
    char *argv[WORDS_OF_COMMAND + 1] = {0};
    struct broker_place place;
    char *p = broker_asked.data, *end = broker_asked.data + broker_asked.req.a_len;
    int rc;

    if (broker_asked.req.flags < 1 || broker_asked.req.flags > WORDS_OF_COMMAND)
        return -E2BIG;
    for (int i = 0; i < broker_asked.req.flags; i++) {
        if (p >= end)
            return -EINVAL;
        argv[i] = p;
        p += strlen(p) + 1;
    }
    if (!broker_asked.may_spawn) {
        snprintf(text, BROKER_TEXT, "-sandbox spawn=deny does not let '%.160s' be started; spawn=allow would", argv[0]);
        return -EPERM;
    }
    broker_find(argv[0], &place);
    rc = broker_may_run(argv, &place, text);
    if (!rc)
        rc = spawn_place(argv, place.real, status);
    broker_place_free(&place);
    return rc;
}

/* The same as the other side does: whoever has a monitor's words has its rights, no more. */
static int do_seal(void)
{
    gid_t gid = broker_asked.req.extra;

    broker_asked.may_spawn = broker_asked.req.flags & BROKER_SEAL_SPAWN;
    broker_take_words(broker_asked.req.flags & BROKER_SEAL_WORDS);
    if (!(broker_asked.req.flags & BROKER_SEAL_ELEVATE) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (broker_asked.req.mode != (uint32_t)-1 && (*broker_asked.b ? initgroups(broker_asked.b, gid) : setgroups(1, &gid)) < 0)
        return -errno;
    if (*broker_asked.a)
        broker_each_name(broker_keep_folder);
    if (*broker_asked.a && (chroot(broker_asked.a) < 0 || chdir("/") < 0))
        return -errno;
    if (broker_asked.req.mode != (uint32_t)-1 && (setresgid(gid, gid, gid) < 0 ||
                                       setresuid(broker_asked.req.mode, broker_asked.req.mode, broker_asked.req.mode) < 0))
        return -errno;
    if (access(".", X_OK) < 0 && chdir("/") < 0) /* names there are out of reach, and broker_in_folder() has to come back */
        return -errno;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user's process has lost it */
    broker_asked.sealed = true;
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
    const char *end = broker_asked.a + broker_asked.req.a_len;

    for (const char *p = broker_asked.a; !broker_asked.sealed && p < end && *p; p += strlen(p) + 1)
        broker_grant(p[0], p + 1);
}

/* Who has locked a file that the client has open already. */
static int do_holder(char *text)
{
    struct broker_lock l;

    if (broker_asked.fd < 0 || broker_asked.req.a_len != sizeof(l))
        return -EINVAL;
    memcpy(&l, broker_asked.a, sizeof(l));
    l.client = broker_asked.client;
    broker_do_holder(&l, broker_asked.fd, text, BROKER_TEXT);
    return 0;
}

static int serve_one(int *status, char *text)
{
    switch (broker_asked.req.op) {
    case BROKER_GRANT: do_grant(); return 0;
    case BROKER_WORDS: broker_grant_words(broker_asked.a); return 0;
    case BROKER_SEAL: return broker_asked.sealed ? -EPERM : do_seal();
    case BROKER_DETACH: return do_detach();
    default: break;
    }
    if (!broker_asked.sealed)
        return -EPERM;
    switch (broker_asked.req.op) {
    case BROKER_OPEN: return broker_do_open(text);
    case BROKER_REOPEN: return broker_do_reopen(text);
    case BROKER_UNLINK:
    case BROKER_RENAME:
    case BROKER_LINK:
    case BROKER_LINK_FD:
    case BROKER_MKDIR: return broker_do_names(text);
    case BROKER_CHMOD:
    case BROKER_CHOWN:
    case BROKER_UTIMES:
    case BROKER_SETXATTR:
    case BROKER_REMOVEXATTR: return broker_do_file();
    case BROKER_CONNECT:
    case BROKER_LISTEN: return do_socket(text);
    case BROKER_SPAWN: return do_spawn(status, text);
    case BROKER_HOLDER: return do_holder(text);
    default: return -ENOSYS;
    }
}

/* 0: the other side is gone. */
static bool receive(int sock)
{
    static char data[BROKER_DATA];
    struct iovec iov[2] = {{&broker_asked.req, sizeof(broker_asked.req)}, {data, sizeof(data)}};
    bool lost;
    ssize_t n = broker_receive(sock, iov, 2, &broker_asked.fd, &lost);

    if (n <= 0)
        return false;
    /* Who does not keep to the form is not the program that we know. */
    if (lost || (size_t)n < sizeof(broker_asked.req) || broker_asked.req.a_len > BROKER_DATA || broker_asked.req.b_len > BROKER_DATA ||
        (size_t)n != sizeof(broker_asked.req) + broker_asked.req.a_len + broker_asked.req.b_len)
        return false;
    memcpy(broker_asked.data, data, broker_asked.req.a_len);
    broker_asked.data[broker_asked.req.a_len] = '\0';
    memcpy(broker_asked.data + broker_asked.req.a_len + 1, data + broker_asked.req.a_len, broker_asked.req.b_len);
    broker_asked.data[broker_asked.req.a_len + 1 + broker_asked.req.b_len] = '\0';
    broker_asked.a = broker_asked.data;
    broker_asked.b = broker_asked.data + broker_asked.req.a_len + 1;
    return true;
}

static bool answer(int sock, const struct broker_ans *ans, int fd)
{
    struct iovec iov = {(void *)ans, offsetof(struct broker_ans, text) + strlen(ans->text) + 1};

    return broker_send(sock, &iov, 1, fd);
}

static bool gives_descriptor(unsigned op)
{
    return op == BROKER_OPEN || op == BROKER_REOPEN || op == BROKER_CONNECT || op == BROKER_LISTEN;
}

static bool wants_answer(void)
{
    return broker_asked.req.op != BROKER_GRANT && broker_asked.req.op != BROKER_WORDS && broker_asked.req.op != BROKER_DETACH && !(broker_asked.req.op == BROKER_SEAL && broker_asked.req.flags & BROKER_SEAL_SILENT);
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
    broker_asked.own_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void broker_serve(int sock, pid_t client)
{
    settle(&sock);
    broker_asked.client = client;
    while (getppid() == client && receive(sock)) {
        struct broker_ans ans = {0};
        int ret = serve_one(&ans.status, ans.text);
        bool gives = gives_descriptor(broker_asked.req.op) && ret >= 0, ok = true;

        ans.ret = gives ? BROKER_GIVES : ret;
        if (wants_answer())
            ok = answer(sock, &ans, gives ? ret : -1);
        if (gives)
            close(ret);
        if (broker_asked.fd >= 0)
            close(broker_asked.fd);
        if (!ok)
            break;
    }
    _exit(0);
}
