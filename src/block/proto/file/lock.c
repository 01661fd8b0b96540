/* Image locks, compatible on the wire with the programs people already use.
 *
 * They are open-file-description locks (fcntl F_OFD_SETLK) of single bytes of the image file itself. For each
 * permission p in {0 consistent read, 1 write, 2 write unchanged, 3 resize}:
 *   byte 100 + p is read-locked while p is used,
 *   byte 200 + p is read-locked while p is not shared with others.
 * All are shared locks, so taking them never fails; afterwards each side tests (F_OFD_GETLK with F_WRLCK) that
 * nobody refuses what it uses (200 + p) and that nobody uses what it refuses (100 + p). Two that start
 * at once may both fail, never both succeed. Seen with strace of Debian's qemu-img 7.2; docs/block.md.
 *
 * The kernel does not tell whose an OFD lock is (l_pid is -1), but /proc/PID/fdinfo/N lists the locks of each
 * open file: who holds the byte is found there, as far as this user may look. */
#include "block/proto/file/lock.h"
#include "block/block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BASE_USED     100
#define BASE_UNSHARED 200
#define PERM_BYTES    4

/* Index is the byte's offset from its base; 2 (write unchanged) is never ours. */
static const unsigned perm_of_byte[PERM_BYTES] = {VIV_PERM_READ, VIV_PERM_WRITE, 0,
                                                  VIV_PERM_RESIZE};
static const char *const perm_names[PERM_BYTES] = {"read", "write", "rewrite", "resize"};

static int set_lock(int fd, int type, off_t byte)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    while (fcntl(fd, F_OFD_SETLK, &l) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* Does another open file hold it? */
static int test_lock(int fd, off_t byte)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    while (fcntl(fd, F_OFD_GETLK, &l) < 0)
        if (errno != EINTR)
            return -errno;
    return l.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* Does fdinfo text `f` list an OFD lock on `byte`? */
static bool lists_lock(FILE *f, off_t byte)
{
    char line[256];

    while (fgets(line, sizeof(line), f)) {
        long long first, last;
        char end[32];

        /* "lock:\t1: OFDLCK  ADVISORY  READ -1 fe:00:1234 100 101" */
        if (sscanf(line, "lock: %*d: OFDLCK %*s %*s %*s %*s %lld %31s", &first, end) != 2)
            continue;
        last = strcmp(end, "EOF") == 0 ? INT64_MAX : atoll(end);
        if (first <= byte && byte <= last)
            return true;
    }
    return false;
}

static bool fd_holds(const char *pid, const char *fd, const struct stat *image, off_t byte)
{
    char path[64];
    struct stat st;
    FILE *f;
    bool found;

    snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, fd);
    if (stat(path, &st) || st.st_dev != image->st_dev || st.st_ino != image->st_ino)
        return false;
    snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
    f = fopen(path, "re");
    if (!f)
        return false;
    found = lists_lock(f, byte);
    fclose(f);
    return found;
}

static bool process_holds(const char *pid, const struct stat *image, off_t byte, int own_fd)
{
    char path[64];
    struct dirent *d;
    bool found = false;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    dir = opendir(path);
    if (!dir)
        return false;
    while (!found && (d = readdir(dir)) != NULL) {
        if (d->d_name[0] == '.' || (atoi(pid) == getpid() && atoi(d->d_name) == own_fd))
            continue;
        found = fd_holds(pid, d->d_name, image, byte);
    }
    closedir(dir);
    return found;
}

static void command_of(const char *pid, char *out, size_t size)
{
    char path[64];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
    f = fopen(path, "re");
    if (f) {
        n = fread(out, 1, size - 1, f);
        fclose(f);
    }
    while (n && out[n - 1] == '\0')
        n--;
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < ' ')
            out[i] = ' ';
}

/* "process 123 (qemu-system-x86_64 -m 1G ...)" */
static void find_holder(int fd, off_t byte, char *out, size_t size)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;
    struct stat image;

    snprintf(out, size, "another process (not visible to this user: try as root, or `lslocks`)");
    if (!proc)
        return;
    while (fstat(fd, &image) == 0 && (d = readdir(proc)) != NULL) {
        char cmd[200], text[320];

        if (d->d_name[0] < '0' || d->d_name[0] > '9' || !process_holds(d->d_name, &image, byte, fd))
            continue;
        if (atoi(d->d_name) == getpid()) {
            snprintf(out, size, "this process itself (is the image given twice?)");
        } else {
            command_of(d->d_name, cmd, sizeof(cmd));
            snprintf(text, sizeof(text), "process %.16s (%.199s)", d->d_name, cmd[0] ? cmd : "?");
            snprintf(out, size, "%s", text);
        }
        break;
    }
    closedir(proc);
}

static int conflict(int fd, const char *path, bool writer, off_t byte, struct viv_err *err)
{
    char holder[320];
    bool used = byte < BASE_UNSHARED;
    const char *perm = perm_names[used ? byte - BASE_USED : byte - BASE_UNSHARED];

    find_holder(fd, byte, holder, sizeof(holder));
    return viv_fail(err, EAGAIN, "Failed to get %s \"%s\" lock: %s %s '%s'. %s",
                    used ? "shared" : "exclusive", perm, holder,
                    used ? "has the right to write" : "does not let others write", path,
                    writer ? "Stop it first, or work on a copy."
                           : "Stop it first, or read the image as it is at this moment with -U "
                             "(--force-share).");
}

void viv_file_unlock_writes(int fd)
{
    for (int i = 0; i < PERM_BYTES; i++)
        if (perm_of_byte[i] & ~(unsigned)VIV_PERM_READ)
            set_lock(fd, F_UNLCK, BASE_USED + i);
}

void viv_file_unlock(int fd)
{
    for (int i = 0; i < PERM_BYTES; i++) {
        set_lock(fd, F_UNLCK, BASE_USED + i);
        set_lock(fd, F_UNLCK, BASE_UNSHARED + i);
    }
}

static int take(int fd, const bool *used, const bool *unshared)
{
    for (int i = 0; i < PERM_BYTES; i++) {
        int ret = 0;

        if (used[i])
            ret = set_lock(fd, F_RDLCK, BASE_USED + i);
        if (!ret && unshared[i])
            ret = set_lock(fd, F_RDLCK, BASE_UNSHARED + i);
        if (ret)
            return ret;
    }
    return 0;
}

static int lock(int fd, const char *path, unsigned perms, unsigned shared, void (*undo)(int fd), struct viv_err *err)
{
    bool used[PERM_BYTES], unshared[PERM_BYTES];
    bool writer = perms & (VIV_PERM_WRITE | VIV_PERM_RESIZE);
    int ret;

    for (int i = 0; i < PERM_BYTES; i++) {
        used[i] = perm_of_byte[i] & perms;
        unshared[i] = perm_of_byte[i] && !(perm_of_byte[i] & shared);
    }
    ret = take(fd, used, unshared);
    for (int i = 0; !ret && i < PERM_BYTES; i++) {
        if (used[i] && (ret = test_lock(fd, BASE_UNSHARED + i)) == -EAGAIN)
            conflict(fd, path, writer, BASE_UNSHARED + i, err);
        if (!ret && unshared[i] && (ret = test_lock(fd, BASE_USED + i)) == -EAGAIN)
            conflict(fd, path, writer, BASE_USED + i, err);
    }
    if (!ret)
        return 0;
    undo(fd);
    if (ret == -EAGAIN)
        return ret;
    if (ret == -EINVAL || ret == -ENOSYS || ret == -EOPNOTSUPP || ret == -ENOLCK)
        return viv_fail_os(err, ENOTSUP, "'%s': this file system cannot lock files", path);
    return viv_fail_os(err, -ret, "cannot lock '%s'", path);
}

int viv_file_lock(int fd, const char *path, unsigned perms, unsigned shared, struct viv_err *err)
{
    return lock(fd, path, perms, shared, viv_file_unlock, err);
}

int viv_file_lock_more(int fd, const char *path, unsigned perms, unsigned shared, struct viv_err *err)
{
    return lock(fd, path, perms, shared, viv_file_unlock_writes, err);
}
