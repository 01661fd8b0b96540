/* What a confined process may open, make and start by name: files, folders, sockets, programs. */
#include "host/sandbox_try.h"

#include "host/broker_int.h"
#include "host/open.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static void files(const void *arg)
{
    g_autofree char *named = in_dir("named"), *other = in_dir("other"), *image = in_dir("ima,ge"), *hidden = in_dir(".hidden");
    g_autofree char *doubled = in_dir("ima,,ge"), *words = g_strdup_printf("drive_add 0 file=%s,if=none", doubled), *more = g_strdup_printf("x %s /usr/viv-none", hidden);
    struct viv_err err = VIV_ERR_INIT;
    int fd = viv_open(named, O_RDONLY, 0, &err), again;

    CHECK(fd >= 0);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK((again = viv_open(named, O_RDWR, 0, &err)) >= 0); /* not the system's: for writing, too */
    CHECK(viv_open_again(fd, O_RDWR, &err) >= 0);
    CHECK(viv_open(other, O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "neither the command line nor"));
    CHECK(open(other, O_RDONLY) < 0 && errno == EACCES); /* past viv_open() */
    CHECK(open("/etc/hostname", O_RDONLY) >= 0 || errno == ENOENT);
    CHECK(open("/etc/shadow", O_RDONLY) < 0);
    CHECK(open("/etc/hostname", O_RDWR) < 0 && errno == EACCES);
    CHECK(open("/dev/null", O_RDWR) >= 0 && open("/proc/self/maps", O_RDONLY) >= 0);
    CHECK(open("/proc/self/mem", O_RDWR) < 0 && open("/proc/1/environ", O_RDONLY) < 0);
    CHECK(unlink(other) < 0 && errno == EACCES && rename(other, image) < 0 && errno == EACCES);
    viv_err_clear(&err);
    CHECK(viv_open(image, O_RDWR, 0, &err) == -EACCES);
    viv_broker_words(words);
    CHECK(viv_open(image, O_RDWR, 0, NULL) >= 0);
    viv_broker_words(more);
    viv_err_clear(&err);
    CHECK(viv_open(hidden, O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "no hidden files"));
    viv_err_clear(&err);
    CHECK(viv_open("/usr/viv-none", O_WRONLY | O_CREAT, 0600, &err) == -EACCES && strstr(err.text, "nothing of the system's"));
}

static void test_files(void)
{
    static const char *const names[] = {"named", "other", "ima,ge", ".hidden"};
    g_autofree char *said = NULL;
    int status;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = in_dir(names[i]);

        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    status = confined(&lenient, files, NULL, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

static int listen_at(const char *name)
{
    g_autofree char *path = in_dir(name);
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
    return viv_unix_listen((struct sockaddr *)&a, sizeof(a), 1, NULL);
}

/* Sockets are asked for by their full names, whatever a monitor called them. */
static void socket_names(const void *arg)
{
    g_autofree char *here = in_dir(""), *base = g_path_get_basename(here), *roundabout = in_dir("x/..//round");
    g_autofree char *words = g_strdup_printf("path=rel,id=c path=./dot ../%s/up %s \"a b=c\" .hid other.not", base, roundabout);

    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK(listen_at("rel") == -EACCES);
    viv_broker_words(words);
    CHECK(listen_at("rel") >= 0 && listen_at("dot") >= 0 && listen_at("up") >= 0 && listen_at("round") >= 0 && listen_at("a b=c") >= 0);
    CHECK(listen_at("other") == -EACCES && listen_at("el") == -EACCES && listen_at(".hid") == -EACCES);
}

static void test_socket_names(void)
{
    g_autofree char *said = NULL, *here = g_get_current_dir(), *there = in_dir("");
    int status;

    g_assert_cmpint(chdir(there), ==, 0);
    status = confined(&lenient, socket_names, NULL, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(chdir(here), ==, 0);
}

/* Links made after the start by somebody else, here a process that is not confined, lead nowhere. */
static void links(const void *arg)
{
    g_autofree char *folder = in_dir("folder"), *disk = in_dir("folder/disk"), *other = in_dir("other"), *away = in_dir("away");
    g_autofree char *link = in_dir("link"), *past = in_dir("link/../folder/disk"), *named = in_dir("named"), *fine = in_dir("fine");
    g_autofree char *words = g_strdup_printf("%s %s/disk %s /proc/self/root%s", link, link, fine, other), *sock = in_dir("sock");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct viv_err err = VIV_ERR_INIT;
    const int *go = arg;
    char byte;
    int l;

    g_strlcpy(a.sun_path, sock, sizeof(a.sun_path));
    CHECK((l = viv_unix_connect((struct sockaddr *)&a, sizeof(a), NULL)) >= 0);
    CHECK(viv_open(disk, O_RDWR, 0, &err) >= 0 && viv_open(fine, O_RDONLY, 0, &err) >= 0);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK(viv_open(fine, O_RDWR, 0, &err) >= 0); /* a link of the person's */
    CHECK(write(go[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
    CHECK(viv_open(disk, O_RDWR, 0, &err) == -EACCES); /* its folder is a link to another now */
    CHECK(viv_open(past, O_RDWR, 0, &err) < 0);
    CHECK(unlink(disk) < 0 && errno == EACCES);
    CHECK(viv_unix_connect((struct sockaddr *)&a, sizeof(a), NULL) < 0);
    CHECK(viv_unix_listen((struct sockaddr *)&a, sizeof(a), 1, NULL) == -EACCES); /* who was a client takes no server's place */
    viv_broker_words(words);
    viv_err_clear(&err);
    CHECK(viv_open(link, O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "no hidden files"));
    viv_err_clear(&err);
    CHECK(viv_open(fine, O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "no hidden files"));
}

static void test_links(void)
{
    static const char *const names[] = {"folder/disk", "away/disk", ".hidden/secret", "named", "other"};
    g_autofree char *said = NULL, *folder = in_dir("folder"), *kept = in_dir("kept"), *link = in_dir("link"), *sock = in_dir("sock");
    g_autofree char *away = in_dir("away"), *hidden = in_dir(".hidden"), *fine = in_dir("fine"), *named = in_dir("named");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int to[2], from[2], status, go[2], server;
    char byte;
    pid_t pid;

    g_unlink(hidden);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = in_dir(names[i]), *parent = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    g_assert_cmpint(symlink("named", fine), ==, 0);
    g_strlcpy(a.sun_path, sock, sizeof(a.sun_path));
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(server, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    g_assert_cmpint(listen(server, 4), ==, 0);
    g_assert_cmpint(pipe(to) | pipe(from), ==, 0);
    go[0] = to[0];
    go[1] = from[1];
    pid = fork();
    if (pid == 0) { /* who has the folders, too */
        if (read(from[0], &byte, 1) != 1 || rename(folder, kept) || symlink("away", folder) || symlink(".hidden/secret", link) ||
            unlink(fine) || symlink(".hidden/secret", fine) || unlink(sock) || symlink("/tmp", sock))
            _exit(1);
        _exit(write(to[1], "", 1) != 1);
    }
    status = confined(&lenient, links, go, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    close(server);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = in_dir(names[i]);

        g_unlink(path);
    }
    g_unlink(folder);
    g_rename(kept, folder);
    g_autofree char *disk = in_dir("folder/disk");
    g_unlink(disk);
    g_rmdir(folder);
    g_rmdir(away);
    g_rmdir(hidden);
}

/* Without a monitor nobody can name anything later: invented words do not count, and what was opened for reading stays so. */
static void no_monitor(const void *arg)
{
    g_autofree char *named = in_dir("named"), *other = in_dir("other");
    struct viv_err err = VIV_ERR_INIT;
    int fd = viv_open(named, O_RDONLY, 0, &err);

    CHECK(fd >= 0);
    seal();
    viv_broker_words(other);
    CHECK(viv_open(other, O_RDONLY, 0, NULL) == -EACCES);
    CHECK(viv_open(named, O_RDONLY, 0, NULL) >= 0 && viv_open(named, O_RDWR, 0, NULL) == -EACCES);
    CHECK(viv_open_again(fd, O_RDWR, NULL) == -EACCES && viv_open_again(fd, O_RDONLY | O_TRUNC, NULL) == -EACCES);
    CHECK(open("/dev/net/tun", O_RDWR) < 0 && errno != ENXIO);
}

static void test_no_monitor(void)
{
    g_autofree char *said = NULL, *named = in_dir("named"), *other = in_dir("other");
    int status;

    g_assert_true(g_file_set_contents(named, "x", 1, NULL) && g_file_set_contents(other, "x", 1, NULL));
    status = confined(&lenient, no_monitor, NULL, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

/* RLIMIT_NOFILE: the broker's descriptor finds no room. That is an error, not descriptor 0. */
static void no_room(const void *arg)
{
    g_autofree char *named = in_dir("named");
    struct viv_err err = VIV_ERR_INIT;

    CHECK(viv_open(named, O_RDONLY, 0, &err) >= 0);
    seal();
    while (dup(0) >= 0)
        ;
    CHECK(errno == EMFILE);
    CHECK(viv_open(named, O_RDONLY, 0, &err) == -EMFILE && strstr(err.text, "ulimit"));
    CHECK(open(named, O_RDONLY) < 0 && errno == EMFILE);
}

static void test_no_room(void)
{
    struct rlimit old, few;
    g_autofree char *said = NULL, *named = in_dir("named");
    int status;

    g_assert_true(g_file_set_contents(named, "x", 1, NULL));
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){64, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    status = confined(&lenient, no_room, NULL, &said);
    setrlimit(RLIMIT_NOFILE, &old);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

/* Of a long life with many commands the last names are known, and those of the start; not all. */
static void many_words(const void *arg)
{
    g_autofree char *start = in_dir("named"), *first = in_dir("first"), *last = in_dir("last");
    int start_fd = viv_open(start, O_RDONLY, 0, NULL), first_fd, last_fd;

    CHECK(start_fd >= 0);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    viv_broker_words(first);
    CHECK((first_fd = viv_open(first, O_RDONLY, 0, NULL)) >= 0 && viv_open_again(first_fd, O_RDWR, NULL) >= 0);
    for (int i = 0; i < 4096; i++) {
        g_autofree char *base = g_strdup_printf("shot%d", i), *shot = in_dir(base);
        int fd;

        viv_broker_words(shot);
        CHECK((fd = viv_open(shot, O_WRONLY | O_CREAT, 0600, NULL)) >= 0 && unlink(shot) == 0);
        close(fd);
    }
    viv_broker_words(last);
    CHECK((last_fd = viv_open(last, O_RDONLY, 0, NULL)) >= 0 && viv_open_again(last_fd, O_RDWR, NULL) >= 0);
    CHECK(viv_open_again(start_fd, O_RDWR, NULL) >= 0 && viv_open_again(first_fd, O_RDWR, NULL) == -EACCES);
}

static void test_many_words(void)
{
    static const char *const names[] = {"named", "first", "last"};
    g_autofree char *said = NULL;
    int status;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = in_dir(names[i]);

        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    status = confined(&lenient, many_words, NULL, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

/* What words of a monitor never reach, wherever it lies: they may be a guest's. */
static void beyond_words(const void *arg)
{
    g_autofree char *agent = in_dir("ssh-XyZ/agent.1"), *bus = in_dir("bus/socket"), *words = NULL, *bus_words = g_strdup_printf("unix:path=%s,guid=1", bus);
    g_autofree char *environ = g_strdup_printf("/proc/%d/environ", (int)getppid());
    struct sockaddr_un a = {.sun_family = AF_UNIX}, b = a, x = a;
    struct viv_err err = VIV_ERR_INIT;

    words = g_strdup_printf("%s %s %s /dev/tty /dev/mem /dev/input/event0 /tmp/.X11-unix/X0 /opt/viv-none", agent, bus, environ);
    g_strlcpy(a.sun_path, agent, sizeof(a.sun_path));
    g_strlcpy(b.sun_path, bus, sizeof(b.sun_path));
    g_strlcpy(x.sun_path + 1, "/tmp/.X11-unix/X0", sizeof(x.sun_path) - 1);
    g_setenv("DBUS_SESSION_BUS_ADDRESS", bus_words, TRUE);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    CHECK(viv_sandbox_start(&lenient, &err) == 0);
    seal();
    viv_broker_words(words);
    CHECK(viv_unix_connect((struct sockaddr *)&a, sizeof(a), &err) == -EACCES && strstr(err.text, "agents"));
    viv_err_clear(&err);
    CHECK(viv_unix_connect((struct sockaddr *)&b, sizeof(b), &err) == -EACCES && strstr(err.text, "agents"));
    CHECK(viv_unix_connect((struct sockaddr *)&x, 2 + 18, NULL) == -EACCES);
    viv_err_clear(&err);
    CHECK(viv_open(environ, O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "other processes"));
    viv_err_clear(&err);
    CHECK(viv_open("/dev/tty", O_RDWR, 0, &err) == -EACCES && strstr(err.text, "terminals"));
    CHECK(viv_open("/opt/viv-none", O_CREAT | O_WRONLY, 0600, NULL) == -EACCES);
}

/* Below a folder that was named, and for reading; what is private to the system is beyond words, even root's. */
static void folder(const void *arg)
{
    g_autofree char *top = in_dir("tftp"), *file = in_dir("tftp/sub/file"), *link = in_dir("tftp/sub/link");
    struct viv_err err = VIV_ERR_INIT;

    viv_broker_note_folder(top);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK(open(file, O_RDONLY) >= 0 && open(link, O_RDONLY) < 0);
    CHECK(open(file, O_RDWR) < 0 && errno == EACCES);
    viv_broker_words("x /etc/shadow");
    CHECK(viv_open("/etc/shadow", O_RDONLY, 0, &err) == -EACCES && strstr(err.text, "not for everybody"));
}

static void test_folder(void)
{
    g_autofree char *said = NULL, *top = in_dir("tftp"), *sub = in_dir("tftp/sub"), *file = in_dir("tftp/sub/file"), *link = in_dir("tftp/sub/link");
    g_autofree char *other = in_dir("other");
    int status;

    g_assert_cmpint(g_mkdir_with_parents(sub, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", 1, NULL) && g_file_set_contents(other, "x", 1, NULL));
    g_assert_cmpint(symlink("../../other", link), ==, 0);
    status = confined(&lenient, folder, NULL, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    g_unlink(file);
    g_unlink(link);
    g_rmdir(sub);
    g_rmdir(top);
}

static void test_beyond_words(void)
{
    g_autofree char *said = NULL, *ssh = in_dir("ssh-XyZ"), *bus = in_dir("bus");
    int status;

    g_assert_cmpint(g_mkdir(ssh, 0700) | g_mkdir(bus, 0700), ==, 0);
    status = confined(NULL, beyond_words, NULL, &said);
    g_rmdir(ssh);
    g_rmdir(bus);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

/* By name: a host of tests has none of them. A disk in use is reached by its generic device as well. */
static void test_devices(void)
{
    static const char *const theirs[] = {"/dev/sg0", "/dev/bsg/0:0:0:0", "/dev/bus/usb/001/002", "/dev/vhost-scsi",
                                        "/dev/nvme0", "/dev/input/event0", "/dev/mem"};
    static const char *const ours[] = {"/dev/ttyS0", "/dev/net/tun", "/dev/vhost-net", "/dev/vfio/12", "/dev/parport0"};

    for (size_t i = 0; i < G_N_ELEMENTS(theirs); i++)
        g_assert_true(broker_is_foreign_device(theirs[i]));
    for (size_t i = 0; i < G_N_ELEMENTS(ours); i++)
        g_assert_false(broker_is_foreign_device(ours[i]));
}

/* Mode, owner, times, attributes of an open file. */
static void change(int fd, bool may)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    int ok = may ? 0 : -1;
    char proc[40];

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    CHECK(chmod(proc, 0640) == ok && (may || errno == EACCES));
    CHECK(syscall(SYS_fchmodat2, fd, "", 0600, AT_EMPTY_PATH) == ok && (may || errno == EACCES));
    CHECK(fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH) == ok && (may || errno == EACCES));
    CHECK(utimensat(fd, "", times, AT_EMPTY_PATH) == ok && (may || errno == EACCES));
    CHECK(setxattr(proc, "user.viv", "x", 1, 0) == ok || errno == (may ? EOPNOTSUPP : EACCES));
    CHECK(removexattr(proc, "user.viv") == ok || errno == (may ? EOPNOTSUPP : EACCES));
}

/* A folder that a guest has: below it, and only there, whichever thread. */
static void in_share(const void *arg)
{
    g_autofree char *inside = in_dir("shared/new"), *other = in_dir("other"), *device = in_dir("shared/device");
    int fd = open(inside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    struct stat st;

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK(mknod(device, S_IFBLK | 0600, makedev(8, 0)) < 0 && (errno == EACCES || errno == EPERM));
    CHECK(open(other, O_RDONLY) < 0 && errno == EACCES);
    CHECK(open("/etc/passwd", O_RDONLY) >= 0 && open("/etc/passwd", O_RDWR) < 0);
    change(fd, true);
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_mtime == 2000);
    CHECK(unlink(inside) == 0);
    close(fd);
    /* The name is enough for O_PATH, and Landlock does not look at what follows. */
    fd = open(other, O_PATH | O_CLOEXEC);
    CHECK(fd >= 0);
    change(fd, false);
    close(fd);
    fd = open("/etc/passwd", O_RDONLY);
    change(fd, false);
    close(fd);
}

static void *share_thread(void *go)
{
    while (!__atomic_load_n((bool *)go, __ATOMIC_ACQUIRE))
        sched_yield();
    in_share(NULL);
    return NULL;
}

static void share(const void *arg)
{
    g_autofree char *folder = in_dir("shared");
    bool go = false, now = true;
    pthread_t before, after;

    mkdir(folder, 0700);
    viv_sandbox_share(folder, false);
    pthread_create(&before, NULL, share_thread, &go);
    seal();
    in_share(NULL);
    pthread_create(&after, NULL, share_thread, &now);
    pthread_join(after, NULL);
    __atomic_store_n(&go, true, __ATOMIC_RELEASE);
    pthread_join(before, NULL);
    execl("/bin/true", "true", NULL);
}

static void test_share(void)
{
    g_autofree char *said = NULL, *folder = in_dir("shared");
    int status = confined(&strict, share, NULL, &said);

    g_test_message("%s", said);
    g_rmdir(folder);
    if (strstr(said, "no Landlock")) {
        g_test_skip("this kernel has no Landlock");
        return;
    }
    g_assert_cmpint(WEXITSTATUS(status), ==, ENDED);
    g_assert_nonnull(strstr(said, "the system call execve ("));
}

/* A new file that gets its name at the end, beside a granted one. */
static void new_file(const void *arg)
{
    g_autofree char *target = in_dir("target"), *elsewhere = in_dir("elsewhere"), *words = g_strdup_printf("target=%s", target);
    char proc[40];
    int fd;

    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK(open("/usr", O_RDWR | O_TMPFILE, 0600) < 0 && errno == EACCES);
    viv_broker_words(words);
    fd = open(try_dir, O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    CHECK(linkat(AT_FDCWD, proc, AT_FDCWD, elsewhere, AT_SYMLINK_FOLLOW) < 0 && errno == EACCES);
    CHECK(linkat(AT_FDCWD, proc, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == 0);
    CHECK(unlink(target) == 0);
    /* What has a name gets no other: it may be open for reading alone, and the new name is for writing. */
    fd = open("/etc/passwd", O_RDONLY);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    CHECK(fd >= 0 && linkat(AT_FDCWD, proc, AT_FDCWD, target, AT_SYMLINK_FOLLOW) < 0 && errno == EPERM);
}

static void test_new_file(void)
{
    g_autofree char *said = NULL;
    int status = confined(&lenient, new_file, NULL, &said);

    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
}

/* '@' begins files' names as well as those of abstract sockets, which are nowhere in the system's folders. */
static void at_sign(const void *arg)
{
    struct sockaddr_un file = {AF_UNIX, "@file"}, abstract = {AF_UNIX, "\0file"}, system = {AF_UNIX, "@folder/../../../../../usr/viv-none"};
    struct viv_err err = VIV_ERR_INIT;
    int fd;

    CHECK(chdir(try_dir) == 0 && viv_sandbox_start(&lenient, &err) == 0);
    CHECK((fd = viv_unix_listen((struct sockaddr *)&file, sizeof(file), 1, &err)) >= 0 && close(fd) == 0);
    CHECK((fd = viv_open("@disk", O_RDWR | O_CREAT, 0600, &err)) >= 0 && close(fd) == 0);
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    CHECK(viv_unix_listen((struct sockaddr *)&file, sizeof(file), 1, &err) >= 0);
    CHECK(viv_unix_listen((struct sockaddr *)&abstract, sizeof(abstract), 1, NULL) == -EACCES);
    abstract.sun_path[20] = 'x'; /* no text could tell what this is */
    CHECK(viv_unix_connect((struct sockaddr *)&abstract, sizeof(abstract), NULL) == -EINVAL);
    CHECK((fd = viv_open("@disk", O_RDWR, 0, &err)) >= 0);
    viv_broker_words("x @folder /usr/viv-none");
    CHECK(viv_broker_mkdir("@folder", 0700) == 0);
    CHECK(viv_unix_listen((struct sockaddr *)&system, sizeof(system), 1, &err) == -EACCES && strstr(err.text, "no sockets of the system's"));
}

static void test_at_sign(void)
{
    g_autofree char *said = NULL, *folder = in_dir("@folder");
    int status = confined(NULL, at_sign, NULL, &said);

    g_test_message("%s", said);
    g_rmdir(folder);
    g_assert_cmpint(status, ==, 0);
}

static void sockets(const void *arg)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX}, b = {.sun_family = AF_UNIX};
    g_autofree char *path = in_dir("socket"), *other = in_dir("another");
    struct viv_err err = VIV_ERR_INIT;
    const int *go = arg;
    char byte;
    int l, c;

    g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
    g_strlcpy(b.sun_path, other, sizeof(b.sun_path));
    l = viv_unix_listen((struct sockaddr *)&a, sizeof(a), 1, &err);
    CHECK(l >= 0);
    seal();
    CHECK((c = viv_unix_connect((struct sockaddr *)&a, sizeof(a), &err)) >= 0);
    CHECK(accept4(l, NULL, NULL, SOCK_CLOEXEC) >= 0);
    CHECK(viv_unix_connect((struct sockaddr *)&b, sizeof(b), &err) == -EACCES && strstr(err.text, "does not use the socket"));
    viv_err_clear(&err);
    CHECK(viv_unix_listen((struct sockaddr *)&b, sizeof(b), 1, &err) == -EACCES);
    CHECK(unlink(path) == 0);
    /* Somebody else's link is there now, and leads to a socket that nobody named. */
    CHECK(write(go[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
    viv_err_clear(&err);
    CHECK(viv_unix_connect((struct sockaddr *)&a, sizeof(a), &err) == -EACCES && strstr(err.text, "does not use the socket"));
}

static void test_sockets(void)
{
    g_autofree char *said = NULL, *path = in_dir("socket"), *real = in_dir("real-socket");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int to[2], from[2], status, server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;
    pid_t pid;

    g_strlcpy(a.sun_path, real, sizeof(a.sun_path));
    g_assert_cmpint(bind(server, (struct sockaddr *)&a, sizeof(a)) | listen(server, 4), ==, 0);
    g_assert_cmpint(pipe2(to, O_CLOEXEC) | pipe2(from, O_CLOEXEC), ==, 0);
    pid = fork();
    if (pid == 0)
        _exit(read(from[0], &byte, 1) != 1 || symlink("real-socket", path) || write(to[1], "", 1) != 1);
    status = confined(&lenient, sockets, (int[]){to[0], from[1]}, &said);
    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    close(server);
}

static void programs(const void *arg)
{
    g_autofree char *script = in_dir("script"), *moved = in_dir("moved"), *words = g_strdup_printf("x %s %s %s", script, moved, try_dir);
    char *allowed[] = {script, "word", NULL}, *not[] = {"/bin/ls", NULL}, *slow[] = {"/bin/sleep", "60", NULL};
    char *odd[] = {script, "$(reboot)", NULL};
    const struct viv_sandbox *s = arg;
    struct viv_err err = VIV_ERR_INIT;
    int pair[2], status;
    char buf[8];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    viv_broker_note_program(script);
    viv_broker_note_program("/bin/sleep");
    viv_sandbox_need(VIV_SANDBOX_MONITOR);
    seal();
    if (!s->spawn) {
        CHECK(viv_spawn(allowed, -1, 0, &status, &err) == -EPERM && strstr(err.text, "spawn=deny"));
        return;
    }
    viv_broker_words("/bin/ls");
    CHECK(viv_spawn(not, -1, 0, &status, &err) == -EACCES && strstr(err.text, "only programs that the command line named"));
    viv_err_clear(&err);
    CHECK(viv_spawn(allowed, pair[1], 10, &status, &err) == 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5 && read(pair[0], buf, sizeof(buf)) == 5);
    CHECK(viv_spawn(slow, -1, 1, &status, &err) == -ETIMEDOUT);
    viv_err_clear(&err);
    CHECK(viv_spawn(odd, -1, 0, &status, &err) == -EACCES && strstr(err.text, "a shell could take"));
    /* Words that name it do not let it be changed, nor the folder that it lies in be moved. */
    viv_broker_words(words);
    viv_err_clear(&err);
    CHECK(viv_open(script, O_WRONLY | O_TRUNC, 0, &err) == -EACCES && strstr(err.text, "a program that the sandbox may start"));
    CHECK(unlink(script) < 0 && errno == EACCES && rename(script, moved) < 0 && errno == EACCES);
    CHECK(rename(try_dir, moved) < 0 && errno == EACCES);
}

static void test_programs(void)
{
    g_autofree char *said = NULL, *more = NULL, *script = in_dir("script");
    int status;

    g_assert_true(g_file_set_contents(script, "#!/bin/sh\necho here >&3\nexit 5\n", -1, NULL));
    g_assert_cmpint(chmod(script, 0700), ==, 0);
    status = confined(&lenient, programs, &lenient, &said);

    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 0);
    status = confined(&strict, programs, &strict, &more);
    g_test_message("%s", more);
    g_assert_cmpint(status, ==, 0);
}

/* A guest makes and changes links in its folder while programs and sockets are asked for by names there. */
static void *exchange(void *stop)
{
    g_autofree char *a = in_dir("shared/link"), *b = in_dir("shared/other");

    while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE))
        CHECK(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */) == 0);
    return NULL;
}

static bool started_by_place(char **argv, const char *name)
{
    g_autofree char *end = g_strdup_printf("/%s\n", name);
    char said[200] = "";
    int pair[2], status;
    bool ok;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    ok = viv_spawn(argv, pair[1], 10, &status, NULL) == 0 && status == 0 && read(pair[0], said, sizeof(said) - 1) > 0;
    close(pair[0]);
    close(pair[1]);
    return ok && g_str_has_prefix(said, "/dev/fd/") && g_str_has_suffix(said, end);
}

/* A file of the share is granted for writing; its folder becomes a link to one whose file of that name is there to be read. */
static void folder_of_guest(const char *to_read)
{
    g_autofree char *sub = in_dir("shared/sub"), *away = in_dir("shared/away");
    int fd = viv_open(to_read, O_RDONLY, 0, NULL);

    CHECK(fd >= 0 && rename(sub, away) == 0 && symlinkat("../tftp", AT_FDCWD, sub) == 0);
    CHECK(viv_open_again(fd, O_RDWR, NULL) == -EACCES);
    close(fd);
    CHECK(unlink(sub) == 0 && rename(away, sub) == 0);
}

static void names_of_guest(const void *arg)
{
    g_autofree char *sub = in_dir("shared/sub"), *disk = in_dir("shared/sub/disk"), *tftp = in_dir("tftp"), *to_read = in_dir("tftp/disk");
    g_autofree char *folder = in_dir("shared"), *good = in_dir("good"), *link = in_dir("shared/link"), *own = in_dir("shared/own");
    g_autofree char *sock = in_dir("shared/sock");
    char *by_link[] = {link, NULL}, *inside[] = {own, NULL};
    struct sockaddr_un a = {.sun_family = AF_UNIX}, got = {0};
    socklen_t len = sizeof(got);
    struct viv_err err = VIV_ERR_INIT;
    bool stop = false;
    pthread_t guest;
    int status, l;

    g_strlcpy(a.sun_path, sock, sizeof(a.sun_path));
    viv_broker_note_program(good);
    viv_broker_note_program(own);
    viv_sandbox_share(folder, false);
    viv_broker_note_folder(tftp);
    CHECK(mkdir(sub, 0700) == 0 && (l = viv_open(disk, O_RDWR | O_CREAT, 0600, NULL)) >= 0);
    close(viv_unix_listen((struct sockaddr *)&a, sizeof(a), 1, &err));
    seal();
    /* What runs, or is made, is of the folder that was judged, not what its name leads to by then. */
    CHECK(started_by_place(by_link, "good"));
    l = viv_unix_listen((struct sockaddr *)&a, sizeof(a), 1, &err);
    CHECK(l >= 0 && getsockname(l, (struct sockaddr *)&got, &len) == 0 && !strcmp(got.sun_path, "sock"));
    CHECK(viv_unix_connect((struct sockaddr *)&a, sizeof(a), &err) >= 0 && unlink(sock) == 0);
    folder_of_guest(to_read);
    CHECK(unlink(disk) == 0 && unlinkat(AT_FDCWD, sub, AT_REMOVEDIR) == 0);
    CHECK(viv_spawn(inside, -1, 0, &status, &err) == -EACCES && strstr(err.text, "the guest may write to"));
    pthread_create(&guest, NULL, exchange, &stop);
    for (int i = 0; i < 1000; i++)
        CHECK(viv_spawn(by_link, -1, 5, &status, NULL) < 0 || status == 0);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_join(guest, NULL);
}

static void test_names_of_guest(void)
{
    static const char *const scripts[] = {"good", "shared/own"}, *const names[] = {"shared/own", "shared/link", "shared/other", "shared/sock"};
    g_autofree char *said = NULL, *folder = in_dir("shared"), *link = in_dir("shared/link"), *other = in_dir("shared/other");
    g_autofree char *tftp = in_dir("tftp"), *to_read = in_dir("tftp/disk");
    int status;

    g_assert_cmpint(g_mkdir(folder, 0700) | g_mkdir(tftp, 0700), ==, 0);
    g_assert_true(g_file_set_contents(to_read, "x", 1, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++) {
        g_autofree char *path = in_dir(scripts[i]);

        g_assert_true(g_file_set_contents(path, i ? "#!/bin/sh\nexit 7\n" : "#!/bin/sh\n{ echo $0 >&3; } 2>/dev/null\nexit 0\n", -1, NULL));
        g_assert_cmpint(chmod(path, 0700), ==, 0);
    }
    g_assert_cmpint(symlink("../good", link) | symlink("own", other), ==, 0);
    status = confined(&lenient, names_of_guest, NULL, &said);
    g_test_message("%s", said);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = in_dir(names[i]);

        g_unlink(path);
    }
    g_unlink(to_read);
    g_rmdir(tftp);
    g_rmdir(folder);
    if (strstr(said, "no Landlock"))
        g_test_skip("this kernel has no Landlock");
    else
        g_assert_cmpint(status, ==, 0);
}

int main(int argc, char **argv)
{
    sandbox_try_init(&argc, &argv);
    g_test_add_func("/sandbox/files", test_files);
    g_test_add_func("/sandbox/links", test_links);
    g_test_add_func("/sandbox/socket-names", test_socket_names);
    g_test_add_func("/sandbox/no-monitor", test_no_monitor);
    g_test_add_func("/sandbox/no-room", test_no_room);
    g_test_add_func("/sandbox/folder", test_folder);
    g_test_add_func("/sandbox/beyond-words", test_beyond_words);
    g_test_add_func("/sandbox/many-words", test_many_words);
    g_test_add_func("/sandbox/devices", test_devices);
    g_test_add_func("/sandbox/share", test_share);
    g_test_add_func("/sandbox/new-file", test_new_file);
    g_test_add_func("/sandbox/at-sign", test_at_sign);
    g_test_add_func("/sandbox/sockets", test_sockets);
    g_test_add_func("/sandbox/programs", test_programs);
    g_test_add_func("/sandbox/names-of-guest", test_names_of_guest);
    return sandbox_try_run();
}
