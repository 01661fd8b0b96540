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
 * Who holds a byte is found in /proc (host/lock_holder.c). */
#include "block/proto/file/lock.h"
#include "block/block.h"
#include "host/broker.h"

#include <errno.h>
#include <fcntl.h>
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

static int conflict(int fd, const char *path, bool writer, off_t byte, struct viv_err *err)
{
    char holder[320];
    bool used = byte < BASE_UNSHARED;
    const char *perm = perm_names[used ? byte - BASE_USED : byte - BASE_UNSHARED];

    viv_broker_lock_holder(fd, byte, holder, sizeof(holder));
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

/* What `from` has and `to` has not. */
static void drop(int fd, const struct viv_file_rights *from, const struct viv_file_rights *to)
{
    for (int i = 0; i < PERM_BYTES; i++) {
        unsigned p = perm_of_byte[i];

        if (from->perms & ~to->perms & p)
            set_lock(fd, F_UNLCK, BASE_USED + i);
        if (~from->shared & to->shared & p)
            set_lock(fd, F_UNLCK, BASE_UNSHARED + i);
    }
}

static void keep(int fd)
{
}

int viv_file_relock(int fd, const char *path, const struct viv_file_rights *was, const struct viv_file_rights *now, struct viv_err *err)
{
    int ret = lock(fd, path, now->perms, now->shared, keep, err);

    drop(fd, ret ? now : was, ret ? was : now);
    return ret;
}

int viv_file_lock_more(int fd, const char *path, unsigned perms, unsigned shared, struct viv_err *err)
{
    return lock(fd, path, perms, shared, viv_file_unlock_writes, err);
}
