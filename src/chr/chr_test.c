#include "bus/vmreq.h"
#include "chr/chr.h"
#include "chr/telnet.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"

#include "base/units.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A front end that takes `room` bytes and remembers all. */
struct front {
    GString *got;
    size_t room;
    int opened, closed, breaks, in, out;
};

static size_t front_can_read(void *p)
{
    return ((struct front *)p)->room;
}

static void front_read(void *p, const uint8_t *buf, size_t len)
{
    struct front *f = p;

    g_assert_cmpuint(len, <=, f->room);
    f->room -= len;
    g_string_append_len(f->got, (const char *)buf, len);
}

static void front_event(void *p, enum viv_chr_event ev)
{
    struct front *f = p;

    f->opened += ev == VIV_CHR_OPENED;
    f->closed += ev == VIV_CHR_CLOSED;
    f->breaks += ev == VIV_CHR_BREAK;
    f->in += ev == VIV_CHR_MUX_IN;
    f->out += ev == VIV_CHR_MUX_OUT;
}

static const struct viv_chr_front front_ops = {.can_read = front_can_read, .read = front_read, .event = front_event};

static struct front *front_new(size_t room)
{
    struct front *f = g_new0(struct front, 1);

    f->got = g_string_new(NULL);
    f->room = room;
    return f;
}

static void front_free(struct front *f)
{
    g_string_free(f->got, TRUE);
    g_free(f);
}

static struct viv_chr *make(const char *id, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_chr *c = NULL;

    if (viv_chr_new_short("-serial", id, text, &c, &err) < 0)
        g_error("%s: %s", text, err.text);
    return c;
}

static void refuse(const char *text, const char *want)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_chr *c;

    g_assert_cmpint(viv_chr_new_short("-serial", "bad", text, &c, &err), <, 0);
    g_assert_null(strchr(err.text, '\n'));
    if (!strstr(err.text, want))
        g_error("'%s' gave '%s', wanted '%s'", text, err.text, want);
    g_assert_null(viv_chr_find("bad"));
}

static bool never(void *p)
{
    return false;
}

static void pump_ms(int ms)
{
    viv_loop_wait_for(never, NULL, ms * (int64_t)VIV_NS_PER_MS);
}

static void test_errors(void)
{
    viv_dev_lock();
    refuse("stdoi", "did you mean 'stdio'");
    refuse("fiel:x", "'fiel:' is not a known form");
    refuse("vc", "no screen for text consoles");
    refuse("vc:80x24", "no screen for text consoles");
    refuse("udp:1", "known form");
    refuse("tcp:nohost", "not HOST:PORT");
    refuse("socket,fd=2,server=on", "out of range");
    refuse("socket,fd=9,path=/tmp/x", "has its address");
    refuse("socket,fd=999999", "not a socket");
    refuse("unix:", "needs an address");
    refuse("tcp:host=x", "needs an address");
    refuse("tcp:host=,port=99999,server=on,wait=off", "they end at 65535");
    refuse("unix:path=/no/such/socket", "cannot connect");
    refuse("unix:/x,sever=on", "did you mean 'server'");
    refuse("unix:/no/such/dir/s,server,nowait", "cannot listen");
    refuse("unix:/no/such/socket", "cannot connect");
    refuse("file:/no/such/dir/f", "No such file");
    refuse("pipe:/no/such/fifo", "mkfifo");
    refuse("chardev:zz", "no chardev 'zz'");
    refuse("ringbuf,size=3", "power of two");
    refuse("stdio,signal=perhaps", "neither");
    refuse("null,logappend=on", "needs logfile");
    viv_dev_unlock();
}

static void test_ringbuf(void)
{
    struct viv_chr *c;
    uint8_t buf[16];
    size_t got;

    viv_dev_lock();
    c = make("r", "ringbuf,size=8");
    g_assert_cmpuint(viv_chr_write(c, (const uint8_t *)"0123456789", 10), ==, 10);
    g_assert_cmpint(viv_chr_ringbuf_read(c, buf, sizeof(buf), &got, NULL), ==, 0);
    g_assert_cmpmem(buf, got, "23456789", 8);
    g_assert_cmpint(viv_chr_ringbuf_read(make("n", "null"), buf, 1, &got, NULL), <, 0);
    viv_chr_free_all();
    viv_dev_unlock();
}

static void test_file_and_log(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "a,b", NULL);
    g_autofree char *text = g_strdup_printf("file:%s/a,,b,logfile=%s/log", dir, dir);
    g_autofree char *append = g_strdup_printf("%s,append=on", text);
    g_autofree char *log = g_build_filename(dir, "log", NULL);
    g_autofree char *data = NULL, *logged = NULL;

    viv_dev_lock();
    viv_chr_write(make("f", text), (const uint8_t *)"one", 3);
    viv_chr_free_all();
    viv_chr_write(make("f", append), (const uint8_t *)"two", 3);
    viv_chr_free_all();
    viv_dev_unlock();
    g_assert_true(g_file_get_contents(path, &data, NULL, NULL));
    g_assert_cmpstr(data, ==, "onetwo");
    g_assert_true(g_file_get_contents(log, &logged, NULL, NULL));
    g_assert_cmpstr(logged, ==, "two");
    g_unlink(path);
    g_unlink(log);
    g_rmdir(dir);
}

/* /dev/null is at its end at once: read no more, not closed, and still written to. */
static void test_character_file(void)
{
    struct front *f = front_new(64);
    struct viv_chr *c;

    viv_dev_lock();
    c = make("n", "/dev/null");
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    pump_ms(20);
    viv_chr_accept_input(c);
    pump_ms(20);
    g_assert_cmpuint(viv_chr_write(c, (const uint8_t *)"hello", 5), ==, 5);
    g_assert_cmpint(f->opened, ==, 1);
    g_assert_cmpint(f->closed, ==, 0);
    g_assert_cmpuint(f->got->len, ==, 0);
    viv_chr_free_all();
    viv_dev_unlock();
    front_free(f);
}

/* A pipe at standard output hears it, and nothing is read back out of it; a file is appended to where it stands. */
static void test_own_output(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL), *path = g_build_filename(dir, "f", NULL), *data = NULL;
    g_autofree char *bad = g_strdup_printf("file:%s writes", path);
    struct front *f = front_new(64);
    int kept = dup(STDOUT_FILENO), p[2], file;
    char got[8];

    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(write(file, "one", 3), ==, 3);
    fflush(stdout);
    viv_dev_lock();
    dup2(p[1], STDOUT_FILENO);
    g_assert_cmpint(viv_chr_attach(make("p", "/dev/stdout"), &front_ops, f, NULL), ==, 0);
    dup2(file, STDOUT_FILENO);
    viv_chr_write(make("f", "serial,path=/dev/stdout"), (const uint8_t *)"two", 3);
    dup2(kept, STDOUT_FILENO);
    g_assert_cmpuint(viv_chr_write(viv_chr_find("p"), (const uint8_t *)"hello", 5), ==, 5);
    pump_ms(20);
    refuse(path, bad);
    viv_chr_free_all();
    viv_dev_unlock();
    g_assert_cmpmem(got, read(p[0], got, sizeof(got)), "hello", 5);
    g_assert_cmpuint(f->got->len, ==, 0);
    g_assert_true(g_file_get_contents(path, &data, NULL, NULL));
    g_assert_cmpstr(data, ==, "onetwo");
    for (int i = 0; i < 4; i++)
        close((int[]){p[0], p[1], file, kept}[i]);
    g_unlink(path);
    g_rmdir(dir);
    front_free(f);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static void expect_read(int fd, const char *want)
{
    char buf[256];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);

    g_assert_cmpmem(buf, n, want, strlen(want));
}

static void writable(void *p)
{
    (*(int *)p)++;
}

/* A server whose queue is full is waited for, as a blocking connect(2) would; without holding anybody up. */
static void test_full_queue(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL), *text = g_strdup_printf("unix:%s", path);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), fds[8], n = 0, got;
    struct front *f = front_new(4);
    struct viv_chr *c;

    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    g_assert_cmpint(bind(server, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(server, 1), ==, 0);
    do
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    while (connect(fds[n], (struct sockaddr *)&un, sizeof(un)) == 0 && ++n < 8);
    g_assert_cmpint(n, <, 8);
    viv_dev_lock();
    c = make("q", text);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    pump_ms(50);
    g_assert_cmpint(f->opened, ==, 0);
    for (int i = 0; i < n; i++)
        close(accept(server, NULL, NULL));
    pump_ms(100);
    g_assert_cmpint(f->opened, ==, 1);
    got = accept(server, NULL, NULL);
    viv_chr_write(c, (const uint8_t *)"hello", 5);
    expect_read(got, "hello");
    viv_chr_detach(c, f);
    viv_chr_free(c);
    viv_dev_unlock();
    for (int i = 0; i <= n; i++)
        close(fds[i]);
    close(got);
    close(server);
    g_unlink(path);
    g_rmdir(dir);
    g_string_free(f->got, TRUE);
    g_free(f);
}

static int listen_on(in_addr_t address, uint16_t *port) /* 0: any */
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(*port)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    g_assert(!bind(fd, (struct sockaddr *)&in, len) && !listen(fd, 4) && !getsockname(fd, (struct sockaddr *)&in, &len));
    *port = ntohs(in.sin_port);
    return fd;
}

static int listen_v4(uint16_t *port)
{
    return listen_on(INADDR_LOOPBACK, port);
}

/* Whoever comes to `server` has it from c; both go. */
static void reaches(struct viv_chr *c, int server, const char *text)
{
    int conn = accept(server, NULL, NULL);

    viv_chr_write(c, (const uint8_t *)text, strlen(text));
    expect_read(conn, text);
    close(conn);
    close(server);
    viv_chr_free(c);
}

/* No name is ::1 and 127.0.0.1: whoever listens on one of them is found, at once and when it is tried again. */
static void test_addresses(void)
{
    uint16_t port = 0;
    int server = listen_v4(&port);
    g_autofree char *at_once = g_strdup_printf("tcp::%u", port);
    g_autofree char *again = g_strdup_printf("tcp::%u,reconnect=1", port);
    struct viv_chr *c;

    viv_dev_lock();
    c = make("at-once", at_once);
    reaches(c, server, "one");

    c = make("again", again);
    server = listen_v4(&port);
    pump_ms(1500);
    reaches(c, server, "two");
    viv_dev_unlock();
}

static const char *moving; /* atomic: where "moving.invalid" is now; NULL: no server answers */

/* In place of libc's, for this program. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const char *is = host && !strcmp(host, "moving.invalid") ? __atomic_load_n(&moving, __ATOMIC_RELAXED) : host;

    if (host && !is)
        return EAI_AGAIN;
    if (!real)
        real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    return real(is, port, hints, out);
}

static void move_to(const char *address)
{
    __atomic_store_n(&moving, address, __ATOMIC_RELAXED);
}

/* Whoever has come to `server` by now. */
static int came(int server)
{
    int conn;

    pump_ms(2500);
    fcntl(server, F_SETFL, O_NONBLOCK);
    conn = accept(server, NULL, NULL);
    g_assert_cmpint(conn, >=, 0);
    return conn;
}

/* reconnect= waits for a name that cannot be asked for, and follows it when it moves. */
static void test_moving_name(void)
{
    uint16_t port = 0;
    int first = listen_v4(&port), second = listen_on(INADDR_LOOPBACK + 1, &port);
    g_autofree char *text = g_strdup_printf("tcp:moving.invalid:%u,reconnect=1", port);
    g_autofree char *once = g_strdup_printf("tcp:moving.invalid:%u", port);
    struct front *f = front_new(100);
    struct viv_chr *c;

    viv_dev_lock();
    refuse(once, "moving.invalid");
    c = make("moving", text);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    move_to("127.0.0.1");
    close(came(first));
    move_to("127.0.0.2");
    close(came(second));
    move_to(NULL); /* where it was last counts still */
    close(came(second));
    viv_chr_detach(c, f);
    viv_chr_free(c);
    viv_dev_unlock();
    close(first);
    close(second);
    front_free(f);
}

static void test_socket(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("unix:%s,server,nowait", path);
    struct front *f = front_new(4);
    uint8_t big[4096];
    struct viv_chr *c;
    int fd, woken = 0;
    size_t sent = 0, n;

    memset(big, 'x', sizeof(big));
    viv_dev_lock();
    c = make("s", text);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    g_assert_cmpint(f->opened, ==, 0);
    g_assert_cmpuint(viv_chr_write(c, (const uint8_t *)"lost", 4), ==, 4); /* nobody there */
    fd = connect_unix(path);
    pump_ms(20);
    g_assert_cmpint(f->opened, ==, 1);
    viv_chr_write(c, (const uint8_t *)"hello", 5);
    expect_read(fd, "hello");

    /* Input stops at what the front takes, and goes on when it says so. */
    g_assert_cmpint(write(fd, "abcdefgh", 8), ==, 8);
    pump_ms(20);
    g_assert_cmpstr(f->got->str, ==, "abcd");
    f->room = 100;
    viv_chr_accept_input(c);
    pump_ms(20);
    g_assert_cmpstr(f->got->str, ==, "abcdefgh");

    /* A client that does not read: partial writes, then a wake-up when it does. */
    while ((n = viv_chr_write(c, big, sizeof(big))) == sizeof(big))
        sent += n;
    sent += n;
    viv_chr_on_writable(c, writable, &woken);
    pump_ms(10);
    g_assert_cmpint(woken, ==, 0);
    while (sent) {
        ssize_t r = read(fd, big, sizeof(big));

        g_assert_cmpint(r, >, 0);
        sent -= r;
    }
    pump_ms(10);
    g_assert_cmpint(woken, ==, 1);

    /* A second client waits until the first has gone. */
    close(fd);
    fd = connect_unix(path);
    pump_ms(30);
    g_assert_cmpint(f->closed, ==, 1);
    g_assert_cmpint(f->opened, ==, 2);
    close(fd);
    viv_chr_free_all();
    viv_dev_unlock();
    g_assert_cmpint(g_access(path, F_OK), ==, -1);
    g_rmdir(dir);
    front_free(f);
}

/* The other side goes while what it wrote is unread: a front that reads gets it; one that does not keeps nobody away. */
static void test_hang_up(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("unix:%s,server,nowait", path);
    g_autofree char *client = NULL;
    struct front *f = front_new(4);
    uint8_t big[4096] = {0};
    uint16_t port = 0;
    int server = listen_v4(&port), fd, next;
    struct viv_chr *c;

    viv_dev_lock();
    c = make("s", text);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    fd = connect_unix(path);
    g_assert_cmpint(write(fd, "abcdefgh", 8), ==, 8);
    close(fd);
    pump_ms(100);
    g_assert_cmpstr(f->got->str, ==, "abcd");
    g_assert_cmpint(f->closed, ==, 0);
    f->room = 4; /* to the last byte: still no reason to ask for more */
    viv_chr_accept_input(c);
    fd = connect_unix(path);
    pump_ms(1200);
    g_assert_cmpstr(f->got->str, ==, "abcdefgh");
    g_assert_cmpint(f->opened, ==, 2);
    g_assert_cmpint(write(fd, "lost", 4), ==, 4);
    pump_ms(1200);
    g_assert_cmpint(f->closed, ==, 1);
    close(fd);
    next = connect_unix(path);
    pump_ms(1200);
    g_assert_cmpint(f->opened, ==, 3);
    viv_chr_detach(c, f);
    viv_chr_free(c);
    close(next);

    client = g_strdup_printf("tcp:127.0.0.1:%u,reconnect=1", port);
    f->opened = f->closed = 0;
    c = make("c", client);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, f, NULL), ==, 0);
    fd = accept(server, NULL, NULL);
    pump_ms(20);
    g_assert_cmpint(f->opened, ==, 1);
    g_assert_cmpint(write(fd, "lost", 4), ==, 4);
    pump_ms(20);
    close(fd);
    pump_ms(2200);
    g_assert_cmpint(f->opened, ==, 2);
    fd = accept(server, NULL, NULL); /* it has no more to say, and does not read yet: it may still want to */
    while (viv_chr_write(c, big, sizeof(big)) == sizeof(big))
        ;
    g_assert_cmpint(write(fd, "more", 4), ==, 4);
    shutdown(fd, SHUT_WR);
    pump_ms(1500);
    g_assert_cmpint(f->closed, ==, 1);
    close(fd);
    pump_ms(2500);
    g_assert_cmpint(f->closed, ==, 2);
    viv_chr_free_all();
    viv_dev_unlock();
    close(server);
    g_rmdir(dir);
    front_free(f);
}

static int quits;

static void on_request(enum viv_vm_request what, int code, const char *who)
{
    quits += what == VIV_VM_QUIT && code == 0;
}

static void test_mux(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("mon:unix:%s,server=on,wait=off", path);
    struct front *uart = front_new(3), *mon = front_new(100);
    struct viv_chr *c;
    char buf[1024];
    int fd;

    viv_vm_request_set_handler(on_request);
    viv_dev_lock();
    c = make("m", text);
    g_assert_true(viv_chr_is_mux(c));
    g_assert_cmpint(viv_chr_attach(c, &front_ops, uart, NULL), ==, 0);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, mon, NULL), ==, 0);
    g_assert_cmpint(uart->in, ==, 1);
    fd = connect_unix(path);
    /* Five for the UART (three fit), one escaped Ctrl-A, then the monitor, back, and break. */
    g_assert_cmpint(write(fd, "abcd\001\001" "\001cinfo\001c" "e\001b\001h", 19), ==, 19);
    pump_ms(30);
    g_assert_cmpstr(uart->got->str, ==, "abc");
    g_assert_cmpstr(mon->got->str, ==, "info");
    g_assert_cmpint(mon->in, ==, 1);
    g_assert_cmpint(mon->out, ==, 1);
    g_assert_cmpint(uart->breaks, ==, 1);
    uart->room = 100;
    viv_chr_accept_input(c);
    g_assert_cmpstr(uart->got->str, ==, "abcd\001e");
    g_assert_cmpint(recv(fd, buf, sizeof(buf), 0), >, 0);
    g_assert_nonnull(strstr(buf, "C-a x"));

    /* A guest that reads nothing cannot keep Ctrl-A X away. */
    uart->room = 0;
    for (int i = 0; i < 100; i++)
        g_assert_cmpint(write(fd, "0123456789012345678901234567890123456789", 40), ==, 40);
    g_assert_cmpint(write(fd, "\001x", 2), ==, 2);
    pump_ms(700);
    g_assert_cmpint(quits, ==, 1);
    close(fd);
    viv_chr_detach(c, mon);
    viv_chr_free_all();
    viv_dev_unlock();
    g_rmdir(dir);
    front_free(uart);
    front_free(mon);
}

/* A monitor: while it works on what it has it prints, and what prints says that it takes more. */
static void monitor_read(void *p, const uint8_t *buf, size_t len)
{
    viv_chr_accept_input(viv_chr_find("m"));
    front_read(p, buf, len);
    ((struct front *)p)->room += len;
}

static const struct viv_chr_front monitor_ops = {.can_read = front_can_read, .read = monitor_read, .event = front_event};

static void expect_lines(const struct front *f, unsigned count)
{
    g_autoptr(GString) all = g_string_new(NULL);

    for (unsigned i = 0; i < count; i++)
        g_string_append_printf(all, "print %u\n", 1000000 + i);
    g_assert_cmpstr(f->got->str, ==, all->str);
}

/* More than a ring holds, at once: in order, and all of it; also when the front takes nothing for a moment. */
static void test_mux_much(void)
{
    g_autofree char *dir = g_dir_make_tmp("viv-chr-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("mon:unix:%s,server=on,wait=off", path);
    g_autoptr(GString) lines = g_string_new(NULL);
    struct front *f = front_new(37);
    struct viv_chr *c;
    int fd;

    for (unsigned i = 0; i < 200; i++)
        g_string_append_printf(lines, "print %u\n", 1000000 + i);
    viv_dev_lock();
    c = make("m", text);
    g_assert_cmpint(viv_chr_attach(c, &monitor_ops, f, NULL), ==, 0);
    fd = connect_unix(path);
    g_assert_cmpint(write(fd, lines->str, lines->len), ==, lines->len);
    pump_ms(30);
    expect_lines(f, 200);
    g_string_truncate(f->got, 0);
    f->room = 0;
    g_assert_cmpint(write(fd, lines->str, lines->len), ==, lines->len);
    pump_ms(100);
    g_assert_cmpuint(f->got->len, ==, 0);
    f->room = 500;
    viv_chr_accept_input(c);
    pump_ms(30);
    expect_lines(f, 200);
    close(fd);
    viv_chr_free_all();
    viv_dev_unlock();
    g_rmdir(dir);
    front_free(f);
}

static void test_busy(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct front *a = front_new(1), *b = front_new(1);
    struct viv_chr *c;

    viv_dev_lock();
    c = make("n", "null");
    g_assert_cmpint(viv_chr_attach(c, &front_ops, a, NULL), ==, 0);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, b, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "'n'"));
    viv_chr_detach(c, a);
    g_assert_cmpint(viv_chr_attach(c, &front_ops, b, NULL), ==, 0);
    viv_chr_free_all();
    viv_dev_unlock();
    front_free(a);
    front_free(b);
}

static void test_pty(void)
{
    struct front *f = front_new(100);
    struct viv_chr *c;
    int fd;

    viv_dev_lock();
    c = make("p", "pty");
    viv_chr_attach(c, &front_ops, f, NULL);
    g_assert_cmpuint(viv_chr_write(c, (const uint8_t *)"gone", 4), ==, 4);
    g_assert_cmpint(f->opened, ==, 0);
    fd = open(viv_chr_filename(c) + 4, O_RDWR | O_NOCTTY);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(viv_chr_write(c, (const uint8_t *)"here\n", 5), ==, 5);
    g_assert_cmpint(f->opened, ==, 1);
    {
        char buf[16];

        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 5);
        g_assert_cmpmem(buf, 5, "here\n", 5);
    }
    g_assert_cmpint(write(fd, "in\r", 3), ==, 3);
    pump_ms(20);
    g_assert_cmpstr(f->got->str, ==, "in\r");
    close(fd);
    pump_ms(20);
    g_assert_cmpint(f->closed, ==, 1);
    viv_chr_free_all();
    viv_dev_unlock();
    front_free(f);
}

static struct viv_chr *moved_to;

static void front_moved(void *p, struct viv_chr *to)
{
    moved_to = to;
}

static const struct viv_chr_front moving_ops = {.can_read = front_can_read, .read = front_read, .event = front_event, .moved = front_moved};

static int change(struct viv_chr *c, const char *text, struct viv_chr **out, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc;

    g_assert_cmpint(viv_raw_parse("chardev-change", "backend", text, &r, err), ==, 0);
    rc = viv_chr_change(c, r, out, err);
    viv_raw_free(r);
    return rc;
}

static void refuse_change(struct viv_chr *c, const char *text, const char *want)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_chr *out = NULL;

    g_assert_cmpint(change(c, text, &out, &err), <, 0);
    if (!strstr(err.text, want))
        g_error("'%s' gave '%s', wanted '%s'", text, err.text, want);
    viv_err_clear(&err);
    g_assert_null(out);
}

static void count_call(void *p)
{
    ++*(int *)p;
}

/* Another back end under a front end: events, what waited for room, what was typed; and nothing of it when it fails. */
static void test_change(void)
{
    struct front *f = front_new(100), *still = front_new(100);
    struct viv_chr *c, *other, *fixed, *mux;
    struct viv_err err = VIV_ERR_INIT;
    uint8_t text[8];
    int room = 0;
    size_t got;

    viv_dev_lock();
    other = make("other", "null");
    c = make("c", "ringbuf");
    viv_chr_attach(c, &moving_ops, f, NULL);
    viv_chr_write(c, (const uint8_t *)"old", 3);
    refuse_change(c, "file,path=/nonexistent/x", "No such file");
    refuse_change(c, "ringbuf,size=99", "power of two");
    refuse_change(c, "null,mux=on", "mux=on is for a new chardev");
    refuse_change(c, "null,id=c", "'id=' stays 'c'");
    refuse_change(c, "socket,path=/tmp/x,server=on,wait=on", "wait=on would hold up");
    g_assert_cmpint(f->closed, ==, 0);
    g_assert_null(moved_to);
    g_assert_cmpint(viv_chr_remove(c, &err), ==, -EBUSY);
    g_assert_cmpstr(err.text, ==, "Chardev 'c' is busy");
    viv_err_clear(&err);

    viv_chr_on_writable(c, count_call, &room);
    g_assert_cmpint(change(c, "ringbuf,size=16", &c, &err), ==, 0);
    g_assert_true(moved_to == c && viv_chr_find("c") == c && viv_chr_next(other) == c);
    g_assert_cmpint(f->opened, ==, 2);
    g_assert_cmpint(f->closed, ==, 1);
    g_assert_cmpint(room, ==, 1);
    viv_chr_write(c, (const uint8_t *)"new", 3);
    g_assert_cmpint(viv_chr_ringbuf_read(c, text, sizeof(text), &got, &err), ==, 0);
    g_assert_cmpmem(text, got, "new", 3);
    viv_chr_break(c);
    g_assert_cmpint(f->breaks, ==, 1);
    viv_chr_detach(c, f);
    g_assert_cmpint(change(c, "null", &c, &err), ==, 0); /* nobody there */
    g_assert_cmpint(viv_chr_remove(c, &err), ==, 0);
    g_assert_null(viv_chr_find("c"));

    fixed = make("fixed", "null");
    viv_chr_attach(fixed, &front_ops, still, NULL);
    refuse_change(fixed, "null", "does not support chardev hotswap");
    mux = make("mux", "mon:null");
    refuse_change(mux, "null", "Mux device hotswap not supported yet");
    viv_chr_keep(other);
    refuse_change(other, "null", "does not support chardev hotswap");
    g_assert_cmpint(viv_chr_remove(other, &err), ==, -EBUSY);
    viv_err_clear(&err);
    viv_chr_detach(fixed, still);
    viv_chr_free_all();
    viv_dev_unlock();
    front_free(f);
    front_free(still);
}

static void test_telnet(void)
{
    struct viv_telnet t = {0};
    uint8_t in[] = {'a', 255, 251, 1, 'b', 255, 255, 255, 250, 24, 0, 'x', 255, 240, 'c', 255, 243, 255};
    uint8_t rest[] = {253, 3, 'd'};

    g_assert_cmpuint(viv_telnet_filter(&t, in, sizeof(in)), ==, 4);
    g_assert_cmpmem(in, 4, "ab\377c", 4);
    g_assert_true(t.breaks);
    g_assert_cmpuint(viv_telnet_filter(&t, rest, sizeof(rest)), ==, 1);
    g_assert_cmpint(rest[0], ==, 'd');
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chr/errors", test_errors);
    g_test_add_func("/chr/ringbuf", test_ringbuf);
    g_test_add_func("/chr/file", test_file_and_log);
    g_test_add_func("/chr/character-file", test_character_file);
    g_test_add_func("/chr/own-output", test_own_output);
    g_test_add_func("/chr/socket", test_socket);
    g_test_add_func("/chr/addresses", test_addresses);
    g_test_add_func("/chr/moving-name", test_moving_name);
    g_test_add_func("/chr/hang-up", test_hang_up);
    g_test_add_func("/chr/full-queue", test_full_queue);
    g_test_add_func("/chr/mux", test_mux);
    g_test_add_func("/chr/mux-much", test_mux_much);
    g_test_add_func("/chr/busy", test_busy);
    g_test_add_func("/chr/pty", test_pty);
    g_test_add_func("/chr/change", test_change);
    g_test_add_func("/chr/telnet", test_telnet);
    return g_test_run();
}
