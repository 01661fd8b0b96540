/* -smp and -m: what QEMU's rules make of them. */
#include "cmd/vm_args.h"

#include <string.h>

static void smp(const char *text, unsigned cpus, unsigned sockets, unsigned dies, unsigned cores,
                unsigned threads)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    struct viv_smp s;

    g_assert_cmpint(viv_raw_parse("-smp", "cpus", text, &r, NULL), ==, 0);
    if (vm_smp_parse(r, &s, &err) < 0)
        g_error("-smp %s: %s", text, err.text);
    viv_raw_free(r);
    g_assert_cmpuint(s.cpus, ==, cpus);
    g_assert_cmpuint(s.maxcpus, ==, sockets * dies * cores * threads);
    g_assert_cmpuint(s.sockets, ==, sockets);
    g_assert_cmpuint(s.dies, ==, dies);
    g_assert_cmpuint(s.cores, ==, cores);
    g_assert_cmpuint(s.threads, ==, threads);
}

static void no_smp(const char *text, const char *want)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    struct viv_smp s;

    g_assert_cmpint(viv_raw_parse("-smp", "cpus", text, &r, NULL), ==, 0);
    g_assert_cmpint(vm_smp_parse(r, &s, &err), <, 0);
    viv_raw_free(r);
    if (!strstr(err.text, want))
        g_error("-smp %s gave '%s'", text, err.text);
}

static void test_smp(void)
{
    smp("1", 1, 1, 1, 1, 1);
    smp("4", 4, 1, 1, 4, 1); /* cores first */
    smp("4,sockets=2,cores=2,threads=1", 4, 2, 1, 2, 1);
    smp("8,sockets=2", 8, 2, 1, 4, 1);
    smp("8,cores=2", 8, 4, 1, 2, 1);
    smp("8,threads=2", 8, 1, 1, 4, 2);
    smp("8,sockets=2,cores=2", 8, 2, 1, 2, 2);
    smp("sockets=2,cores=3,threads=2", 12, 2, 1, 3, 2);
    smp("8,dies=2", 8, 1, 2, 4, 1);
    smp("cores=4", 4, 1, 1, 4, 1);
    smp("maxcpus=4", 4, 1, 1, 4, 1);
    smp("4,maxcpus=4", 4, 1, 1, 4, 1);
    no_smp("4,sockets=3", "must match maxcpus");
    no_smp("0", "greater than zero");
    no_smp("-1", "out of range");
    smp("4,maxcpus=8", 4, 1, 1, 8, 1); /* half of the places are empty, and stay so */
    smp("2,maxcpus=8,sockets=2", 2, 2, 1, 4, 1);
    no_smp("4,maxcpus=2", "equal to or greater");
    no_smp("4,sockets=2147483647,threads=2147483647", "must match");
}

static bool mem(const char *text, uint64_t want)
{
    bool room = false;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *r;
    uint64_t bytes;

    g_assert_cmpint(viv_raw_parse("-m", "size", text, &r, NULL), ==, 0);
    if (want) {
        if (vm_mem_parse(r, &bytes, &room, &err) < 0)
            g_error("-m %s: %s", text, err.text);
        g_assert_cmpuint(bytes, ==, want);
    } else {
        g_assert_cmpint(vm_mem_parse(r, &bytes, &room, &err), <, 0);
        g_assert_true(g_str_has_prefix(err.text, "-m"));
    }
    viv_raw_free(r);
    return room;
}

static void test_mem(void)
{
    static const char *const bad[] = {"0", "0G", "-1", "1X", "1k", "", "8G,slots=x", "8G,slots=257", "size=2G,maxmem=1G", "1G,maxmem=1X",
                                      "16E", "15E", "1G,mem=1", NULL};

    mem("512", 512ull << 20);
    mem("8G", 8ull << 30);
    mem("size=2G", 2ull << 30);
    mem("1.5G", 3ull << 29);
    mem("2097152k", 2ull << 30);
    g_assert_true(mem("8G,slots=1", 8ull << 30));
    g_assert_true(mem("slots=2,maxmem=16G,size=8G", 8ull << 30));
    g_assert_false(mem("8G,slots=0,maxmem=8G", 8ull << 30));
    mem("3000001k", (3000001ull * 1024 + 8191) & ~8191ull);
    for (size_t i = 0; bad[i]; i++) {
        if (bad[i][0])
            mem(bad[i], 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/smp", test_smp);
    g_test_add_func("/config/mem", test_mem);
    return g_test_run();
}
