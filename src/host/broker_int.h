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
    BROKER_SEAL,  /* flags: bit 0 may spawn, 1 may elevate, 2 no answer; a: root or empty; b: user or empty; mode: uid; extra: gid */
    BROKER_DETACH,
    BROKER_OPEN, /* a: path */
    BROKER_REOPEN,
    BROKER_UNLINK, /* a */
    BROKER_RENAME, /* a, b */
    BROKER_LINK,
    BROKER_LINK_FD, /* b */
    BROKER_MKDIR,
    BROKER_CONNECT, /* a: sockaddr */
    BROKER_LISTEN,  /* flags: backlog */
    BROKER_SPAWN,   /* flags: count of words in a, mode: seconds */
};

struct broker_req {
    uint32_t op;
    int32_t flags;
    uint32_t mode, extra;
    uint32_t a_len, b_len;
};

struct broker_ans {
    int32_t ret; /* 0 or a negative errno; with a descriptor 0 */
    int32_t status;
    char text[BROKER_TEXT]; /* why it refused; "" when the kernel did */
};

/* Kinds of grants. */
#define GRANT_READ    'r'
#define GRANT_WRITE   'w'
#define GRANT_SOCKET  's'
#define GRANT_PROGRAM 'x'

/* --- the broker's side --- */

/* broker_serve.c: until the other side is gone. */
void broker_serve(int sock, pid_t client) __attribute__((noreturn));

/* broker_policy.c. Names are absolute and canonical but for `said`, which is as it came. */
void broker_grant(char kind, const char *path);
void broker_grant_words(const char *text);
char *broker_canonical(const char *said);
/* 0, or -EACCES with `text` saying why and what would work. */
int broker_may_open(const char *said, int flags, char *text);
int broker_may_use_fd(int fd, int flags, char *text);
int broker_may_connect(const char *said, char *text);
int broker_may_change(const char *said, char *text); /* unlink, rename, link */
int broker_may_run(const char *program, char *text);
/* After the open: files of the system that everybody may read need no grant. */
bool broker_is_public(const char *path, int flags);
int broker_public_fd(int fd);

/* broker_do.c: what is done with this process's own rights; also by the client while it has them. */
int broker_do_connect(const struct sockaddr *a, socklen_t len);
int broker_do_listen(const struct sockaddr *a, socklen_t len, int backlog);
int broker_do_spawn(char *const *argv, int child_fd, unsigned seconds, int *status);

#endif
