/* Landlock (Linux: Documentation/userspace-api/landlock.rst): a second fence behind the filter. What is open stays; new files, and TCP
 * where nothing needs it, are refused by the kernel even if a call slipped through the list. With folders that a guest shares it is the
 * first fence: their calls are on the list, for files below them.
 *
 * A rule set holds for a thread and those that it starts. Threads that are there already get SIGSYS, whose handler takes the rules: a
 * thread that sleeps in the kernel does that before anything else. A thread of a library's that blocks the signal goes without. */
#include "host/sandbox_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/* The rights of each version of the interface: all that are known are taken. */
static const unsigned char fs_rights[] = {13, 14, 15, 15, 16}; /* bits from 0; versions 1 to 5 */
#define VERSIONS (sizeof(fs_rights) / sizeof(fs_rights[0]))
#define NET_SINCE 4
#define NET_RIGHTS 3u /* bind, connect */
#define READ       (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* A device file that root's machine makes there would be this host's disk when it is opened. */
#define NOT_SHARED ((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK))

#define SCOPE_SINCE 6
#define SCOPES      1u /* abstract sockets of processes outside; with signals, threads could not wake each other (Linux 6.12 to 6.14) */

/* The structure of version 6, which older kernels take by its size. */
struct rules {
    uint64_t fs, net, scopes;
};

static struct share {
    int folder; /* O_PATH: -chroot may shut its name out */
    bool read_only;
} *shares;
static unsigned share_count;
static int ruleset = -1;
static pid_t *others; /* up to a 0 */

void sandbox_landlock_share(const char *folder, bool read_only)
{
    shares = g_renew(struct share, shares, share_count + 1);
    shares[share_count++] = (struct share){open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), read_only};
}

/* Takes the folder. */
static void add_rule(int fd, int folder, uint64_t rights)
{
    struct landlock_path_beneath_attr a = {.allowed_access = rights, .parent_fd = folder};

    if (folder < 0)
        return;
    syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
    close(folder);
}

/* With open(2) on the list libraries reach their files themselves. */
static void add_shares(int fd, uint64_t all)
{
    static const char *const system[] = {"/usr", "/etc", "/lib", "/lib64", "/proc", "/sys/devices/system"};

    for (unsigned i = 0; i < share_count; i++)
        add_rule(fd, shares[i].folder, shares[i].read_only ? READ : all & ~NOT_SHARED);
    for (size_t i = 0; share_count && i < G_N_ELEMENTS(system); i++)
        add_rule(fd, open(system[i], O_PATH | O_CLOEXEC), READ);
}

static void list_others(void)
{
    g_autoptr(GDir) d = g_dir_open("/proc/self/task", 0, NULL);
    pid_t self = gettid();
    unsigned n = 0;

    for (const char *name; d && (name = g_dir_read_name(d));) {
        pid_t tid = atoi(name);

        if (tid == self)
            continue;
        others = g_renew(pid_t, others, n + 2);
        others[n++] = tid;
        others[n] = 0;
    }
}

int sandbox_landlock(unsigned needs)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct rules r = {0};
    bool net = version >= NET_SINCE && !(needs & VIV_SANDBOX_NETWORK);
    size_t size;

    if (version < 1)
        return -ENOSYS;
    r.fs = (1ull << fs_rights[(size_t)version > VERSIONS ? VERSIONS - 1 : (size_t)version - 1]) - 1;
    r.net = net ? NET_RIGHTS : 0;
    r.scopes = version >= SCOPE_SINCE ? SCOPES : 0;
    size = version >= SCOPE_SINCE ? sizeof(r) : version >= NET_SINCE ? offsetof(struct rules, scopes) : sizeof(r.fs);
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
    if (ruleset < 0)
        return -errno;
    add_shares(ruleset, r.fs);
    list_others();
    return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

void sandbox_landlock_this_thread(void)
{
    syscall(SYS_landlock_restrict_self, ruleset, 0);
}

void sandbox_landlock_others(void)
{
    pid_t self = getpid();

    for (unsigned i = 0; ruleset >= 0 && others && others[i]; i++)
        syscall(SYS_tgkill, self, others[i], SIGSYS);
    g_clear_pointer(&others, g_free);
}
