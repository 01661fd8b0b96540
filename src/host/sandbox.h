/* What a process gives up before the guest runs: docs/sandbox.md. */
#ifndef VIV_HOST_SANDBOX_H
#define VIV_HOST_SANDBOX_H

#include "base/err.h"

#include <stdbool.h>

struct viv_sandbox {
    bool on;                                           /* else only `user` and `root` count */
    bool optional;                                     /* a kernel that cannot is no error */
    bool obsolete, elevateprivileges, spawn, resourcecontrol; /* allowed */
    const char *user;                                  /* -runas: a name or UID:GID; NULL: stays */
    const char *root;                                  /* -chroot, or NULL */
};

/* What parts of the program cannot do without after the seal. Any thread, before it. */
enum viv_sandbox_need {
    VIV_SANDBOX_NETWORK = 1, /* new sockets of IPv4 and IPv6 */
    VIV_SANDBOX_WINDOW = 2,  /* shared memory with an X server */
    VIV_SANDBOX_SHARE = 4,   /* viv_sandbox_share()'s */
    VIV_SANDBOX_MONITOR = 8, /* viv_broker_words(): a person names files later */
};
void viv_sandbox_need(unsigned n);
/* Something was asked for that a confined process cannot do, and `why` (borrowed) says what: the seal fails with it, or if the sandbox
 * is optional there is none. After the seal: -EPERM. */
int viv_sandbox_cannot(const char *why, struct viv_err *err);
/* A folder whose files a guest has (9p): this process itself opens what is below it, and Landlock keeps it there. */
void viv_sandbox_share(const char *folder, bool read_only);

/* `s` is borrowed for ever. Starts the broker; before threads. Checks the user. */
int viv_sandbox_start(const struct viv_sandbox *s, struct viv_err *err);
/* All threads of the process, now and for ever. Called once, by the main thread. What it has to say goes to stderr, and to log_fd
 * unless that is -1. 1: err says what this kernel cannot, and it goes on. */
int viv_sandbox_seal(int log_fd, struct viv_err *err);

#endif
