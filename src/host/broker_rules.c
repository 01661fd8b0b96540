/* Which places are whose: what invented words of a monitor must not reach, and what anybody may read. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SYSTEM_USERS 1000 /* numbers below are not people's */
#define CD_MAJOR     11

bool broker_is_below(const char *path, const char *const *places)
{
    for (; *places; places++) {
        size_t len = strlen(*places);

        if (!strncmp(path, *places, len) && (!path[len] || path[len] == '/'))
            return true;
    }
    return false;
}

bool broker_is_system(const char *path)
{
    static const char *const places[] = {"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/proc", "/sys", "/opt",
                                         "/run", "/var/run", "/var/spool", "/var/lib", "/var/cache", "/var/log", "/root/bin", NULL};
    static const char *const images[] = {"/var/lib/libvirt/images", "/var/lib/viv", "/var/lib/vz", "/var/log/viv", NULL};
    g_autofree char *users = g_strdup_printf("/run/user/%u", (unsigned)geteuid());

    return broker_is_below(path, places) && !broker_is_below(path, images) &&
           !broker_is_below(path, (const char *const[]){users, NULL});
}

bool broker_is_hidden(const char *path)
{
    return strstr(path, "/.") != NULL;
}

/* Other processes: what they know and hold. */
bool broker_is_others(const char *path)
{
    return broker_is_below(path, (const char *const[]){"/proc", NULL});
}

/* The system's, and not for everybody: passwords, host keys, other services' data. What machines are given lies elsewhere. */
bool broker_is_private(const char *path)
{
    static const char *const keys[] = {"/etc/pki", "/etc/qemu", "/etc/viv", "/etc/ceph", "/etc/libvirt", NULL};
    struct stat st;

    return broker_is_system(path) && !broker_is_below(path, keys) && (lstat(path, &st) || !(st.st_mode & S_IROTH));
}

/* Mounted, or part of another device. A CD may be read by both. */
static bool is_used_disk(const char *path, const struct stat *st, bool writes)
{
    int fd;

    if (!S_ISBLK(st->st_mode) || (!writes && major(st->st_rdev) == CD_MAJOR))
        return false;
    fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == EBUSY;
}

/* Keyboards, screens, terminals, memory: only what is there to be given to a machine. Not /dev/sg*, /dev/bsg, /dev/bus/usb and
 * /dev/vhost-scsi: commands to any disk, also one that is in use here, which nothing tells. */
bool broker_is_foreign_device(const char *path)
{
    static const char *const kinds[] = {"/dev/ttyS", "/dev/ttyUSB", "/dev/ttyACM", "/dev/ttyAMA", "/dev/net/tun", "/dev/vhost-net",
                                        "/dev/vhost-vsock", "/dev/vhost-vdpa", "/dev/vfio/", "/dev/parport",
                                        "/dev/hwrng", "/dev/random", "/dev/urandom", "/dev/null", "/dev/zero",
                                        "/dev/full", "/dev/ptmx", "/dev/kvm"};

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_has_prefix(path, kinds[i]))
            return false;
    }
    return true;
}

const char *broker_device_refusal(const char *path, bool writes)
{
    struct stat st;

    if (lstat(path, &st))
        return NULL;
    if (is_used_disk(path, &st, writes))
        return "it is a disk that is in use here (mounted, or part of another device)";
    if (!S_ISCHR(st.st_mode) || !broker_is_foreign_device(path))
        return NULL;
    return "the monitor reaches no keyboards, terminals, memory, buses and raw commands of disks of this host; name it on the command line, "
           "or pass a descriptor (getfd)";
}

/* Does a variable name this socket, as a path or "unix:path=PATH,..." or "PATH,1,0"? Those beside it are of the same program. */
static bool in_variable(const char *path, const char *variable)
{
    const char *value = g_getenv(variable), *at = value ? strchr(value, '/') : NULL;
    g_autofree char *named = at ? g_strndup(at, strcspn(at, ",;")) : NULL, *beside = named ? g_path_get_dirname(named) : NULL;
    g_autofree char *dir = g_path_get_dirname(path);

    return named && (!strcmp(named, path) || (strcmp(beside, "/tmp") && !strcmp(beside, dir)));
}

/* Sockets through which programs do what they are told as the person: agents, terminal multiplexers, desktops, message buses. */
bool broker_is_agent(const char *socket)
{
    static const char *const variables[] = {"SSH_AUTH_SOCK", "TMUX", "DBUS_SESSION_BUS_ADDRESS", "GPG_AGENT_INFO", "NVIM", "EDITOR_SOCKET"};
    static const char *const names[] = {"ssh-*", "tmux-*", "screens", "uscreens", "S-*", "dbus-*", "emacs*", "gpg*", "S.gpg*", "keyring*",
                                        "pulse*", "wayland-*", "agent.*", "docker.sock", "containerd.sock", "libvirt-sock*", "nvim*", "vscode-*"};
    const char *path = *socket == '@' ? socket + 1 : socket;
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
        if (in_variable(path, variables[i]))
            return true;
    }
    for (char **part = parts; *part; part++) {
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
            if (g_pattern_match_simple(names[i], *part))
                return true;
        }
    }
    return broker_is_below(path, (const char *const[]){"/run", "/var/run", "/proc", NULL});
}

bool broker_is_public(const char *path, int flags)
{
    static const char *const places[] = {"/usr", "/etc", "/lib", "/lib64", "/proc/sys", "/proc/filesystems", "/proc/cpuinfo", "/proc/meminfo",
                                         "/proc/stat", "/proc/version", "/sys/devices/system", "/dev/null", "/dev/zero",
                                         "/dev/full", "/dev/random", "/dev/urandom", "/var/lib/ca-certificates", NULL};

    /* A new pair for the person; others' sides have other names. */
    if (!strcmp(path, "/dev/ptmx"))
        return !(flags & (O_CREAT | O_EXCL));
    if (!strcmp(path, "/dev/null") || !strcmp(path, "/dev/zero") || !strcmp(path, "/dev/full"))
        return !(flags & (O_CREAT | O_EXCL));
    return (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY && (flags & O_TMPFILE) != O_TMPFILE && broker_is_below(path, places);
}

/* Whoever asks could read it without being anybody: no folder on the way is shut, and it is nobody's own. */
bool broker_public_fd(int fd, const char *real)
{
    g_autofree char *dir = g_strdup(real);
    struct stat st;
    char *slash;

    if (*real != '/' || fstat(fd, &st) || st.st_uid >= SYSTEM_USERS || !(st.st_mode & S_IROTH))
        return false;
    while ((slash = strrchr(dir, '/')) != dir) {
        *slash = '\0';
        if (stat(dir, &st) || !(st.st_mode & S_IXOTH))
            return false;
    }
    return true;
}
