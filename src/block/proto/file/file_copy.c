/* Copies between two files that never pass through this program. */
#include "block/proto/file/file_int.h"

#include "base/checked.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What these calls say when files, file systems or alignment do not suit them: the caller reads and writes instead. */
static int refusal(int error)
{
    switch (error) {
    case EXDEV:
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
    case EINVAL:
    case EPERM: /* a seccomp filter, an immutable or swap file: write() will say it again */
    case ETXTBSY:
    case EBADF:
        return -ENOTSUP;
    default:
        return -error;
    }
}

static int share_blocks(int from, uint64_t src, int to, uint64_t dst, uint64_t len)
{
    struct file_clone_range r = {.src_fd = from, .src_offset = src, .src_length = len, .dest_offset = dst};

    while (ioctl(to, FICLONERANGE, &r) < 0)
        if (errno != EINTR)
            return refusal(errno);
    return 0;
}

static int copy_in_kernel(int from, uint64_t src, int to, uint64_t dst, uint64_t len, uint64_t *done)
{
    loff_t in = src, out = dst;
    ssize_t n;

    do
        n = copy_file_range(from, &in, to, &out, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return refusal(errno);
    if (n == 0)
        return -ENOTSUP; /* the file ends here; some file systems say so too when they cannot */
    *done = n;
    return 0;
}

int viv_file_copy_range(struct viv_node *from, uint64_t src, struct viv_node *to, uint64_t dst, uint64_t len, bool share,
                        uint64_t *done)
{
    int in = viv_file_fd(from), out = viv_file_fd(to), ret;
    uint64_t end;
    bool behind;

    if (in < 0 || out < 0)
        return -ENOTSUP;
    if (to->read_only)
        return -EROFS;
    if (!len || !viv_add_u64(src, len, &end) || end > INT64_MAX || !viv_add_u64(dst, len, &end) || end > INT64_MAX)
        return -EINVAL;
    *done = len;
    behind = viv_file_tail_lock(to, end);
    ret = share ? share_blocks(in, src, out, dst, len) : copy_in_kernel(in, src, out, dst, len, done);
    if (!ret)
        viv_file_grew(to, dst + *done);
    viv_file_tail_unlock(to, behind);
    return ret;
}
