/* What the broker and its client say to each other: one packet each way, at most one descriptor with it. */
#ifndef VIV_HOST_BROKER_INT_H
#define VIV_HOST_BROKER_INT_H

#include "host/broker.h"

#include <stdint.h>
#include <sys/socket.h>

#define BROKER_DATA 16384u /* bytes of strings in a request */
#define BROKER_TEXT 400u

enum broker_op {
    BROKER_GRANT, /* a: kind letters and names, each with its NUL */
    BROKER_WORDS, /* a: text */
    BROKER_SEAL,  /* flags: BROKER_SEAL_*; a: root or empty; b: user or empty; mode: uid; extra: gid */
    BROKER_DETACH,
    BROKER_OPEN, /* a: path */
    BROKER_REOPEN,
    BROKER_UNLINK, /* a */
    BROKER_RENAME, /* a, b; flags: 1: and to the disk */
    BROKER_LINK,
    BROKER_LINK_FD, /* b */
    BROKER_MKDIR,
    BROKER_CHMOD,  /* mode */
    BROKER_CHOWN,  /* mode: uid, extra: gid */
    BROKER_UTIMES, /* a: two timespecs */
    BROKER_SETXATTR, /* a: name, b: value, flags */
    BROKER_REMOVEXATTR,
    BROKER_CONNECT, /* a: sockaddr */
    BROKER_LISTEN,  /* flags: backlog */
    BROKER_SPAWN,   /* flags: count of words in a, mode: seconds */
    BROKER_HOLDER,  /* a: struct broker_lock; the answer is text */
};

/* Flags of BROKER_SEAL. */
#define BROKER_SEAL_SPAWN   1 /* helpers may be started */
#define BROKER_SEAL_ELEVATE 2 /* and may be set-uid */
#define BROKER_SEAL_SILENT  4 /* no answer */
#define BROKER_SEAL_WORDS   8 /* there are monitors: their words count */

struct broker_req {
    uint32_t op;
    int32_t flags;
    uint32_t mode, extra;
    uint32_t a_len, b_len;
};

#define BROKER_GIVES 1 /* `ret`: there is a descriptor with it */

struct broker_ans {
    int32_t ret; /* 0 or a negative errno, or BROKER_GIVES */
    int32_t status;
    char text[BROKER_TEXT]; /* why it refused; "" when the kernel did */
};

/* A byte that somebody has locked; client_fd: the file's descriptor in the client, whose own locks are not meant. */
struct broker_lock {
    int64_t byte;
    int32_t client, client_fd;
};

/* Kinds of grants. */
#define GRANT_READ    'r'
#define GRANT_WRITE   'w'
#define GRANT_SOCKET  's' /* to connect to */
#define GRANT_LISTEN  'l'
#define GRANT_PROGRAM 'x'
#define GRANT_SHARE   'd' /* a folder */
#define GRANT_FOLDER  'f' /* for reading, and all below it */

/* broker_wire.c: `fd` -1: none goes along, or came. Errors as recvmsg() has them. */
bool broker_send(int sock, struct iovec *iov, unsigned count, int fd);
ssize_t broker_receive(int sock, struct iovec *iov, unsigned count, int *fd, bool *lost); /* lost: one came that found no room (RLIMIT_NOFILE) */

/* --- the broker's side --- */

/* The request that is being served, and what holds for all. */
extern struct broker_asked {
    pid_t client;
    bool sealed, may_spawn;
    struct broker_req req;
    char data[BROKER_DATA + 2]; /* a and b, each with a NUL */
    const char *a, *b;
    int fd;      /* that came, or -1 */
    int own_fds; /* /proc/self/fd */
} broker_asked;

/* broker_serve.c: until the other side is gone. */
void broker_serve(int sock, pid_t client) __attribute__((noreturn));

/* broker_files.c: the descriptor or 0, or a negative errno, with `text` saying why if the policy refuses. */
int broker_do_open(char *text);
int broker_do_reopen(char *text);
int broker_do_names(char *text);
int broker_do_file(void);
void broker_keep_folder(const char *name); /* of what is to be removed after a chroot */
/* Calls that know names only, made in that folder, or with a descriptor's name: in /proc/self/fd, wherever the root is. */
int broker_in_folder(int dir, int (*call)(const char *name), const char *name);
int broker_at_own_fds(int (*call)(const char *number), int fd);

/* broker_path.c. `name` has a real folder, the last part is as it was said; `real` is where that leads, without any link (the same as
 * `name` where there is nothing yet). */
struct broker_place {
    char *name, *real;
};
int broker_find(const char *said, struct broker_place *p); /* 0 or a negative errno */
void broker_place_free(struct broker_place *p);
/* A real name's folder (O_PATH) and its last part, to be freed; and the file itself. A link anywhere is -ELOOP or -ENOTDIR. */
int broker_folder(const char *real, char **base);
int broker_open_place(const char *real, int flags, mode_t mode);

/* broker_policy.c. Grants are real names; `said` is as it came. */
void broker_grant(char kind, const char *path);
void broker_each_name(void (*fn)(const char *name)); /* that was made or written to: real names */
void broker_grant_words(const char *text);
void broker_take_words(bool on); /* at the seal: is there a monitor? */
bool broker_is_named(const char *said); /* by a monitor */
/* 0, or -EACCES with `text` saying why and what would work. */
int broker_may_open(const char *said, const struct broker_place *p, int flags, char *text);
int broker_may_use_fd(int fd, int flags, char *text);
int broker_may_connect(const char *said, const struct broker_place *p, bool listens, char *text);
int broker_may_change(const char *said, const struct broker_place *p, char *text); /* unlink, rename, link */
int broker_may_run(char *const *argv, const struct broker_place *p, char *text);
bool broker_in_share(const char *real);

/* broker_rules.c: of a place, whoever asks. */
bool broker_is_below(const char *path, const char *const *places);
bool broker_is_system(const char *path);
bool broker_is_hidden(const char *path);
bool broker_is_others(const char *path);
bool broker_is_private(const char *path);
bool broker_is_agent(const char *socket);
bool broker_is_foreign_device(const char *path); /* of a character device */
const char *broker_device_refusal(const char *path, bool writes); /* NULL: none */
/* Files of the system that everybody may read need no grant: before the open, and after it with where it led. */
bool broker_is_public(const char *path, int flags);
bool broker_public_fd(int fd, const char *real);

/* lock_holder.c: the answer to BROKER_HOLDER. */
void broker_do_holder(const struct broker_lock *l, int fd, char *out, size_t size);

/* broker_do.c: what is done with this process's own rights; also by the client while it has them. */
int broker_do_connect(const struct sockaddr *a, socklen_t len);
int broker_do_sync(int dir); /* names in this folder (O_PATH will do) are on the disk */
int broker_do_listen(const struct sockaddr *a, socklen_t len, int backlog);
struct broker_program {
    int dir; /* the folder that `name` lies in, which is no link then; above 3. AT_FDCWD: a path */
    const char *name;
    char *const *argv;
};
int broker_do_spawn(const struct broker_program *w, int child_fd, unsigned seconds, int *status);

#endif
