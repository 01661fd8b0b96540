/* From the CPU's flags to KVM's measured speed: each step only where the one before it holds. */
#include "cmd/doctor.h"

#include "accel/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool word_in(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = text; (p = strstr(p, word)); p += len)
        if ((p == text || g_ascii_isspace(p[-1])) && (!p[len] || g_ascii_isspace(p[len])))
            return true;
    return false;
}

/* The flags line of the first CPU. */
static char *cpu_flags(void)
{
    g_autofree char *info = NULL;
    char *p;

    if (!g_file_get_contents("/proc/cpuinfo", &info, NULL, NULL))
        return g_strdup("");
    p = strstr(info, "\nflags");
    p = p ? strchr(p, ':') : NULL;
    return p ? g_strndup(p + 1, strcspn(p, "\n")) : g_strdup("");
}

/* "vmx", "svm" or NULL. */
static const char *check_cpu(struct doctor *d)
{
    g_autofree char *flags = cpu_flags();
    const char *name = word_in(flags, "vmx") ? "vmx" : word_in(flags, "svm") ? "svm" : NULL;

    if (name)
        doctor_add(d, DOCTOR_OK, "cpu", NULL, "%s (%s)", name, *name == 'v' ? "Intel VT-x" : "AMD-V");
    else if (word_in(flags, "hypervisor"))
        doctor_add(d, DOCTOR_MISSING, "cpu", "on the outer host: turn nested virtualization on for this VM (-cpu host)",
                   "no vmx or svm: this host is itself a virtual machine without nested virtualization");
    else
        doctor_add(d, DOCTOR_MISSING, "cpu", "turn virtualization (VT-x, AMD-V/SVM) on in the firmware set-up, if the "
                   "CPU has it", "no vmx or svm flag in /proc/cpuinfo");
    return name;
}

static void check_module(struct doctor *d, const char *flag)
{
    const char *module = !flag || *flag == 'v' ? "kvm_intel" : "kvm_amd";
    g_autofree char *path = g_strdup_printf("/sys/module/%s", module);
    g_autofree char *mend = g_strdup_printf("modprobe %s", module);
    g_autofree char *nested_path = g_strdup_printf("%s/parameters/nested", path);
    g_autofree char *nested = NULL, *nested_mend = NULL;

    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        doctor_add(d, DOCTOR_OK, "kvm module", NULL, "%s", module);
    else if (g_file_test("/sys/module/kvm", G_FILE_TEST_IS_DIR))
        doctor_add(d, flag ? DOCTOR_MISSING : DOCTOR_WARN, "kvm module", flag ? mend : NULL,
                   "kvm is there, but neither kvm_intel nor kvm_amd");
    else
        doctor_add(d, DOCTOR_MISSING, "kvm module", mend, "not loaded, and not built in");
    if (!g_file_get_contents(nested_path, &nested, NULL, NULL))
        return;
    if (nested[0] == 'Y' || nested[0] == '1') {
        doctor_add(d, DOCTOR_OK, "nested", NULL, "guests may run KVM themselves");
        return;
    }
    nested_mend = g_strdup_printf("echo options %s nested=1 >/etc/modprobe.d/kvm-nested.conf; modprobe -r %s; modprobe %s",
                                  module, module, module);
    doctor_add(d, DOCTOR_WARN, "nested", nested_mend, "guests cannot run KVM themselves");
}

/* Who may open it, and what this user has to do. */
static void explain_access(struct doctor *d, const struct stat *st)
{
    struct group *g = getgrgid(st->st_gid);
    struct passwd *u = getpwuid(geteuid());
    g_autofree char *mend = NULL;

    if ((st->st_mode & 060) == 060 && st->st_gid != 0)
        mend = g_strdup_printf("usermod -aG %s %s, then log in again", g ? g->gr_name : "kvm", u ? u->pw_name : "$USER");
    else
        mend = g_strdup("chgrp kvm /dev/kvm && chmod 660 /dev/kvm (as root; a udev rule makes it last), then join group kvm");
    doctor_add(d, DOCTOR_MISSING, "/dev/kvm", mend, "mode %03o, group %s: not for user %s", st->st_mode & 0777u,
               g ? g->gr_name : "?", u ? u->pw_name : "?");
}

static bool check_node(struct doctor *d)
{
    struct stat st;

    if (stat("/dev/kvm", &st) < 0) {
        doctor_add(d, DOCTOR_MISSING, "/dev/kvm", g_file_test("/sys/module/kvm", G_FILE_TEST_IS_DIR)
                   ? "mknod /dev/kvm c 10 232 (in a container: start it with --device /dev/kvm)"
                   : "load the kvm module first", "does not exist");
        return false;
    }
    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        explain_access(d, &st);
        return false;
    }
    doctor_add(d, DOCTOR_OK, "/dev/kvm", NULL, "may be opened (mode %03o)", st.st_mode & 0777u);
    return true;
}

void doctor_check_kvm(struct doctor *d, bool fresh)
{
    const char *flag = check_cpu(d);
    struct viv_err err = VIV_ERR_INIT;
    double rate = 0;
    bool cached = false;

    check_module(d, flag);
    if (!check_node(d)) {
        doctor_set_kvm(d, false, "/dev/kvm cannot be opened");
        return;
    }
    if (viv_kvm_open(&err) < 0) {
        doctor_add(d, DOCTOR_MISSING, "kvm api", NULL, "%s", err.text);
        doctor_set_kvm(d, false, err.text);
        return;
    }
    doctor_add(d, DOCTOR_OK, "kvm api", NULL, "version 12");
    if (viv_kvm_speed(fresh, &rate, &cached, &err) < 0) {
        doctor_add(d, DOCTOR_MISSING, "kvm speed", NULL, "%s", err.text);
        doctor_set_kvm(d, false, err.text);
    } else if (rate < VIV_KVM_SPEED_MIN) {
        doctor_add(d, DOCTOR_WARN, "kvm speed", "use a host with VT-x or SVM, or the software CPU (-accel xlate)",
                   "%.1f M kernel-mode instructions/s, %.0f M are needed: guest kernels are emulated%s", rate / 1e6,
                   VIV_KVM_SPEED_MIN / 1e6, cached ? " (measured earlier in this boot)" : "");
        doctor_set_kvm(d, false, "its KVM emulates guest kernels one instruction at a time");
    } else {
        doctor_add(d, DOCTOR_OK, "kvm speed", NULL, "at least %.0f M kernel-mode instructions/s%s", rate / 1e6,
                   cached ? " (measured earlier in this boot)" : "");
        doctor_set_kvm(d, true, NULL);
    }
}
