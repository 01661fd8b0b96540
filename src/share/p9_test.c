/* What a well-behaved client gets, in each security model. */
#include "share/p9_client_test.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum { FILE_FID = 10, DIR_FID, OTHER_FID, X_FID };

static bool mapped(const struct client *c)
{
    return c->dev.model >= VIV_SHARE_MAPPED_XATTR;
}

static char *host(const struct client *c, const char *name)
{
    return g_build_filename(c->path, name, NULL);
}

static void test_version(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, false);

    FAILS(c, EPROTO, P9_ATTACH, "ddssd", D(ROOT), D(NOFID), "root", "", D(0));
    OK(c, P9_VERSION, "ds", D(8192), "9P2000.u");
    p9_get32(&c->in);
    g_assert_cmpstr(p9_get_str(&c->in), ==, "unknown");
    FAILS(c, EPROTO, P9_STATFS, "d", D(ROOT));
    FAILS(c, EMSGSIZE, P9_VERSION, "ds", D(100), "9P2000.L");
    OK(c, P9_VERSION, "ds", D(0x7fffffff), "9P2000.L");
    g_assert_cmpuint(p9_get32(&c->in), ==, VIV_P9_MSIZE_MAX);
    g_assert_false(viv_p9_mounted(c->p9));
    client_mount(c);
    g_assert_true(viv_p9_mounted(c->p9));
    FAILS(c, EOPNOTSUPP, P9_AUTH, "dssd", D(9), "root", "", D(0));
    FAILS(c, EBADF, P9_ATTACH, "ddssd", D(ROOT), D(NOFID), "root", "", D(0));
    OK(c, P9_STATFS, "d", D(ROOT));
    client_mount(c); /* Tversion forgets all fids */
    clunk(c, ROOT);
    g_assert_false(viv_p9_mounted(c->p9));
    client_free(c);
}

static void check_file(struct client *c)
{
    struct attr a;

    OK(c, P9_WALK, "ddw", D(ROOT), D(FILE_FID), 0);
    OK(c, P9_LCREATE, "dsddd", D(FILE_FID), "file", D(O_RDWR), D(04751), D(2000));
    a = attr_of(c, FILE_FID);
    g_assert_cmphex(a.mode, ==, S_IFREG | 04751);
    if (mapped(c) || !getuid()) {
        g_assert_cmpuint(a.uid, ==, 1000);
        g_assert_cmpuint(a.gid, ==, 2000);
    }
    write_at(c, FILE_FID, 3, "hello");
    read_at(c, FILE_FID, 4, 100, "ello");
    read_at(c, FILE_FID, 100, 100, "");
    OK(c, P9_FSYNC, "dd", D(FILE_FID), D(0));
    OK(c, P9_FSYNC, "dd", D(FILE_FID), D(1));
    g_assert_cmpuint(attr_of(c, FILE_FID).size, ==, 8);
    OK(c, P9_SETATTR, "ddddd" "qqqqq", D(FILE_FID), D(1 | 8), D(0100600), D(0), D(0), Q(5), Q(0), Q(0), Q(0), Q(0));
    a = attr_of(c, FILE_FID);
    g_assert_cmphex(a.mode, ==, S_IFREG | 0600);
    g_assert_cmpuint(a.size, ==, 5);
    /* Times: one given, one left; then now. */
    OK(c, P9_SETATTR, "ddddd" "qqqqq", D(FILE_FID), D(0x20 | 0x100), D(0), D(0), D(0), Q(0), Q(0), Q(0), Q(1234), Q(567));
    OK(c, P9_GETATTR, "dq", D(FILE_FID), Q(0x7ff));
    g_assert_cmpuint(viv_ld_le64(c->in.p + 89), ==, 1234);
    FAILS(c, EINVAL, P9_SETATTR, "ddddd" "qqqqq", D(FILE_FID), D(0x20 | 0x100), D(0), D(0), D(0), Q(0), Q(0), Q(0), Q(1), Q(1000000000));
    clunk(c, FILE_FID);
}

static void check_names(struct client *c)
{
    struct attr a, b;

    OK(c, P9_MKDIR, "dsdd", D(ROOT), "d", D(01777), D(5));
    g_assert_cmpuint(c->in.p[0], ==, 0x80);
    g_assert_cmpint(walk(c, DIR_FID, "d"), ==, 0);
    g_assert_cmphex(attr_of(c, DIR_FID).mode, ==, S_IFDIR | 01777);
    OK(c, P9_SYMLINK, "dssd", D(ROOT), "l", "../../etc/x", D(5));
    g_assert_cmpuint(c->in.p[0], ==, 2);
    g_assert_cmpint(walk(c, OTHER_FID, "l"), ==, 0);
    OK(c, P9_READLINK, "d", D(OTHER_FID));
    g_assert_cmpstr(p9_get_str(&c->in), ==, "../../etc/x");
    a = attr_of(c, OTHER_FID);
    g_assert_cmphex(a.mode, ==, S_IFLNK | 0777);
    g_assert_cmpuint(a.size, ==, 11);
    clunk(c, OTHER_FID);
    g_assert_cmpint(walk(c, FILE_FID, "file"), ==, 0);
    OK(c, P9_LINK, "dds", D(DIR_FID), D(FILE_FID), "hard");
    FAILS(c, EEXIST, P9_LINK, "dds", D(DIR_FID), D(FILE_FID), "hard");
    FAILS(c, EEXIST, P9_MKDIR, "dsdd", D(ROOT), "d", D(0), D(0));
    a = attr_of(c, FILE_FID);
    g_assert_cmpuint(a.nlink, ==, 2);
    OK(c, P9_RENAMEAT, "dsds", D(DIR_FID), "hard", D(ROOT), "hard2");
    OK(c, P9_RENAME, "dds", D(FILE_FID), D(DIR_FID), "moved");
    g_assert_cmpint(walk(c, OTHER_FID, "file"), ==, ENOENT);
    OK(c, P9_WALK, "ddwsss", D(ROOT), D(OTHER_FID), 3, "d", "..", "hard2");
    b = attr_of(c, OTHER_FID);
    g_assert_cmpuint(b.path, ==, a.path);
    g_assert_cmphex(b.mode, ==, a.mode);
    g_assert_cmpuint(b.uid, ==, a.uid);
    OK(c, P9_REMOVE, "d", D(OTHER_FID));
    FAILS(c, EBADF, P9_GETATTR, "dq", D(OTHER_FID), Q(0x7ff));
    g_assert_cmpuint(attr_of(c, FILE_FID).nlink, ==, 1);
    FAILS(c, ENOTEMPTY, P9_UNLINKAT, "dsd", D(ROOT), "d", D(AT_REMOVEDIR));
    FAILS(c, EISDIR, P9_UNLINKAT, "dsd", D(ROOT), "d", D(0));
    OK(c, P9_UNLINKAT, "dsd", D(DIR_FID), "moved", D(0));
    OK(c, P9_UNLINKAT, "dsd", D(ROOT), "d", D(AT_REMOVEDIR));
    OK(c, P9_UNLINKAT, "dsd", D(ROOT), "l", D(0));
    clunk(c, FILE_FID);
    clunk(c, DIR_FID);
}

static void check_nodes(struct client *c)
{
    bool may = mapped(c) || !getuid();
    int rc = call(c, P9_MKNOD, "dsdddd", D(ROOT), "dev", D(S_IFCHR | 0620), D(10), D(300), D(5));

    OK(c, P9_MKNOD, "dsdddd", D(ROOT), "fifo", D(S_IFIFO | 0600), D(0), D(0), D(5));
    FAILS(c, EINVAL, P9_MKNOD, "dsdddd", D(ROOT), "dir", D(S_IFDIR | 0600), D(0), D(0), D(5));
    g_assert_cmpint(walk(c, FILE_FID, "fifo"), ==, 0);
    g_assert_cmphex(attr_of(c, FILE_FID).mode, ==, S_IFIFO | 0600);
    FAILS(c, ENXIO, P9_LOPEN, "dd", D(FILE_FID), D(O_RDONLY));
    FAILS(c, EINVAL, P9_READLINK, "d", D(FILE_FID));
    OK(c, P9_REMOVE, "d", D(FILE_FID));
    if (rc) {
        g_assert(!may || rc == EPERM);
        return;
    }
    g_assert_cmpint(walk(c, FILE_FID, "dev"), ==, 0);
    g_assert_cmphex(attr_of(c, FILE_FID).mode, ==, S_IFCHR | 0620);
    g_assert_cmphex(attr_of(c, FILE_FID).rdev, ==, makedev(10, 300));
    OK(c, P9_REMOVE, "d", D(FILE_FID));
}

static unsigned list(struct client *c, uint32_t fid, uint32_t count, GHashTable *seen)
{
    uint64_t offset = 0;
    unsigned n = 0;

    for (;;) {
        uint32_t len;

        OK(c, P9_READDIR, "dqd", fid, offset, count);
        len = p9_get32(&c->in);
        g_assert_cmpuint(len, ==, c->in.left);
        if (!len)
            return n;
        while (c->in.left) {
            p9_take(&c->in, P9_QID_SIZE);
            offset = p9_get64(&c->in);
            p9_get8(&c->in);
            g_assert_true(g_hash_table_add(seen, g_strdup(p9_get_str(&c->in))));
            g_assert_false(c->in.bad);
            n++;
        }
    }
}

static void check_readdir(struct client *c)
{
    g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) few = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    OK(c, P9_MKDIR, "dsdd", D(ROOT), "many", D(0755), D(5));
    g_assert_cmpint(walk(c, DIR_FID, "many"), ==, 0);
    for (int i = 0; i < 300; i++) {
        g_autofree char *name = g_strdup_printf("%d-%0*d", i, i % 100, i);

        OK(c, P9_MKNOD, "dsdddd", D(DIR_FID), name, D(S_IFREG | 0600), D(0), D(0), D(5));
    }
    FAILS(c, EISDIR, P9_LOPEN, "dd", D(DIR_FID), D(O_RDWR));
    OK(c, P9_LOPEN, "dd", D(DIR_FID), D(O_RDONLY | O_DIRECTORY));
    g_assert_cmpuint(list(c, DIR_FID, 30000, all), ==, 302);
    g_assert_cmpuint(list(c, DIR_FID, 150, few), ==, 302);
    FAILS(c, EINVAL, P9_READDIR, "dqd", D(DIR_FID), Q(0), D(10));
    FAILS(c, EBADF, P9_READ, "dqd", D(DIR_FID), Q(0), D(10));
    clunk(c, DIR_FID);
}

static void set_xattr(struct client *c, int want, const char *name, const char *value, uint32_t flags)
{
    g_assert_cmpint(walk(c, X_FID, "x"), ==, 0);
    OK(c, P9_XATTRCREATE, "dsqd", D(X_FID), name, Q(strlen(value)), flags);
    if (*value)
        write_at(c, X_FID, 0, value);
    FAILS(c, want, P9_CLUNK, "d", D(X_FID));
}

static void get_xattr(struct client *c, const char *name, const char *value, size_t len)
{
    OK(c, P9_XATTRWALK, "dds", D(FILE_FID), D(X_FID), name);
    g_assert_cmpuint(p9_get64(&c->in), ==, len);
    OK(c, P9_READ, "dqd", D(X_FID), Q(0), D(1000));
    g_assert_cmpuint(p9_get32(&c->in), ==, len);
    g_assert_cmpmem(c->in.p, len, value, len);
    clunk(c, X_FID);
}

static void check_xattrs(struct client *c)
{
    OK(c, P9_MKNOD, "dsdddd", D(ROOT), "x", D(S_IFREG | 0600), D(0), D(0), D(5));
    g_assert_cmpint(walk(c, FILE_FID, "x"), ==, 0);
    set_xattr(c, 0, "user.one", "value", XATTR_CREATE);
    set_xattr(c, EEXIST, "user.one", "again", XATTR_CREATE);
    set_xattr(c, ENODATA, "user.two", "again", XATTR_REPLACE);
    get_xattr(c, "user.one", "value", 5);
    get_xattr(c, "", "user.one", 9);
    set_xattr(c, 0, "user.one", "", 0);
    FAILS(c, ENODATA, P9_XATTRWALK, "dds", D(FILE_FID), D(X_FID), "user.one");
    FAILS(c, EOPNOTSUPP, P9_XATTRWALK, "dds", D(FILE_FID), D(X_FID), "trusted.x");
    if (c->dev.model == VIV_SHARE_MAPPED_XATTR) {
        FAILS(c, EOPNOTSUPP, P9_XATTRWALK, "dds", D(FILE_FID), D(X_FID), "user.virtfs.uid");
        set_xattr(c, 0, "system.posix_acl_access", "acl", 0);
        get_xattr(c, "system.posix_acl_access", "acl", 3);
        get_xattr(c, "", "system.posix_acl_access", 24);
    }
    clunk(c, FILE_FID);
}

static int lock(struct client *c, uint32_t fid, int type, uint64_t start, uint64_t len, uint32_t process)
{
    OK(c, P9_LOCK, "dbdqqds", fid, type, D(0), start, len, process, "client");
    return p9_get8(&c->in);
}

static void check_locks(struct client *c)
{
    g_assert_cmpint(create(c, FILE_FID, "locked"), ==, 0);
    g_assert_cmpint(walk(c, OTHER_FID, "locked"), ==, 0);
    OK(c, P9_LOPEN, "dd", D(OTHER_FID), D(O_RDONLY));
    g_assert_cmpint(lock(c, FILE_FID, 1, 10, 10, 1), ==, 0);
    g_assert_cmpint(lock(c, FILE_FID, 1, 15, 10, 1), ==, 0); /* its own */
    g_assert_cmpint(lock(c, FILE_FID, 1, 15, 10, 2), ==, 1);
    g_assert_cmpint(lock(c, OTHER_FID, 0, 0, 0, 2), ==, 1);
    g_assert_cmpint(lock(c, OTHER_FID, 0, 0, 10, 2), ==, 0);
    FAILS(c, EBADF, P9_LOCK, "dbdqqds", D(OTHER_FID), 1, D(0), Q(100), Q(1), D(2), "client");
    OK(c, P9_GETLOCK, "dbqqds", D(OTHER_FID), 0, Q(0), Q(0), D(2), "client");
    g_assert_cmpuint(p9_get8(&c->in), ==, 1);
    g_assert_cmpuint(p9_get64(&c->in), ==, 10);
    g_assert_cmpuint(p9_get64(&c->in), ==, 15);
    g_assert_cmpint(lock(c, FILE_FID, 2, 0, 0, 1), ==, 0);
    g_assert_cmpint(lock(c, OTHER_FID, 0, 0, 0, 2), ==, 0);
    clunk(c, OTHER_FID); /* and its locks */
    g_assert_cmpint(lock(c, FILE_FID, 1, 0, 0, 1), ==, 0);
    FAILS(c, EINVAL, P9_LOCK, "dbdqqds", D(FILE_FID), 1, D(0), Q(-1), Q(1), D(2), "client");
    FAILS(c, EINVAL, P9_LOCK, "dbdqqds", D(FILE_FID), 7, D(0), Q(0), Q(1), D(2), "client");
    clunk(c, FILE_FID);
}

static bool has_xattrs(const struct client *c)
{
    return !setxattr(c->path, "user.viv", "x", 1, 0) && !removexattr(c->path, "user.viv");
}

static void test_model(gconstpointer model)
{
    struct client *c = client_new(GPOINTER_TO_INT(model), false);

    if (c->dev.model == VIV_SHARE_MAPPED_XATTR && !has_xattrs(c)) {
        g_test_skip("no user.* attributes on the file system of temporary files");
    } else {
        client_mount(c);
        check_file(c);
        check_names(c);
        check_nodes(c);
        check_readdir(c);
        check_locks(c);
        if (has_xattrs(c))
            check_xattrs(c);
    }
    client_free(c);
}

/* The bytes and lines that QEMU 7.2 writes for the same. */
static void test_xattr_format(void)
{
    struct client *c = client_new(VIV_SHARE_MAPPED_XATTR, false);
    g_autofree char *dev = host(c, "dev"), *link = host(c, "l"), *text = NULL;
    static const uint8_t rdev[] = {0x2c, 0x0a, 0x10, 0, 0, 0, 0, 0}, mode[] = {0xa4, 0x21, 0, 0}, gid[] = {0xd0, 7, 0, 0};
    uint8_t got[8];
    struct stat st;

    if (!has_xattrs(c)) {
        g_test_skip("no user.* attributes");
        client_free(c);
        return;
    }
    client_mount(c);
    OK(c, P9_MKNOD, "dsdddd", D(ROOT), "dev", D(S_IFCHR | 0644), D(10), D(300), D(2000));
    OK(c, P9_SYMLINK, "dssd", D(ROOT), "l", "target/x", D(5));
    g_assert_cmpint(getxattr(dev, "user.virtfs.rdev", got, 8), ==, 8);
    g_assert_cmpmem(got, 8, rdev, 8);
    g_assert_cmpint(getxattr(dev, "user.virtfs.mode", got, 8), ==, 4);
    g_assert_cmpmem(got, 4, mode, 4);
    g_assert_cmpint(getxattr(dev, "user.virtfs.gid", got, 8), ==, 4);
    g_assert_cmpmem(got, 4, gid, 4);
    g_assert(!lstat(link, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0600);
    g_assert(g_file_get_contents(link, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "target/x");
    client_free(c);
}

static void test_file_format(void)
{
    struct client *c = client_new(VIV_SHARE_MAPPED_FILE, false);
    g_autofree char *meta = host(c, ".virtfs_metadata/dev"), *hand = host(c, ".virtfs_metadata/hand"), *file = host(c, "hand");
    g_autofree char *root = host(c, ".virtfs_metadata_root"), *text = NULL, *own = NULL;
    g_autofree char *stale = host(c, "e/.virtfs_metadata/gone");

    client_mount(c);
    OK(c, P9_MKNOD, "dsdddd", D(ROOT), "dev", D(S_IFCHR | 0644), D(10), D(300), D(2000));
    g_assert(g_file_get_contents(meta, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "virtfs.uid=1000\nvirtfs.gid=2000\nvirtfs.mode=8612\nvirtfs.rdev=1051180\n");
    OK(c, P9_SETATTR, "ddddd" "qqqqq", D(ROOT), D(2), D(0), D(77), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
    g_assert(g_file_get_contents(root, &own, NULL, NULL));
    g_assert_cmpstr(own, ==, "virtfs.uid=77\n");
    g_assert_cmpuint(attr_of(c, ROOT).uid, ==, 77);
    g_assert(g_file_set_contents(file, "x", 1, NULL));
    g_assert(g_file_set_contents(hand, "junk\nvirtfs.gid=9\nvirtfs.uid=99999999999\nvirtfs.mode=41471\n", -1, NULL));
    g_assert_cmpint(walk(c, FILE_FID, "hand"), ==, 0);
    g_assert_cmpuint(attr_of(c, FILE_FID).gid, ==, 9);
    g_assert_cmpuint(attr_of(c, FILE_FID).uid, ==, getuid());
    g_assert_cmphex(attr_of(c, FILE_FID).mode, ==, S_IFLNK | 0777);
    g_assert_cmpint(walk(c, OTHER_FID, ".virtfs_metadata"), ==, ENOENT);
    FAILS(c, EINVAL, P9_MKDIR, "dsdd", D(ROOT), ".virtfs_metadata_root", D(0), D(0));
    /* A file without a name takes no attributes of another of that name, and leaves none; what was left over is swept. */
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "e", D(0700), D(0));
    g_assert_cmpint(walk(c, DIR_FID, "e"), ==, 0);
    OK(c, P9_MKNOD, "dsdddd", D(DIR_FID), "gone", D(S_IFREG | 0644), D(0), D(0), D(0));
    OK(c, P9_WALK, "ddws", D(DIR_FID), D(OTHER_FID), 1, "gone");
    OK(c, P9_UNLINKAT, "dsd", D(DIR_FID), "gone", D(0));
    OK(c, P9_SETATTR, "ddddd" "qqqqq", D(OTHER_FID), D(1), D(0600), D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
    g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
    g_assert(g_file_set_contents(stale, "virtfs.uid=1\n", -1, NULL));
    OK(c, P9_UNLINKAT, "dsd", D(ROOT), "e", D(AT_REMOVEDIR));
    clunk(c, DIR_FID);
    /* A folder whose attributes' folder is all that is left can be replaced. */
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "a", D(0700), D(0));
    OK(c, P9_MKDIR, "dsdd", D(ROOT), "b", D(0700), D(0));
    g_assert_cmpint(walk(c, DIR_FID, "b"), ==, 0);
    OK(c, P9_MKNOD, "dsdddd", D(DIR_FID), "in", D(S_IFREG | 0644), D(0), D(0), D(0));
    FAILS(c, ENOTEMPTY, P9_RENAMEAT, "dsds", D(ROOT), "a", D(ROOT), "b");
    OK(c, P9_UNLINKAT, "dsd", D(DIR_FID), "in", D(0));
    OK(c, P9_RENAMEAT, "dsds", D(ROOT), "a", D(ROOT), "b");
    client_free(c);
}

static void test_readonly(void)
{
    struct client *c = client_new(VIV_SHARE_NONE, true);
    g_autofree char *file = host(c, "file");

    g_assert(g_file_set_contents(file, "text", 4, NULL));
    client_mount(c);
    g_assert_cmpint(walk(c, FILE_FID, "file"), ==, 0);
    FAILS(c, EROFS, P9_LOPEN, "dd", D(FILE_FID), D(O_RDWR));
    FAILS(c, EROFS, P9_LOPEN, "dd", D(FILE_FID), D(O_RDONLY | O_TRUNC));
    FAILS(c, EROFS, P9_MKDIR, "dsdd", D(ROOT), "d", D(0), D(0));
    FAILS(c, EROFS, P9_UNLINKAT, "dsd", D(ROOT), "file", D(0));
    FAILS(c, EROFS, P9_SETATTR, "ddddd" "qqqqq", D(FILE_FID), D(8), D(0), D(0), D(0), Q(0), Q(0), Q(0), Q(0), Q(0));
    OK(c, P9_LOPEN, "dd", D(FILE_FID), D(O_RDONLY));
    FAILS(c, EBADF, P9_WRITE, "dqdx", D(FILE_FID), Q(0), D(1), (size_t)1, "x");
    read_at(c, FILE_FID, 0, 10, "text");
    FAILS(c, EROFS, P9_REMOVE, "d", D(FILE_FID));
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    client_free(c);
}

static void refused(const char *text, const char *why)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;

    g_assert(!viv_raw_parse("-fsdev", "fsdriver", text, &r, &err));
    g_assert_cmpint(viv_fsdev_add(r, &err), <, 0);
    viv_raw_free(r);
    if (!strstr(err.text, why))
        g_error("'%s' is not in: %s", why, err.text);
}

static void test_options(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;

    refused("proxy,id=a", "'local' only");
    refused("local,id=a,path=/", "security_model= is missing");
    refused("local,path=/,security_model=none", "id");
    refused("local,id=a,path=/nowhere,security_model=none", "/nowhere");
    refused("local,id=a,path=/dev/null,security_model=none", "no folder");
    refused("local,id=a,path=/,security_model=none,fmode=0644", "mapped");
    refused("local,id=a,path=/,security_model=mapped,fmode=0999", "octal");
    refused("local,id=a,path=/,security_model=mapped,writeout=immediate", "leave it out");
    g_assert(!viv_raw_parse("-fsdev", "fsdriver", "local,id=a,path=/,security_model=mapped,dmode=755,readonly", &r, &err));
    g_assert_cmpint(viv_fsdev_add(r, &err), ==, 0);
    viv_raw_free(r);
    g_assert_cmphex(viv_fsdev_find("a")->dmode, ==, 0755);
    g_assert_true(viv_fsdev_find("a")->readonly);
    refused("local,id=a,path=/,security_model=none", "already");
    viv_fsdev_free_all();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    viv_p9_thread_init();
    g_test_add_func("/9p/version", test_version);
    g_test_add_data_func("/9p/passthrough", GINT_TO_POINTER(VIV_SHARE_PASSTHROUGH), test_model);
    g_test_add_data_func("/9p/none", GINT_TO_POINTER(VIV_SHARE_NONE), test_model);
    g_test_add_data_func("/9p/mapped-xattr", GINT_TO_POINTER(VIV_SHARE_MAPPED_XATTR), test_model);
    g_test_add_data_func("/9p/mapped-file", GINT_TO_POINTER(VIV_SHARE_MAPPED_FILE), test_model);
    g_test_add_func("/9p/format/xattr", test_xattr_format);
    g_test_add_func("/9p/format/file", test_file_format);
    g_test_add_func("/9p/readonly", test_readonly);
    g_test_add_func("/9p/options", test_options);
    return g_test_run();
}
