/* What POSIX says of files and folders, case by case, in the folder named: one line for each, "case RESULT", that is the same on every
 * file system that keeps to it. Run as root in a guest; run where all is well it says "ok" in every line. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int bad;

static void result(const char *name, int line, int ok)
{
    if (ok)
        printf("case %s:%d ok\n", name, line);
    else
        printf("case %s:%d DIFFERS (errno %d)\n", name, line, errno);
    bad += !ok;
}

#define IS(x)     (errno = 0, result(__func__, __LINE__, (x)))
#define FAILS(e, x) (errno = 0, result(__func__, __LINE__, (x) == -1 && errno == (e)))

static struct stat st, st2;

static int file(const char *name, mode_t mode, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode), rc;

    if (fd < 0)
        return -1;
    rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
    return close(fd) < 0 ? -1 : rc;
}

static int holds(const char *name, const char *text)
{
    char buf[256];
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

static mode_t mode_of(const char *name)
{
    return lstat(name, &st) ? 0 : st.st_mode;
}

/* As another user: 0, or the errno. */
static int as(uid_t uid, gid_t gid, int (*fn)(void))
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        if (setgid(gid) || setuid(uid))
            _exit(255);
        _exit(fn() ? errno : 0);
    }
    waitpid(pid, &status, 0);
    errno = WEXITSTATUS(status);
    return errno;
}

static void t_open(void)
{
    int fd;

    IS((fd = open("o", O_RDWR | O_CREAT | O_EXCL, 04751)) >= 0);
    IS(mode_of("o") == (S_IFREG | 04751));
    FAILS(EEXIST, open("o", O_RDWR | O_CREAT | O_EXCL, 0600));
    FAILS(ENOENT, open("nothing", O_RDONLY));
    FAILS(ENOTDIR, open("o/x", O_RDONLY));
    FAILS(ENOTDIR, open("o", O_RDONLY | O_DIRECTORY));
    FAILS(EISDIR, open(".", O_RDWR));
    IS(write(fd, "0123456789", 10) == 10 && lseek(fd, 0, SEEK_CUR) == 10);
    IS(pwrite(fd, "x", 1, 100) == 1 && !fstat(fd, &st) && st.st_size == 101);
    close(fd);
    IS((fd = open("o", O_WRONLY | O_TRUNC)) >= 0 && !fstat(fd, &st) && !st.st_size);
    FAILS(EBADF, read(fd, &st2, 1));
    close(fd);
    IS(!file("o", 0, "abc") && (fd = open("o", O_WRONLY | O_APPEND)) >= 0 && write(fd, "def", 3) == 3);
    IS(holds("o", "abcdef"));
    close(fd);
    umask(027);
    IS((fd = open("u", O_RDWR | O_CREAT, 0666)) >= 0 && mode_of("u") == (S_IFREG | 0640));
    close(fd);
    umask(0);
    IS(!unlink("o") && !unlink("u"));
}

static void t_open_unlinked(void)
{
    char buf[8];
    int fd = open("gone", O_RDWR | O_CREAT, 0600);

    IS(!unlink("gone"));
    IS(write(fd, "still", 5) == 5 && pread(fd, buf, 8, 0) == 5 && !memcmp(buf, "still", 5));
    IS(!fstat(fd, &st) && st.st_size == 5);
    IS(!ftruncate(fd, 2) && !fstat(fd, &st) && st.st_size == 2);
    IS(!fchmod(fd, 0644));
    FAILS(ENOENT, access("gone", F_OK));
    close(fd);
}

static void t_truncate(void)
{
    char buf[16] = "";
    int fd;

    IS(!file("t", 0644, "hello") && !truncate("t", 8) && !stat("t", &st) && st.st_size == 8);
    fd = open("t", O_RDONLY);
    IS(read(fd, buf, 16) == 8 && !memcmp(buf, "hello\0\0\0", 8));
    FAILS(EINVAL, ftruncate(fd, 0));
    close(fd);
    IS(!truncate("t", 2) && holds("t", "he"));
    FAILS(EISDIR, truncate(".", 0));
    FAILS(ENOENT, truncate("nothing", 0));
    IS(!truncate("t", 5000000000ll) && !stat("t", &st) && st.st_size == 5000000000ll && st.st_blocks < 1000);
    IS((fd = open("t", O_RDWR)) >= 0 && pwrite(fd, "end", 3, 4999999999ll) == 3 && pread(fd, buf, 3, 4999999999ll) == 3);
    close(fd);
    IS(!unlink("t"));
}

static void t_mkdir(void)
{
    IS(!mkdir("d", 01777) && mode_of("d") == (S_IFDIR | 01777));
    FAILS(EEXIST, mkdir("d", 0700));
    FAILS(ENOENT, mkdir("nothing/d", 0700));
    IS(!stat("d", &st) && st.st_nlink == 2);
    IS(!file("d/f", 0600, "x"));
    FAILS(ENOTEMPTY, rmdir("d"));
    FAILS(ENOTDIR, rmdir("d/f"));
    IS(unlink("d") == -1 && (errno == EISDIR || errno == EPERM));
    IS(!unlink("d/f") && !rmdir("d"));
    FAILS(ENOENT, rmdir("d"));
    IS(!mkdir("d", 0700) && !chmod("d", 02755) && !chown("d", 0, 55) && !chmod("d", 02755) && !file("d/f", 0644, ""));
    IS(!stat("d/f", &st) && st.st_gid == 55);
    IS(!mkdir("d/s", 0755) && !stat("d/s", &st) && st.st_gid == 55 && st.st_mode & S_ISGID);
    IS(!rmdir("d/s") && !unlink("d/f") && !rmdir("d"));
}

static void t_link(void)
{
    IS(!file("a", 0640, "text") && !link("a", "b") && !stat("a", &st) && !stat("b", &st2));
    IS(st.st_ino == st2.st_ino && st.st_nlink == 2 && st2.st_mode == (S_IFREG | 0640));
    FAILS(EEXIST, link("a", "b"));
    FAILS(EPERM, link(".", "dirlink"));
    FAILS(ENOENT, link("nothing", "c"));
    IS(!chmod("a", 0600) && !stat("b", &st) && st.st_mode == (S_IFREG | 0600));
    IS(!chown("b", 7, 8) && !stat("a", &st) && st.st_uid == 7 && st.st_gid == 8);
    IS(!rename("a", "b") && !access("a", F_OK)); /* two names of one file: nothing happens */
    IS(!unlink("a") && !stat("b", &st) && st.st_nlink == 1 && st.st_uid == 7);
    IS(!symlink("b", "s") && !linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0) && !lstat("s2", &st) && S_ISLNK(st.st_mode));
    IS(!unlink("b") && !unlink("s") && !unlink("s2"));
}

static void t_symlink(void)
{
    static char longest[PATH_MAX], buf[PATH_MAX];

    IS(!symlink("target", "l") && mode_of("l") == (S_IFLNK | 0777) && st.st_size == 6);
    IS(readlink("l", buf, sizeof(buf)) == 6 && !memcmp(buf, "target", 6));
    FAILS(ENOENT, open("l", O_RDONLY));
    FAILS(EEXIST, symlink("x", "l"));
    FAILS(EINVAL, readlink(".", buf, sizeof(buf)));
    IS(!lchown("l", 5, 6) && !lstat("l", &st) && st.st_uid == 5 && st.st_gid == 6);
    IS(!file("target", 0600, "t") && holds("l", "t"));
    FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
    IS(!unlink("target") && !unlink("l"));
    IS(!symlink("loop", "loop"));
    FAILS(ELOOP, open("loop", O_RDONLY));
    IS(!unlink("loop"));
    memset(longest, 'x', 4000);
    IS(!symlink(longest, "long") && readlink("long", buf, sizeof(buf)) == 4000);
    IS(!unlink("long"));
}

static void t_rename(void)
{
    IS(!file("a", 0600, "a") && !file("b", 0644, "b") && !rename("a", "b") && holds("b", "a") && mode_of("b") == (S_IFREG | 0600));
    FAILS(ENOENT, rename("a", "c"));
    IS(!mkdir("d", 0700) && !mkdir("e", 0750) && !rename("d", "e") && mode_of("e") == (S_IFDIR | 0700));
    FAILS(EISDIR, rename("b", "e"));
    FAILS(ENOTDIR, rename("e", "b"));
    IS(!rename("b", "e/b") && holds("e/b", "a"));
    IS(!mkdir("d", 0700));
    IS(rename("d", "e") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
    FAILS(EINVAL, rename("e", "e/sub"));
    IS(!mkdir("e/sub", 0711) && !rename("e/sub", "d/sub") && mode_of("d/sub") == (S_IFDIR | 0711));
    IS(!rename("e", "d/sub/e") && holds("d/sub/e/b", "a"));
    IS(!unlink("d/sub/e/b") && !rmdir("d/sub/e") && !rmdir("d/sub") && !rmdir("d"));
}

static void t_rename_open(void)
{
    char buf[4];
    int fd, dir = -1;

    IS(!mkdir("d", 0700) && (dir = open("d", O_RDONLY | O_DIRECTORY)) >= 0 && !file("d/f", 0600, "one"));
    fd = open("d/f", O_RDWR);
    IS(!rename("d", "moved") && pread(fd, buf, 3, 0) == 3 && pwrite(fd, "two", 3, 0) == 3 && holds("moved/f", "two"));
    IS(!fstatat(dir, "f", &st, 0) && st.st_size == 3);
    IS(!fstat(fd, &st) && st.st_mode == (S_IFREG | 0600));
    IS(!file("g", 0600, "other") && !rename("g", "moved/f") && pread(fd, buf, 3, 0) == 3 && !memcmp(buf, "two", 3));
    close(fd);
    close(dir);
    IS(!unlink("moved/f") && !rmdir("moved"));
}

static void t_names(void)
{
    char name[300];

    memset(name, 'n', sizeof(name));
    name[255] = 0;
    IS(!file(name, 0600, "x") && !stat(name, &st) && !unlink(name));
    name[255] = 'n';
    name[256] = 0;
    FAILS(ENAMETOOLONG, open(name, O_CREAT | O_RDWR, 0600));
    FAILS(ENAMETOOLONG, mkdir(name, 0600));
    IS(!file("\xc3\xa4 \t\n\\\"*", 0600, "x") && !unlink("\xc3\xa4 \t\n\\\"*"));
    IS(!file("...", 0600, "x") && !unlink("..."));
    IS(!file(".hidden", 0600, "x") && !unlink(".hidden"));
}

static void t_mode(void)
{
    IS(!file("f", 0644, "x") && !chmod("f", 07777) && mode_of("f") == (S_IFREG | 07777));
    IS(!chown("f", 1000, 1001) && !stat("f", &st) && st.st_uid == 1000 && st.st_gid == 1001);
    IS(!(st.st_mode & (S_ISUID | S_ISGID)));
    IS(!chown("f", -1, 1002) && !stat("f", &st) && st.st_uid == 1000 && st.st_gid == 1002);
    IS(!chmod("f", 0) && mode_of("f") == S_IFREG);
    IS(!chmod("f", 04755) && !truncate("f", 0) && mode_of("f") & 0755);
    IS(!unlink("f"));
}

static int try_read(void)
{
    int fd = open("secret", O_RDONLY);

    return fd < 0 ? -1 : close(fd);
}

static int try_make(void)
{
    int fd = open("made", O_CREAT | O_RDWR, 0600);

    return fd < 0 ? -1 : close(fd);
}

static int try_unlink(void)
{
    return unlink("sticky/f");
}

static int try_chmod(void)
{
    return chmod("secret", 0777);
}

static int try_chown(void)
{
    return chown("mine", 0, -1);
}

static void t_access(void)
{
    IS(!chmod(".", 0755) && !file("secret", 0600, "x"));
    IS(as(1000, 1000, try_read) == EACCES);
    IS(as(1000, 1000, try_make) == EACCES);
    IS(as(1000, 1000, try_chmod) == EPERM);
    IS(!chmod("secret", 0640) && !chown("secret", 0, 1000) && !as(1000, 1000, try_read));
    IS(!chmod(".", 0777) && !as(1000, 1000, try_make) && !stat("made", &st) && st.st_uid == 1000 && st.st_gid == 1000);
    IS(!mkdir("sticky", 01777) && !file("sticky/f", 0666, "x") && as(1000, 1000, try_unlink) == EPERM);
    IS(!file("mine", 0600, "x") && !chown("mine", 1000, 1000) && as(1000, 1000, try_chown) == EPERM);
    IS(!unlink("mine") && !unlink("sticky/f") && !rmdir("sticky") && !unlink("made") && !unlink("secret") && !chmod(".", 0755));
}

static void t_times(void)
{
    struct timespec t[2] = {{1000000, 5000}, {2000000000, 999999000}}, omit[2] = {{0, UTIME_OMIT}, {3000, 0}};

    IS(!file("f", 0644, "x") && !utimensat(AT_FDCWD, "f", t, 0) && !stat("f", &st));
    IS(st.st_atim.tv_sec == 1000000 && st.st_mtim.tv_sec == 2000000000);
    IS(!utimensat(AT_FDCWD, "f", omit, 0) && !stat("f", &st) && st.st_atim.tv_sec == 1000000 && st.st_mtim.tv_sec == 3000);
    IS(!utimensat(AT_FDCWD, "f", NULL, 0) && !stat("f", &st) && st.st_mtim.tv_sec > 1000000000);
    IS(!symlink("f", "l") && !utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW) && !lstat("l", &st) && st.st_mtim.tv_sec == 2000000000);
    IS(!utimensat(AT_FDCWD, "f", t, 0) && !file("f", 0644, "yy") && !stat("f", &st) && st.st_mtim.tv_sec != 2000000000);
    IS(!utimensat(AT_FDCWD, ".", t, 0) && !file("new", 0600, "") && !stat(".", &st) && st.st_mtim.tv_sec != 2000000000);
    IS(!unlink("f") && !unlink("l") && !unlink("new"));
}

static void t_nanoseconds(void)
{
    struct timespec t[2] = {{1000000, 5000}, {2000000000, 999999000}};

    IS(!file("f", 0644, "x") && !utimensat(AT_FDCWD, "f", t, 0) && !stat("f", &st) && st.st_mtim.tv_nsec / 1000 == 999999);
    unlink("f");
}

static void t_nodes(void)
{
    struct sockaddr_un sa = {AF_UNIX, "sock"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), fd, fd2 = -1;
    char buf[4];

    IS(!mkfifo("p", 0620) && mode_of("p") == (S_IFIFO | 0620));
    IS((fd = open("p", O_RDWR | O_NONBLOCK)) >= 0 && (fd2 = open("p", O_WRONLY | O_NONBLOCK)) >= 0);
    IS(write(fd2, "pipe", 4) == 4 && read(fd, buf, 4) == 4 && !memcmp(buf, "pipe", 4));
    close(fd);
    close(fd2);
    IS(!bind(s, (struct sockaddr *)&sa, sizeof(sa)) && S_ISSOCK(mode_of("sock")));
    IS(!listen(s, 1) && (fd = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0 && !connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
    close(fd);
    close(s);
    IS(!mknod("c", S_IFCHR | 0666, makedev(1, 5)) && mode_of("c") == (S_IFCHR | 0666) && st.st_rdev == makedev(1, 5));
    IS((fd = open("c", O_RDONLY)) >= 0 && read(fd, buf, 4) == 4 && !memcmp(buf, "\0\0\0\0", 4));
    close(fd);
    IS(!mknod("b", S_IFBLK | 0600, makedev(259, 70000)) && !lstat("b", &st) && S_ISBLK(st.st_mode) && st.st_rdev == makedev(259, 70000));
    IS(!rename("c", "c2") && S_ISCHR(mode_of("c2")) && !link("c2", "c3") && S_ISCHR(mode_of("c3")));
    unlink("c"); /* left where the node could be made but not renamed */
    IS(!unlink("p") && !unlink("sock") && !unlink("c2") && !unlink("c3") && !unlink("b"));
}

enum { MANY = 500 };

static void t_readdir(void)
{
    static char seen[MANY];
    struct dirent *e;
    char name[300];
    int count = 0, extra = 0, types = 1;
    long where = 0;
    DIR *d;

    IS(!mkdir("many", 0755));
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "many/%0*d", 1 + i % 50, i);
        if (file(name, 0600, ""))
            IS(0);
    }
    d = opendir("many");
    while (d && (e = readdir(d))) {
        int i = atoi(e->d_name);

        if (e->d_name[0] == '.') {
            extra++;
        } else if (i >= 0 && i < MANY && !seen[i]++) {
            count++;
            types &= e->d_type == DT_REG || e->d_type == DT_UNKNOWN;
        }
        if (count == MANY / 2 && !where)
            where = telldir(d);
    }
    IS(count == MANY && extra == 2 && types);
    seekdir(d, where);
    for (count = 0; readdir(d);)
        count++;
    IS(count >= MANY / 2 - 2 && count <= MANY / 2 + 2);
    rewinddir(d);
    while ((e = readdir(d))) {
        snprintf(name, sizeof(name), "many/%s", e->d_name);
        if (e->d_name[0] != '.' && unlink(name))
            IS(0);
    }
    closedir(d);
    IS(!rmdir("many"));
}

static int other_lock(short type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int status;

    fflush(stdout);
    if (!fork()) {
        int fd = open("lock", O_RDWR);

        _exit(fcntl(fd, F_SETLK, &l) < 0 ? errno : 0);
    }
    wait(&status);
    return WEXITSTATUS(status);
}

static void t_lock(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    int fd = -1, fd2 = -1;

    IS(!file("lock", 0600, "x") && (fd = open("lock", O_RDWR)) >= 0 && (fd2 = open("lock", O_RDWR)) >= 0);
    IS(!fcntl(fd, F_SETLK, &l) && other_lock(F_WRLCK, 0, 10) == 0 && other_lock(F_RDLCK, 15, 1) == EAGAIN);
    IS(!fcntl(fd2, F_SETLK, &l)); /* of the same process */
    l.l_type = F_UNLCK;
    IS(!fcntl(fd, F_SETLK, &l) && other_lock(F_WRLCK, 0, 0) == 0);
    l.l_type = F_RDLCK;
    IS(!fcntl(fd, F_SETLK, &l) && other_lock(F_RDLCK, 0, 0) == 0 && other_lock(F_WRLCK, 0, 0) == EAGAIN);
    close(fd2); /* drops them all */
    IS(other_lock(F_WRLCK, 0, 0) == 0);
    close(fd);
    IS(!unlink("lock"));
}

static void t_xattr(void)
{
    char buf[64];

    IS(!file("x", 0600, "x") && !setxattr("x", "user.a", "value", 5, XATTR_CREATE));
    IS(getxattr("x", "user.a", buf, 64) == 5 && !memcmp(buf, "value", 5));
    FAILS(EEXIST, setxattr("x", "user.a", "v", 1, XATTR_CREATE));
    FAILS(ENODATA, setxattr("x", "user.b", "v", 1, XATTR_REPLACE));
    FAILS(ENODATA, getxattr("x", "user.b", buf, 64));
    FAILS(ERANGE, getxattr("x", "user.a", buf, 2));
    IS(listxattr("x", buf, 64) == 7 && !memcmp(buf, "user.a", 7));
    IS(!removexattr("x", "user.a") && !listxattr("x", buf, 64));
    IS(!unlink("x"));
}

static void t_mmap(void)
{
    char *p;
    int fd;

    IS(!file("m", 0600, "mapped text"));
    fd = open("m", O_RDWR);
    p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    IS(p != MAP_FAILED && !memcmp(p, "mapped text", 11) && !p[11]);
    close(fd);
    IS(!unlink("m"));
}

static void t_fs(void)
{
    struct statvfs v;
    int fd;

    IS(!statvfs(".", &v) && v.f_namemax == 255 && v.f_blocks && v.f_bfree <= v.f_blocks);
    IS((fd = open("s", O_CREAT | O_RDWR, 0600)) >= 0 && !fsync(fd) && !fdatasync(fd));
    close(fd);
    IS((fd = open(".", O_RDONLY)) >= 0 && !fsync(fd));
    close(fd);
    IS(!unlink("s"));
}

int main(int argc, char **argv)
{
    umask(0);
    if (argc != 2 || chdir(argv[1]) || mkdir("posix", 0755) || chdir("posix")) {
        perror("posixfs FOLDER");
        return 2;
    }
    t_open();
    t_open_unlinked();
    t_truncate();
    t_mkdir();
    t_link();
    t_symlink();
    t_rename();
    t_rename_open();
    t_names();
    t_mode();
    t_access();
    t_times();
    t_nanoseconds();
    t_nodes();
    t_readdir();
    t_lock();
    t_xattr();
    t_mmap();
    t_fs();
    result("end", 0, !chdir("..") && !rmdir("posix"));
    printf("posixfs: %d differ\n", bad);
    return bad > 0;
}
