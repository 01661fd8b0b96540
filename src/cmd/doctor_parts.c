/* Libraries, firmware and helper programs that features use. */
#include "cmd/doctor.h"

#include <dlfcn.h>
#include <glib.h>
#include <unistd.h>

static void check_libraries(struct doctor *d)
{
    static const struct {
        const char *so, *package, *use;
    } libs[] = {
        {"libglib-2.0.so.0", "libglib2.0-0", "everything"},
        {"libslirp.so.0", "libslirp0", "user-mode networking"},
        {"libjansson.so.4", "libjansson4", "QMP and JSON options"},
        {"libz.so.1", "zlib1g", "compressed disk images"},
        {"libzstd.so.1", "libzstd1", "zstd-compressed disk images"},
        {"libcapstone.so.4", "libcapstone4", "disassembly"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(libs); i++) {
        void *h = dlopen(libs[i].so, RTLD_LAZY | RTLD_LOCAL);
        g_autofree char *mend = g_strdup_printf("apt-get install %s", libs[i].package);

        if (h)
            doctor_add(d, DOCTOR_OK, "library", NULL, "%s (%s)", libs[i].so, libs[i].use);
        else
            doctor_add(d, DOCTOR_MISSING, "library", mend, "%s: no %s", libs[i].so, libs[i].use);
        if (h)
            dlclose(h);
    }
}

static void check_firmware(struct doctor *d)
{
    static const struct {
        const char *path, *package, *use;
    } images[] = {
        {"/usr/share/seabios/bios-256k.bin", "seabios", "BIOS guests"},
        {"/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf", "UEFI guests"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *mend = g_strdup_printf("apt-get install %s", images[i].package);

        if (access(images[i].path, R_OK) == 0)
            doctor_add(d, DOCTOR_OK, "firmware", NULL, "%s (%s)", images[i].path, images[i].use);
        else
            doctor_add(d, DOCTOR_WARN, "firmware", mend, "no %s: %s (-kernel needs none)", images[i].path, images[i].use);
    }
}

static void check_programs(struct doctor *d)
{
    static const struct {
        const char *name, *package, *use;
    } programs[] = {
        {"mmdebstrap", "mmdebstrap", "make run builds its Debian guest"},
        {"mkfs.ext4", "e2fsprogs", "file systems for new guests"},
        {"dnsmasq", "dnsmasq-base", "DHCP and DNS of virtual networks"},
        {"nft", "nftables", "NAT of virtual networks"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_autofree char *path = g_find_program_in_path(programs[i].name);
        g_autofree char *mend = g_strdup_printf("apt-get install %s", programs[i].package);

        if (path)
            doctor_add(d, DOCTOR_OK, "helper", NULL, "%s (%s)", path, programs[i].use);
        else
            doctor_add(d, DOCTOR_WARN, "helper", mend, "no %s: %s", programs[i].name, programs[i].use);
    }
}

void doctor_check_parts(struct doctor *d)
{
    check_libraries(d);
    check_firmware(d);
    check_programs(d);
}
