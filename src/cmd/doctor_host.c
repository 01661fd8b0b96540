/* What the kernel offers for networks, disks and memory. */
#include "cmd/doctor.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static void check_device(struct doctor *d, const char *id, const char *path, const char *mend, const char *use)
{
    if (access(path, F_OK) < 0)
        doctor_add(d, DOCTOR_MISSING, id, mend, "no %s: %s", path, use);
    else if (access(path, R_OK | W_OK) < 0)
        doctor_add(d, DOCTOR_WARN, id, "run as root, or give this user access", "%s may not be opened: %s", path, use);
    else
        doctor_add(d, DOCTOR_OK, id, NULL, "%s", path);
}

static void check_hugepages(struct doctor *d)
{
    g_autofree char *info = NULL, *thp = NULL;
    const char *p, *open, *close;
    long pages = 0;

    if (g_file_get_contents("/proc/meminfo", &info, NULL, NULL) && (p = strstr(info, "HugePages_Total:")))
        pages = strtol(p + 16, NULL, 10);
    if (pages > 0)
        doctor_add(d, DOCTOR_OK, "hugepages", NULL, "%ld reserved", pages);
    else
        doctor_add(d, DOCTOR_WARN, "hugepages", "sysctl vm.nr_hugepages=N (2 MiB each), only if you want them reserved",
                   "none reserved");
    if (!g_file_get_contents("/sys/kernel/mm/transparent_hugepage/enabled", &thp, NULL, NULL)) {
        doctor_add(d, DOCTOR_WARN, "thp", NULL, "this kernel has no transparent huge pages");
        return;
    }
    open = strchr(thp, '[');
    close = open ? strchr(open, ']') : NULL;
    if (close && !strncmp(open, "[never]", 7))
        doctor_add(d, DOCTOR_WARN, "thp", "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled", "off: memory is slower");
    else if (close)
        doctor_add(d, DOCTOR_OK, "thp", NULL, "%.*s", (int)(close - open - 1), open + 1);
}

static void check_memory(struct doctor *d)
{
    g_autofree char *info = NULL;
    const char *p;
    long mib = 0;

    if (g_file_get_contents("/proc/meminfo", &info, NULL, NULL) && (p = strstr(info, "MemAvailable:")))
        mib = strtol(p + 13, NULL, 10) / 1024;
    if (mib >= 512)
        doctor_add(d, DOCTOR_OK, "memory", NULL, "%ld MiB available", mib);
    else
        doctor_add(d, DOCTOR_WARN, "memory", "end other programs, or give guests less with -m", "only %ld MiB available", mib);
}

/* The running kernel's configuration, or NULL where it is not told. */
static char *kernel_config(void)
{
    gzFile z = gzopen("/proc/config.gz", "rb");
    GString *s;
    char buf[4096];
    int n;

    if (!z) {
        char *text = NULL;
        g_autofree char *release = NULL, *path = NULL;

        if (!g_file_get_contents("/proc/sys/kernel/osrelease", &release, NULL, NULL))
            return NULL;
        path = g_strdup_printf("/boot/config-%s", g_strchomp(release));
        return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
    }
    s = g_string_new("\n");
    while ((n = gzread(z, buf, sizeof(buf))) > 0 && s->len < 4 * 1024 * 1024)
        g_string_append_len(s, buf, n);
    gzclose(z);
    return g_string_free(s, FALSE);
}

static void check_config(struct doctor *d)
{
    static const struct {
        const char *option, *use;
    } wanted[] = {
        {"CONFIG_KVM", "hardware virtualization"}, {"CONFIG_TUN", "tap networking"},
        {"CONFIG_BRIDGE", "bridged networking"}, {"CONFIG_VHOST_NET", "fast tap networking"},
        {"CONFIG_BLK_DEV_NBD", "images as block devices"}, {"CONFIG_VFIO", "passing host devices through"},
        {"CONFIG_IO_URING", "fast disk I/O"}, {"CONFIG_SECCOMP_FILTER", "the sandbox"},
    };
    g_autofree char *config = kernel_config();

    if (!config) {
        doctor_add(d, DOCTOR_WARN, "kernel config", NULL, "not told (/proc/config.gz, /boot/config-*)");
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_autofree char *yes = g_strdup_printf("\n%s=y", wanted[i].option);
        g_autofree char *module = g_strdup_printf("\n%s=m", wanted[i].option);

        if (strstr(config, yes) || strstr(config, module))
            doctor_add(d, DOCTOR_OK, "kernel config", NULL, "%s (%s)", wanted[i].option, wanted[i].use);
        else
            doctor_add(d, DOCTOR_WARN, "kernel config", "another kernel", "%s is off: no %s", wanted[i].option,
                       wanted[i].use);
    }
}

void doctor_check_host(struct doctor *d)
{
    check_memory(d);
    check_device(d, "tun", "/dev/net/tun", "modprobe tun", "no tap networking; user-mode networking needs nothing");
    check_device(d, "vhost-net", "/dev/vhost-net", "modprobe vhost_net", "tap networking is slower without");
    check_device(d, "nbd", "/dev/nbd0", "modprobe nbd max_part=8", "images cannot be attached as block devices");
    check_hugepages(d);
    check_config(d);
}
