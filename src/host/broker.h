/* The process beside a sandboxed one that keeps the person's rights: it opens files, connects and listens on UNIX sockets, and runs
 * helpers, for what the command line or a monitor named. docs/sandbox.md.
 *
 * Without a broker, and until viv_broker_seal(), everything here is done by this process itself; what it opened meanwhile is what the
 * broker takes for the command line's words. All functions: any thread, may block. */
#ifndef VIV_HOST_BROKER_H
#define VIV_HOST_BROKER_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct sockaddr;
struct timespec;

struct viv_broker_end {
    uid_t uid; /* what the broker becomes, like this process; -1: stays */
    gid_t gid;
    const char *user; /* whose groups; NULL: gid alone */
    const char *root; /* -chroot, or NULL */
    bool may_spawn, may_elevate;
    bool takes_words; /* there are monitors, whose words name files */
};

/* Forks it; before this process has threads. */
int viv_broker_start(struct viv_err *err);
/* From here on requests go to it. */
int viv_broker_seal(const struct viv_broker_end *e, struct viv_err *err);
bool viv_broker_sealed(void);
/* Its end of line: hangs up when the broker is gone. -1: there is none. */
int viv_broker_fd(void);
/* Before the seal: what the broker may start or open later. */
void viv_broker_note_program(const char *path);
void viv_broker_note_file(const char *path); /* for reading */
void viv_broker_note_folder(const char *path); /* and what is below it, for reading */
void viv_broker_note_share(const char *folder); /* whose files' owners, modes, times and attributes may be changed */
/* -daemonize: gives up the terminal, and its current folder becomes / as this process's does. */
void viv_broker_detach(void);

/* Words of a person that came after the start: what they name may be opened from now on. */
void viv_broker_words(const char *text);

/* open(2) with O_CLOEXEC. Signal safe when sealed. Returns the descriptor or a negative errno; text[size] is why, if the broker refused. */
int viv_broker_open(const char *path, int flags, mode_t mode, char *text, size_t size);
/* The same open file anew, by /proc/self/fd. */
int viv_broker_reopen(int fd, int flags, char *text, size_t size);
/* Who keeps `byte` of that open file locked, for people: "process 123 (qemu-system-x86_64 -m 1G ...)", "this process itself ...". */
void viv_broker_lock_holder(int fd, off_t byte, char *text, size_t size);
/* What a file's name can be asked for: 0 or a negative errno. linkat() gives `fd` a name (AT_SYMLINK_FOLLOW of /proc/self/fd). */
int viv_broker_unlink(const char *path);
int viv_broker_rename(const char *from, const char *to);
int viv_broker_replace(const char *from, const char *to); /* rename, and the new name is on the disk */
int viv_broker_link(const char *from, const char *to);
int viv_broker_link_fd(int fd, const char *to);
int viv_broker_mkdir(const char *path, mode_t mode);
/* Mode, owner, times and extended attributes of an open file in a shared folder; sealed only. */
int viv_broker_chmod(int fd, mode_t mode);
int viv_broker_chown(int fd, uid_t uid, gid_t gid);
int viv_broker_utimes(int fd, const struct timespec times[2]);
int viv_broker_setxattr(int fd, const char *name, const void *value, size_t size, int flags);
int viv_broker_removexattr(int fd, const char *name);

/* A stream socket at the address, with O_CLOEXEC and O_NONBLOCK; or a negative errno with err (NULL allowed). The second one removes
 * the socket that a dead process left at the path. The error is the reason alone. */
int viv_unix_connect(const struct sockaddr *a, unsigned len, struct viv_err *err);
int viv_unix_listen(const struct sockaddr *a, unsigned len, int backlog, struct viv_err *err);
/* `path` for connecting later: absolute, as -daemonize leaves this folder, unless that does not fit into an address. g_free. */
char *viv_unix_path(const char *path);

/* The begin of abstract names that say which hardware addresses are in use (net/mac.c); twelve digits follow. Any may be listened on:
 * nobody connects. */
#define VIV_MAC_CLAIM "viv-mac-"

/* Runs argv[0] to its end with `child_fd` (-1: none) as descriptor 3 and no others but 0 to 2; *status as of waitpid(2). -ETIMEDOUT: it
 * was killed after `seconds` (0: no limit). */
int viv_spawn(char *const *argv, int child_fd, unsigned seconds, int *status, struct viv_err *err);

#endif
