/* Builds the tables of all boards, checks their sums and links, and lets iasl read and re-compile the
 * DSDT where it is installed. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include "base/bytes.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#define BASE 0xe0000u

static const struct viv_acpi_cpu four[] = {{0}, {1}, {2}, {300}};

static const struct viv_acpi_info pc = {
    .gpe = 0x0c, .gpe_bytes = 4, .hot_buses = 3,
    .hot_bus = {{.slots = 0xfffffff8}, {.slots = 0xfffffffe, .above = 0, .bridge = 0x10}, {.slots = 1, .above = 1, .bridge = 0x03}},

    .cpus = four, .cpu_count = 4, .com_ports = 3, .rtc = true, .i8042 = true, .pic = true,
    .pit = true, .hpet = true, .fw_cfg = true, .ioapic = true, .ioapic_pins = 24, .pci = true,
    .pci32_first = 0xc0000000, .pci32_last = 0xfebfffff, .pci64_first = 0x100000000ull << 2,
    .pci64_last = (0x100000000ull << 3) - 1, .pm_base = 0x600,
    .lpt_ports = 5, .floppy = {.present = true, .iobase = 0x3f0, .irq = 6, .dma = 2, .type = {FLOPPY_144, FLOPPY_288}, .tracks = {80, 80},
               .sectors = {18, 36}, .heads = {2, 2}},
};

static const struct viv_acpi_info q35 = {
    .cpus = four, .cpu_count = 2, .com_ports = 1, .rtc = true, .i8042 = true, .pic = true,
    .pit = true, .hpet = true, .fw_cfg = true, .ioapic = true, .ioapic_pins = 24, .pci = true, .ecam_base = 0xb0000000,
    .pci32_first = 0xc0000000, .pci32_last = 0xfebfffff, .pci64_first = 0x100000000ull << 2,
    .pci64_last = (0x100000000ull << 3) - 1, .pm_base = 0x600,
};

static const struct viv_acpi_info micro = {
    .cpus = four, .cpu_count = 1, .com_ports = 1, .ioapic = true, .ioapic_pins = 24,
    .virtio_base = 0xfeb00000, .virtio_stride = 0x200, .virtio_slots = 8, .virtio_gsi = 16,
    .ged_base = 0xfea00000, .ged_gsi = 9,
};

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* Follows the XSDT; returns the table or NULL. */
static const uint8_t *find(const uint8_t *blob, size_t len, const char *sig)
{
    const uint8_t *x = blob + (viv_ld_le64(blob + 24) - BASE);
    unsigned n = (viv_ld_le32(x + 4) - 36) / 8;

    g_assert_cmpint(sum(x, viv_ld_le32(x + 4)), ==, 0);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *t = blob + (viv_ld_le64(x + 36 + 8 * i) - BASE);

        g_assert_cmpuint((size_t)(t - blob) + viv_ld_le32(t + 4), <=, len);
        g_assert_cmpint(sum(t, viv_ld_le32(t + 4)), ==, 0);
        if (!memcmp(t, sig, 4))
            return t;
    }
    return NULL;
}

static uint8_t *build(const struct viv_acpi_info *info, size_t *len)
{
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *blob = NULL;

    g_assert_cmpint(viv_acpi_build(info, BASE, 0x20000, &blob, len, NULL, &err), ==, 0);
    g_assert_cmpint(sum(blob, 20), ==, 0);
    g_assert_cmpint(sum(blob, 36), ==, 0);
    g_assert_cmpint(memcmp(blob, "RSD PTR ", 8), ==, 0);
    return blob;
}

static void check_madt(const uint8_t *m, unsigned lapics, unsigned x2apics)
{
    size_t len = viv_ld_le32(m + 4), at = 44;

    while (at < len) {
        g_assert_cmpuint(m[at + 1], >=, 2);
        lapics -= m[at] == 0;
        x2apics -= m[at] == 9;
        at += m[at + 1];
    }
    g_assert_cmpuint(at, ==, len);
    g_assert_cmpuint(lapics, ==, 0);
    g_assert_cmpuint(x2apics, ==, 0);
}

static void test_pc(void)
{
    size_t len;
    uint8_t *blob = build(&pc, &len);
    const uint8_t *fadt = find(blob, len, "FACP");

    g_assert_nonnull(fadt);
    g_assert_cmpuint(viv_ld_le32(fadt + 36) % 64, ==, 0); /* FACS is 64-byte aligned */
    g_assert_cmpint(memcmp(blob + viv_ld_le32(fadt + 36) - BASE, "FACS", 4), ==, 0);
    g_assert_cmpuint(viv_ld_le16(fadt + 46), ==, 9);
    g_assert_cmpuint(viv_ld_le64(fadt + 120), ==, 0xcf9);
    check_madt(find(blob, len, "APIC"), 3, 1);
    g_assert_nonnull(find(blob, len, "HPET"));
    g_free(blob);
}

static void test_q35(void)
{
    size_t len;
    uint8_t *blob = build(&q35, &len);
    const uint8_t *mcfg = find(blob, len, "MCFG");

    g_assert_nonnull(mcfg);
    g_assert_cmpuint(viv_ld_le32(mcfg + 4), ==, 60);
    g_assert_cmphex(viv_ld_le64(mcfg + 44), ==, 0xb0000000);
    g_assert_cmpuint(mcfg[55], ==, 255);
    g_assert_cmpuint(viv_ld_le64(find(blob, len, "FACP") + 120), ==, 0xcf9);
    check_madt(find(blob, len, "APIC"), 2, 0);
    g_free(blob);
}

static void test_microvm(void)
{
    size_t len;
    uint8_t *blob = build(&micro, &len);
    const uint8_t *fadt = find(blob, len, "FACP");

    g_assert_cmpuint(viv_ld_le32(fadt + 112) >> 20 & 1, ==, 1);
    g_assert_cmpuint(viv_ld_le64(fadt + 248), ==, 0xfea00000 + VIV_GED_SLEEP_CTL);
    check_madt(find(blob, len, "APIC"), 1, 0);
    g_assert_null(find(blob, len, "HPET"));
    g_free(blob);
}

static void test_too_large(void)
{
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *blob = NULL;
    size_t len;

    g_assert_cmpint(viv_acpi_build(&pc, BASE, 1024, &blob, &len, NULL, &err), ==, -28);
    g_assert_null(blob);
}

/* Does what firmware does with the script: the tables at BASE, the RSDP elsewhere. The outcome must be what is built for
 * BASE at once. */
static void test_loader_script(void)
{
    struct viv_acpi_files f;
    struct viv_err err = VIV_ERR_INIT;
    size_t len, seen = 0;
    g_autofree uint8_t *want = build(&pc, &len);
    uint8_t *rsdp, *tables;

    g_assert_cmpint(viv_acpi_build_files(&pc, &f, &err), ==, 0);
    g_assert_cmpuint(f.blob_len, ==, len);
    g_assert_cmpuint(f.script_len % 128, ==, 0);
    rsdp = g_memdup2(f.blob, VIV_ACPI_RSDP_BYTES);
    tables = g_memdup2(f.blob, f.blob_len);
    for (const uint8_t *e = f.script; e < f.script + f.script_len; e += 128) {
        bool root = !strcmp((const char *)e + 4, "etc/acpi/rsdp");
        uint8_t *dest = root ? rsdp : tables;
        const uint8_t *n = e + 60;

        g_assert_true(root || !strcmp((const char *)e + 4, "etc/acpi/tables"));
        switch (viv_ld_le32(e)) {
        case 1:
            g_assert_cmpuint(viv_ld_le32(n), ==, root ? 16 : 64);
            g_assert_cmpuint(n[4], ==, root ? 2 : 1);
            seen++;
            break;
        case 2:
            g_assert_cmpuint(seen, ==, 2); /* both are there */
            g_assert_cmpstr((const char *)n, ==, "etc/acpi/tables");
            dest += viv_ld_le32(e + 116);
            if (e[120] == 8)
                viv_st_le64(dest, viv_ld_le64(dest) + BASE);
            else
                viv_st_le32(dest, viv_ld_le32(dest) + BASE);
            break;
        case 3:
            g_assert_cmphex(dest[viv_ld_le32(n)], ==, 0);
            dest[viv_ld_le32(n)] -= sum(dest + viv_ld_le32(n + 4), viv_ld_le32(n + 8));
            break;
        default:
            g_assert_not_reached();
        }
    }
    g_assert_cmpmem(rsdp, VIV_ACPI_RSDP_BYTES, want, VIV_ACPI_RSDP_BYTES);
    g_assert_cmpmem(tables + VIV_ACPI_RSDP_BYTES, len - VIV_ACPI_RSDP_BYTES, want + VIV_ACPI_RSDP_BYTES,
                    len - VIV_ACPI_RSDP_BYTES);
    g_free(rsdp);
    g_free(tables);
    g_free(f.blob);
    g_free(f.script);
}

/* PkgLength at the edges of its encodings: the parser below must arrive exactly at the end. */
static void test_pkg_length(void)
{
    static const size_t bodies[] = {0, 54, 55, 56, 57, 58, 59, 4080, 4086, 4087, 4088, 4089, 4090, 70000};

    for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++) {
        struct viv_aml *a = viv_aml_new();
        const uint8_t *d;
        size_t len, n, value;

        viv_aml_scope(a, "\\_SB");
        for (size_t k = 0; k < bodies[i]; k++)
            viv_aml_int(a, 0);
        viv_aml_close(a);
        d = viv_aml_data(a, &len);
        n = d[1] >> 6;
        value = n ? d[1] & 0xf : d[1];
        for (size_t k = 0; k < n; k++)
            value |= (size_t)d[2 + k] << (4 + 8 * k);
        g_assert_cmpuint(value, ==, len - 1);
        viv_aml_free(a);
    }
}

static void run(const char *dir, const char *cmd)
{
    char *argv[] = {"/bin/sh", "-c", (char *)cmd, NULL};
    g_autofree char *out = NULL;
    int status = -1;

    g_assert_true(g_spawn_sync(dir, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, NULL));
    if (status)
        g_printerr("%s:\n%s\n", cmd, out);
    g_assert_cmpint(status, ==, 0);
}

static void write_table(const char *dir, const char *name, const uint8_t *t)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, (const char *)t, viv_ld_le32(t + 4), NULL));
}

/* Disassembles every table; the DSDT must compile again to the same code without errors. */
static void iasl(const struct viv_acpi_info *info)
{
    g_autofree char *iasl_path = g_find_program_in_path("iasl");
    g_autofree char *dir = NULL;
    static const char *const sigs[] = {"FACP", "APIC", "WAET", "HPET", "MCFG"};
    size_t len;
    uint8_t *blob;
    const uint8_t *fadt;

    if (!iasl_path) {
        g_test_skip("iasl is not installed (acpica-tools)");
        return;
    }
    dir = g_dir_make_tmp("viv-acpi-XXXXXX", NULL);
    blob = build(info, &len);
    fadt = find(blob, len, "FACP");
    write_table(dir, "dsdt.aml", blob + viv_ld_le64(fadt + 140) - BASE);
    run(dir, "iasl -d dsdt.aml >log 2>&1 && mv dsdt.dsl re.dsl && iasl -oa -p re re.dsl >log 2>&1 &&"
             " grep -q ' 0 Errors, 0 Warnings' log || { cat log re.dsl; exit 1; }");
    /* iasl picks other integer sizes, so the text is compared, without the comment block on top. */
    run(dir, "iasl -d re.aml >log 2>&1; mv re.dsl b.dsl; sed -n '/^DefinitionBlock/,$p' b.dsl >b;"
             " iasl -d dsdt.aml >log 2>&1; sed -n '/^DefinitionBlock/,$p' dsdt.dsl >a; diff a b");
    for (size_t i = 0; i < G_N_ELEMENTS(sigs); i++) {
        const uint8_t *t = find(blob, len, sigs[i]);

        if (!t)
            continue;
        write_table(dir, "t.aml", t);
        run(dir, "iasl -d t.aml >log 2>&1 && ! grep -iE 'invalid|warning|error|unknown' log t.dsl");
    }
    run(dir, "rm -rf \"$PWD\"");
    g_free(blob);
}

static void test_iasl_pc(void)
{
    iasl(&pc);
}

static void test_iasl_q35(void)
{
    iasl(&q35);
}

static void test_iasl_microvm(void)
{
    iasl(&micro);
}

/* What _OST of slot 5 writes into the register by which a guest refuses to let go (0: nothing), as ACPICA's interpreter runs it. */
static unsigned refusal(const char *dir, const char *args)
{
    g_autofree char *cmd = g_strdup_printf("acpiexec -b 'evaluate \\_SB.PCI0.S28._OST %s;evaluate \\_SB.PCI0.PCIO' dsdt.aml >log 2>&1 || "
                                           "{ cat log; exit 1; }", args);
    g_autofree char *log = g_build_filename(dir, "log", NULL), *text = NULL;
    const char *at;

    run(dir, cmd);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    at = strstr(text, "PCI0.PCIO returned");
    at = at ? strstr(at, "[Integer] = ") : NULL;
    if (!at)
        g_error("acpiexec: %s", text);
    return (unsigned)g_ascii_strtoull(at + strlen("[Integer] = "), NULL, 16);
}

/* 6.3.5: the source of the event, how far it is. */
static void test_ost(void)
{
    g_autofree char *path = g_find_program_in_path("acpiexec"), *dir = NULL;
    size_t len;
    uint8_t *blob;

    if (!path) {
        g_test_skip("acpiexec is not installed (acpica-tools)");
        return;
    }
    dir = g_dir_make_tmp("viv-acpi-XXXXXX", NULL);
    blob = build(&pc, &len);
    write_table(dir, "dsdt.aml", blob + viv_ld_le64(find(blob, len, "FACP") + 140) - BASE);
    g_assert_cmphex(refusal(dir, "3 0x81 0"), ==, 5);     /* in use */
    g_assert_cmphex(refusal(dir, "0x103 0x81 0"), ==, 5); /* the same, begun in the guest */
    g_assert_cmphex(refusal(dir, "3 0 0"), ==, 0);        /* done */
    g_assert_cmphex(refusal(dir, "3 0x84 0"), ==, 0);     /* it is at it */
    g_assert_cmphex(refusal(dir, "1 0x81 0"), ==, 0);     /* of something else */
    run(dir, "rm -rf \"$PWD\"");
    g_free(blob);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi/pkg-length", test_pkg_length);
    g_test_add_func("/acpi/pc", test_pc);
    g_test_add_func("/acpi/q35", test_q35);
    g_test_add_func("/acpi/microvm", test_microvm);
    g_test_add_func("/acpi/too-large", test_too_large);
    g_test_add_func("/acpi/loader-script", test_loader_script);
    g_test_add_func("/acpi/ost", test_ost);
    g_test_add_func("/acpi/iasl-pc", test_iasl_pc);
    g_test_add_func("/acpi/iasl-q35", test_iasl_q35);
    g_test_add_func("/acpi/iasl-microvm", test_iasl_microvm);
    return g_test_run();
}
