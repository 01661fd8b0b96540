/* -cpu: models by name, features on and off, properties; restriction to what an accelerator has. */
#include "base/log.h"
#include "base/units.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_models.h"
#include "host/clock.h"
#include "opt/opt.h"

#include <cpuid.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

static const struct {
    uint16_t feature;
    const char *name;
} features[] = {
#define _(word, bit, id, name) {VIV_FT_##id, name},
#include "cpu/x86/cpuid_features.def"
#undef _
    /* second spellings */
    {VIV_FT_SSE3, "sse3"}, {VIV_FT_SSE41, "sse4-1"}, {VIV_FT_SSE42, "sse4-2"}, {VIV_FT_NX, "xd"},
    {VIV_FT_LM, "i64"}, {VIV_FT_FXSR_OPT, "ffxsr"}, {VIV_FT_ABM, "lzcnt"}, {VIV_FT_KVMCLOCK2, "kvmclock"},
    {VIV_FT_KVM_NOPIODELAY, "kvm-nopiodelay"}, {VIV_FT_SHA, "sha"}, {VIV_FT_INVTSC, "nonstop-tsc"},
};

const char *viv_cpuid_feature_name(enum viv_cpuid_word word, unsigned bit)
{
    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++)
        if (features[n].feature == word * 32 + bit)
            return features[n].name;
    return NULL;
}

/* '_' is '-'. A name may stand for several bits (kvmclock). */
static bool change(struct viv_cpuid *m, const char *name, size_t len, bool on, bool asked)
{
    g_autofree char *norm = g_strdelimit(g_strndup(name, len), "_", '-');
    bool found = false;

    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++) {
        unsigned f = features[n].feature;

        if (strcmp(features[n].name, norm))
            continue;
        found = true;
        if (on)
            m->word[f >> 5] |= 1u << (f & 31);
        else
            m->word[f >> 5] &= ~(1u << (f & 31));
        if (asked && on)
            m->asked[f >> 5] |= 1u << (f & 31);
    }
    return found;
}

static const struct viv_cpu_model *find_model(const char *name)
{
    for (const struct viv_cpu_model *m = viv_cpu_models; m->name; m++)
        if (!strcmp(m->name, name))
            return m;
    return NULL;
}

static void apply_features(struct viv_cpuid *m, const char *list)
{
    g_auto(GStrv) names = g_strsplit(list ? list : "", " ", -1);

    for (char **n = names; *n; n++) {
        bool on = **n != '-';

        if (**n)
            change(m, *n + !on, strlen(*n + !on), on, false);
    }
}

static void apply_model(struct viv_cpuid *m, const struct viv_cpu_model *t)
{
    if (t->base)
        apply_model(m, find_model(t->base));
    if (t->family) {
        m->kind = t->vendor;
        m->family = t->family;
        m->level = t->level;
        m->xlevel = t->xlevel;
    }
    if (t->family || t->model) {
        m->family_model = t->model;
        m->stepping = t->stepping;
    }
    if (t->model_id)
        g_strlcpy(m->model_id, t->model_id, sizeof(m->model_id));
    apply_features(m, t->features);
}

static void set_vendor(struct viv_cpuid *m, const char *vendor)
{
    memset(m->vendor, 0, sizeof(m->vendor));
    memcpy(m->vendor, vendor, 12);
    m->kind = !strcmp(vendor, "GenuineIntel")                                        ? VIV_VENDOR_INTEL
              : !strcmp(vendor, "AuthenticAMD") || !strcmp(vendor, "HygonGenuine") ? VIV_VENDOR_AMD
                                                                                   : VIV_VENDOR_OTHER;
}

static void apply_everything(struct viv_cpuid *m)
{
    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++)
        m->word[features[n].feature >> 5] |= 1u << (features[n].feature & 31);
    m->host = true;
    m->level = 0xd;
    m->xlevel = 0x80000008;
}

/* "host": the host's names and numbers; "max": everything under a neutral name. */
static void apply_host(struct viv_cpuid *m, bool max)
{
    uint32_t r[4], eax = 0;
    char vendor[13] = {0};

    apply_everything(m);
    __cpuid(0, r[0], r[1], r[2], r[3]);
    memcpy(vendor, &r[1], 4);
    memcpy(vendor + 4, &r[3], 4);
    memcpy(vendor + 8, &r[2], 4);
    set_vendor(m, vendor);
    if (max) {
        m->family = m->kind == VIV_VENDOR_AMD ? 15 : 6;
        m->family_model = m->kind == VIV_VENDOR_AMD ? 107 : 6;
        m->stepping = m->kind == VIV_VENDOR_AMD ? 1 : 3;
        g_strlcpy(m->model_id, "Vivarium Virtual CPU", sizeof(m->model_id));
        return;
    }
    __cpuid(1, eax, r[1], r[2], r[3]);
    m->family = (eax >> 8 & 15) == 15 ? 15 + (eax >> 20 & 255) : eax >> 8 & 15;
    m->family_model = (eax >> 4 & 15) | (m->family >= 6 ? eax >> 12 & 0xf0 : 0);
    m->stepping = eax & 15;
    for (unsigned n = 0; n < 3; n++) {
        __cpuid(0x80000002 + n, r[0], r[1], r[2], r[3]);
        memcpy(m->model_id + n * 16, r, 16);
    }
}

static void default_caches(struct viv_cpuid *m)
{
    static const struct viv_cache_info caches[VIV_CPUID_CACHES] = {
        {1, 1, 64, 8, 64, false},       /* 32 KiB data */
        {1, 2, 64, 8, 64, false},       /* 32 KiB instructions */
        {2, 3, 64, 16, 1024, false},    /* 1 MiB */
        {3, 3, 64, 16, 16384, true},    /* 16 MiB */
    };

    memcpy(m->cache, caches, sizeof(caches));
    m->caches = VIV_CPUID_CACHES;
}

void viv_cpuid_finish(struct viv_cpuid *m)
{
    m->xcr0_mask = m->xss_mask = 0;
    if (viv_cpuid_has(m, VIV_FT_XSAVE)) {
        m->xcr0_mask = 3;
        if (viv_cpuid_has(m, VIV_FT_AVX))
            m->xcr0_mask |= 4;
        if (viv_cpuid_has(m, VIV_FT_AVX512F) && viv_cpuid_has(m, VIV_FT_AVX))
            m->xcr0_mask |= 0xe0;
        if (viv_cpuid_has(m, VIV_FT_PKU))
            m->xcr0_mask |= 1 << 9;
    } else {
        m->word[VIV_FW_D1_EAX] = 0;
    }
    m->virt_bits = viv_cpuid_has(m, VIV_FT_LM) ? (viv_cpuid_has(m, VIV_FT_LA57) ? 57 : 48) : 32;
    if (!viv_cpuid_has(m, VIV_FT_LM))
        m->phys_bits = viv_cpuid_has(m, VIV_FT_PAE) || viv_cpuid_has(m, VIV_FT_PSE36) ? 36 : 32;
    if (m->word[VIV_FW_6_EAX] && m->level < 6)
        m->level = 6;
    if ((m->word[VIV_FW_7_EBX] | m->word[VIV_FW_7_ECX] | m->word[VIV_FW_7_EDX]) && m->level < 7)
        m->level = 7;
    if (viv_cpuid_has(m, VIV_FT_XSAVE) && m->level < 0xd)
        m->level = 0xd;
    if (m->kind == VIV_VENDOR_INTEL && m->level >= 0xd && m->level < 0x16)
        m->level = 0x16; /* TSC frequency */
    if (viv_cpuid_has(m, VIV_FT_LM) && m->xlevel < 0x80000008)
        m->xlevel = 0x80000008;
    if (viv_cpuid_has(m, VIV_FT_SVM) && m->xlevel < 0x8000000a)
        m->xlevel = 0x8000000a;
    if (viv_cpuid_has(m, VIV_FT_TOPOEXT) && m->xlevel < 0x8000001e)
        m->xlevel = 0x8000001e;
    if (m->word[VIV_FW_E21_EAX] && m->xlevel < 0x80000021)
        m->xlevel = 0x80000021;
}

/* ---- properties ---- */

static int bad_value(const char *key, const char *value, const char *want, struct viv_err *err)
{
    return viv_fail(err, EINVAL, "-cpu: %s=%s: wants %s", key, value ? value : "", want);
}

static int number(const char *key, const char *value, uint64_t max, uint64_t *out, struct viv_err *err)
{
    if (!value || viv_parse_u64(value, out, NULL) < 0 || *out > max)
        return viv_fail(err, EINVAL, "-cpu: %s=%s: wants a number from 0 to %" PRIu64, key,
                        value ? value : "", max);
    return 0;
}

static int number_property(struct viv_cpuid *m, const char *key, const char *value, bool *known,
                           struct viv_err *err)
{
    uint64_t v = 0;
    int ret = 0;

    *known = true;
    if (!strcmp(key, "family") && (ret = number(key, value, 0xff + 0xf, &v, err)) == 0)
        m->family = (uint32_t)v;
    else if (!strcmp(key, "model") && (ret = number(key, value, 0xff, &v, err)) == 0)
        m->family_model = (uint32_t)v;
    else if (!strcmp(key, "stepping") && (ret = number(key, value, 15, &v, err)) == 0)
        m->stepping = (uint32_t)v;
    else if (!strcmp(key, "level") && (ret = number(key, value, 0x20, &v, err)) == 0)
        m->level = (uint32_t)v;
    else if (!strcmp(key, "min-level") && (ret = number(key, value, 0x20, &v, err)) == 0)
        m->level = MAX(m->level, (uint32_t)v);
    else if (!strcmp(key, "xlevel") && (ret = number(key, value, 0x80000022, &v, err)) == 0)
        m->xlevel = (uint32_t)v;
    else if (!strcmp(key, "min-xlevel") && (ret = number(key, value, 0x80000022, &v, err)) == 0)
        m->xlevel = MAX(m->xlevel, (uint32_t)v);
    else if (!strcmp(key, "phys-bits") && (ret = number(key, value, 52, &v, err)) == 0) {
        if (v < 32)
            return bad_value(key, value, "32 to 52", err);
        m->phys_bits = (uint8_t)v;
        m->phys_bits_asked = true;
    } else if (ret == 0)
        *known = false;
    return ret;
}

static int tsc_frequency(struct viv_cpuid *m, const char *value, struct viv_err *err)
{
    uint64_t hz, real = viv_tsc_hz();

    if (!value || viv_parse_size(value, 1, &hz, NULL) < 0)
        return bad_value("tsc-frequency", value, "Hz", err);
    if (hz / 1000 != real / 1000)
        return viv_fail(err, ENOTSUP,
                        "-cpu: tsc-frequency=%s: the guest's time stamp counter runs at the host's %" PRIu64
                        " Hz; scaling it is not offered", value, real);
    m->tsc_hz = hz;
    return 0;
}

/* Only these two models have the host's invariant TSC unasked. */
static int migratable(struct viv_cpuid *m, bool on, struct viv_err *err)
{
    if (!m->host)
        return viv_fail(err, EINVAL, "-cpu %s: migratable= is of the models host and max; leave it out", m->model);
    change(m, "invtsc", 6, !on, false);
    return 0;
}

/* Boolean properties that are not CPUID bits. */
static int bool_property(struct viv_cpuid *m, const char *key, const char *value, bool *known,
                         struct viv_err *err)
{
    static const char *const names[] = {"check", "enforce", "kvm", "migratable", "pmu", "l3-cache",
                                        "host-phys-bits", "host-cache-info", NULL};
    bool on = true;

    *known = false;
    for (unsigned n = 0; names[n]; n++)
        *known |= !strcmp(names[n], key);
    if (!*known)
        return 0;
    if (value && viv_parse_bool(value, &on, NULL) < 0)
        return bad_value(key, value, "on or off", err);
    if (!strcmp(key, "check"))
        m->check = on;
    else if (!strcmp(key, "enforce"))
        m->enforce = on;
    else if (!strcmp(key, "kvm"))
        m->kvm_leaves = on;
    else if (!strcmp(key, "l3-cache"))
        m->caches = on ? VIV_CPUID_CACHES : VIV_CPUID_CACHES - 1;
    else if (!strcmp(key, "migratable"))
        return migratable(m, on, err);
    else if (!strcmp(key, "host-phys-bits") && on)
        m->phys_bits = 0; /* set below */
    else if (on && (!strcmp(key, "pmu") || !strcmp(key, "host-cache-info")))
        return viv_fail(err, ENOTSUP, "-cpu: %s=on is not offered; leave it out", key);
    return 0;
}

static int unknown(const char *key, struct viv_err *err)
{
    static const char *const properties[] = {"check", "enforce", "kvm", "migratable", "l3-cache", "host-phys-bits",
                                             "phys-bits", "vendor", "model-id", "family", "model", "stepping",
                                             "level", "xlevel", "min-level", "min-xlevel", "tsc-frequency"};
    const char *names[VIV_ARRAY_SIZE(features) + VIV_ARRAY_SIZE(properties) + 1], *near;

    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++)
        names[n] = features[n].name;
    memcpy(names + VIV_ARRAY_SIZE(features), properties, sizeof(properties));
    names[VIV_ARRAY_SIZE(names) - 1] = NULL;
    if (!strcmp(key, "fill-mtrr-mask") || !strcmp(key, "kvm-no-smi-migration"))
        return viv_fail(err, ENOTSUP, "-cpu: %s= is not offered; leave it out", key);
    near = viv_nearest(key, names);
    return viv_fail(err, EINVAL, "-cpu: no feature or property '%s'%s%s%s", key,
                    near ? "; did you mean '" : " ('-cpu help' lists them)", near ? near : "",
                    near ? "'?" : "");
}

static int property(struct viv_cpuid *m, const char *item, struct viv_err *err)
{
    const char *eq = strchr(item, '='), *value = eq ? eq + 1 : NULL;
    g_autofree char *key = g_strdelimit(g_strndup(item, eq ? (size_t)(eq - item) : strlen(item)), "_", '-');
    bool known, on = true;
    int ret;

    if (!strcmp(key, "vendor")) {
        if (!value || strlen(value) != 12)
            return bad_value(key, value, "12 characters (GenuineIntel, AuthenticAMD)", err);
        set_vendor(m, value);
        return 0;
    }
    if (!strcmp(key, "model-id")) {
        if (!value || strlen(value) > 48)
            return bad_value(key, value, "at most 48 characters", err);
        g_strlcpy(m->model_id, value, sizeof(m->model_id));
        return 0;
    }
    if (!strcmp(key, "tsc-frequency"))
        return tsc_frequency(m, value, err);
    ret = number_property(m, key, value, &known, err);
    if (ret < 0 || known)
        return ret;
    ret = bool_property(m, key, value, &known, err);
    if (ret < 0 || known)
        return ret;
    if (value && viv_parse_bool(value, &on, NULL) < 0)
        on = true;
    if (!change(m, key, strlen(key), on, true))
        return unknown(key, err);
    if (value && viv_parse_bool(value, &on, NULL) < 0)
        return bad_value(key, value, "on or off", err);
    return 0;
}

static int unknown_model(const char *name, struct viv_err *err)
{
    size_t count = 0;
    const char **names, *near;
    int ret;

    while (viv_cpu_models[count].name)
        count++;
    names = g_new0(const char *, count + 3);
    for (size_t n = 0; n < count; n++)
        names[n] = viv_cpu_models[n].name;
    names[count] = "host";
    names[count + 1] = "max";
    near = viv_nearest(name, names);
    ret = viv_fail(err, EINVAL, "-cpu: no model '%s'%s%s%s", name,
                   near ? "; did you mean '" : " ('-cpu help' lists them)", near ? near : "",
                   near ? "'?" : "");
    g_free(names);
    return ret;
}

static uint8_t host_phys_bits(void)
{
    uint32_t a = 0, b, c, d;

    __cpuid(0x80000008, a, b, c, d);
    return (uint8_t)(a & 0xff ? a & 0xff : 40);
}

static int start_model(struct viv_cpuid *m, const char *name, struct viv_err *err)
{
    const struct viv_cpu_model *t = find_model(name);

    m->phys_bits = 40;
    m->check = true;
    m->kvm_leaves = true;
    m->word[VIV_FW_NONE] = 1;
    default_caches(m);
    viv_cpuid_set_topology(m, 1, 1, 1, 1);
    if (!strcmp(name, "host") || !strcmp(name, "max")) {
        m->model = !strcmp(name, "host") ? "host" : "max";
        apply_host(m, *name == 'm');
    } else if (!strcmp(name, "base")) {
        m->model = "base";
        set_vendor(m, "GenuineIntel");
    } else if (t) {
        m->model = t->name;
        apply_model(m, t);
        set_vendor(m, g_str_has_prefix(t->name, "Dhyana")   ? "HygonGenuine"
                      : m->kind == VIV_VENDOR_INTEL ? "GenuineIntel" : "AuthenticAMD");
    } else {
        return unknown_model(name, err);
    }
    change(m, "kvmclock", 8, true, false);
    change(m, "kvmclock2", 9, true, false);
    change(m, "kvm-nopiodelay", 14, true, false);
    change(m, "kvmclock-stable-bit", 19, true, false);
    if (viv_cpuid_has(m, VIV_FT_LM)) /* every x2APIC-aware board offers it, whatever the model had */
        change(m, "x2apic", 6, true, false);
    return 0;
}

/* Hyper-V's enlightenments ("hv_relaxed", "+hv-time", "hv_spinlocks=0x1fff"): its name, with dashes; NULL for other items. */
static char *enlightenment(const char *item)
{
    static const char *const names[] = {
        "hv-apicv", "hv-avic", "hv-crash", "hv-emsr-bitmap", "hv-enforce-cpuid", "hv-evmcs", "hv-frequencies", "hv-ipi",
        "hv-no-nonarch-coresharing", "hv-passthrough", "hv-reenlightenment", "hv-relaxed", "hv-reset", "hv-runtime", "hv-spinlocks",
        "hv-stimer", "hv-stimer-direct", "hv-syndbg", "hv-synic", "hv-time", "hv-tlbflush", "hv-tlbflush-direct", "hv-tlbflush-ext",
        "hv-vapic", "hv-vendor-id", "hv-version-id-build", "hv-version-id-major", "hv-version-id-minor", "hv-version-id-sbranch",
        "hv-version-id-snumber", "hv-version-id-spack", "hv-vpindex", "hv-xmm-input", NULL};
    const char *name = item + (*item == '+' || *item == '-');
    g_autofree char *key = g_strdelimit(g_strndup(name, strcspn(name, "=")), "_", '-');

    return g_strv_contains(names, key) ? g_steal_pointer(&key) : NULL;
}

static bool is_off(const char *item)
{
    const char *value = strchr(item, '=');
    bool on = true;

    return *item == '-' || (value && viv_parse_bool(value + 1, &on, NULL) == 0 && !on);
}

/* They are shortcuts for Windows, and all its command lines ask for them: left out like features that are not offered. */
static int leave_out(const struct viv_cpuid *m, const char *names, struct viv_err *err)
{
    if (!*names)
        return 0;
    if (m->enforce)
        return viv_fail(err, ENOTSUP, "-cpu %s,enforce: Hyper-V enlightenments are not offered:%s; leave them out: they are "
                        "shortcuts for Windows, which runs without them", m->model, names);
    if (m->check)
        viv_warn("-cpu %s: Hyper-V enlightenments are not offered, left out:%s (shortcuts for Windows, which runs without them)",
                 m->model, names);
    return 0;
}

int viv_cpuid_parse(const char *text, struct viv_cpuid **out, struct viv_err *err)
{
    g_auto(GStrv) items = g_strsplit(text, ",", -1);
    g_autofree struct viv_cpuid *m = g_new0(struct viv_cpuid, 1);
    g_autoptr(GString) left_out = g_string_new(NULL);
    int ret;

    if (!items[0] || !*items[0])
        return viv_fail(err, EINVAL, "-cpu: wants a model ('-cpu help' lists them)");
    ret = start_model(m, items[0], err);
    for (char **i = items + 1; ret == 0 && *i; i++) {
        g_autofree char *shortcut = enlightenment(*i);

        if (shortcut) {
            if (!is_off(*i))
                g_string_append_printf(left_out, " %s", shortcut);
        } else if (**i == '+' || **i == '-') {
            if (!change(m, *i + 1, strlen(*i + 1), **i == '+', true))
                ret = unknown(*i + 1, err);
        } else if (**i) {
            ret = property(m, *i, err);
        } else {
            ret = viv_fail(err, EINVAL, "-cpu %s: an empty property", text);
        }
    }
    if (ret == 0)
        ret = leave_out(m, left_out->str, err);
    if (ret < 0)
        return ret;
    if (!m->phys_bits)
        m->phys_bits = host_phys_bits();
    m->hidden = !viv_cpuid_has(m, VIV_FT_HYPERVISOR);
    if (!viv_cpuid_has(m, VIV_FT_MSR) || !viv_cpuid_has(m, VIV_FT_TSC)) { /* all of KVM's are MSRs, and a firmware that sees them uses them */
        m->kvm_leaves = false;
        m->word[VIV_FW_KVM_EAX] = 0;
    }
    viv_cpuid_finish(m);
    *out = g_steal_pointer(&m);
    return 0;
}

int viv_cpuid_restrict(struct viv_cpuid *m, const uint32_t have[VIV_FW_COUNT], const char *who,
                       struct viv_err *err)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned w = 0; w < VIV_FW_COUNT; w++) {
        uint32_t gone = m->word[w] & ~have[w];
        uint32_t report = m->host || w == VIV_FW_KVM_EAX ? gone & m->asked[w] : gone;

        for (unsigned b = 0; b < 32; b++) {
            const char *name = report >> b & 1 ? viv_cpuid_feature_name(w, b) : NULL;

            if (name)
                g_string_append_printf(names, "%s%s", names->len ? " " : "", name);
        }
        m->word[w] &= have[w];
    }
    if (!viv_cpuid_has(m, VIV_FT_ARCH_CAPABILITIES))
        m->word[VIV_FW_ARCH_CAP] = 0;
    viv_cpuid_finish(m);
    if (!names->len)
        return 0;
    if (m->enforce)
        return viv_fail(err, ENOTSUP, "-cpu %s,enforce: not offered by %s here: %s", m->model, who,
                        names->str);
    if (m->check)
        viv_warn("-cpu %s: not offered by %s here, left out: %s", m->model, who, names->str);
    return 0;
}

int viv_cpuid_drop_long_mode(struct viv_cpuid *m, struct viv_err *err)
{
    static const enum viv_feature of_long_mode[] = {VIV_FT_LAHF_LM, VIV_FT_CX16, VIV_FT_FSGSBASE, VIV_FT_PCID,
                                                    VIV_FT_LA57};
    uint32_t have[VIV_FW_COUNT];

    if (m->asked[VIV_FT_LM >> 5] >> (VIV_FT_LM & 31) & 1)
        return viv_fail(err, ENOTSUP, "-cpu %s,+lm: qemu-system-i386 has 32-bit CPUs only; qemu-system-x86_64 has "
                        "64-bit ones", m->model);
    if (!viv_cpuid_has(m, VIV_FT_LM))
        return 0;
    for (size_t n = 0; n < VIV_ARRAY_SIZE(of_long_mode); n++)
        m->word[of_long_mode[n] >> 5] &= ~(1u << (of_long_mode[n] & 31));
    /* Intel has SYSCALL in 64-bit mode only (SDM vol. 2A CPUID, 80000001H). */
    if (m->kind == VIV_VENDOR_INTEL)
        m->word[VIV_FT_SYSCALL >> 5] &= ~(1u << (VIV_FT_SYSCALL & 31));
    memset(have, 0xff, sizeof(have));
    have[VIV_FT_LM >> 5] &= ~(1u << (VIV_FT_LM & 31));
    return viv_cpuid_restrict(m, have, "qemu-system-i386", err);
}

/* ---- help ---- */

static int by_name(const void *a, const void *b)
{
    return g_ascii_strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *describe(const struct viv_cpu_model *m, char *buf, size_t len)
{
    if (m->base && !m->features && !m->family) {
        snprintf(buf, len, "(alias of %s)", m->base);
        return buf;
    }
    for (; m; m = m->base ? find_model(m->base) : NULL)
        if (m->model_id)
            return m->model_id;
    return "";
}

void viv_cpuid_help(FILE *out)
{
    const char *names[VIV_ARRAY_SIZE(features)];
    size_t count = 0, column = 2;
    char buf[64];

    while (viv_cpu_models[count].name)
        count++;
    {
        g_autofree const char **models = g_new0(const char *, count);

        for (size_t n = 0; n < count; n++)
            models[n] = viv_cpu_models[n].name;
        qsort(models, count, sizeof(models[0]), by_name);
        fprintf(out, "Available CPUs:\n");
        for (size_t n = 0; n < count; n++)
            fprintf(out, "x86 %-20s  %s\n", models[n], describe(find_model(models[n]), buf, sizeof(buf)));
    }
    fprintf(out, "x86 %-20s  %s\n", "base", "base CPU model type with no features enabled");
    fprintf(out, "x86 %-20s  %s\n", "host", "processor with all supported host features");
    fprintf(out, "x86 %-20s  %s\n\nRecognized CPUID flags:\n ", "max",
            "Enables all features supported by the accelerator in the current host");
    for (size_t n = 0; n < VIV_ARRAY_SIZE(features); n++)
        names[n] = features[n].name;
    qsort(names, VIV_ARRAY_SIZE(names), sizeof(names[0]), by_name);
    for (size_t n = 0; n < VIV_ARRAY_SIZE(names); n++) {
        if (n && !strcmp(names[n], names[n - 1]))
            continue;
        if (column + strlen(names[n]) + 1 > 75) {
            fprintf(out, "\n ");
            column = 2;
        }
        fprintf(out, " %s", names[n]);
        column += strlen(names[n]) + 1;
    }
    fprintf(out, "\n");
}
