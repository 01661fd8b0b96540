/* QEMU's devices that are not here: what does instead what people want of them. */
#include "machine/device_add.h"

#include <glib.h>
#include <string.h>

#define NO_SOUND "there is no sound yet; leave it out"

/* Names with a space before and after each. */
static const struct {
    const char *names, *instead;
} others[] = {
    {" qxl-vga vmware-svga virtio-vga-gl ati-vga ", "use VGA, or virtio-vga where the guest has drivers"},
    {" qxl secondary-vga virtio-gpu-gl-pci ", "use bochs-display, or virtio-gpu-pci where the guest has drivers"},
    {" isa-vga isa-cirrus-vga ", "use VGA or cirrus-vga, which are PCI cards"},
    {" intel-hda ich9-intel-hda hda-duplex hda-micro hda-output AC97 ES1370 sb16 adlib gus cs4231a usb-audio virtio-sound-pci ", NO_SOUND},
    {" e1000e igb e1000-82544gc e1000-82545em ", "use e1000, or virtio-net-pci where the guest has drivers"},
    {" vmxnet3 pcnet ne2k_pci ne2k_isa tulip sungem i82550 i82551 i82557a i82557b i82557c i82558a i82558b i82559a i82559b i82559c i82559er i82562 i82801 ",
     "use rtl8139 or e1000, or virtio-net-pci where the guest has drivers"},
    {" lsi lsi53c895a lsi53c810 am53c974 dc390 megasas megasas-gen2 mptsas1068 pvscsi ",
     "use virtio-scsi-pci, or ahci, nvme or an IDE disk (-drive if=ide) where the guest has no drivers"},
    {" vhost-scsi-pci vhost-user-scsi-pci scsi-block scsi-generic ", "use virtio-scsi-pci with scsi-hd or scsi-cd; the host's disk is a -drive"},
    {" piix3-ide piix4-ide isa-ide ide-drive ", "pc has an IDE controller of its own: -drive if=ide, ide-hd, ide-cd"},
    {" scsi-disk ", "use scsi-hd or scsi-cd"},
    {" sdhci-pci sd-card emmc ", "there are no SD cards; use usb-storage"},
    {" tpm-tis tpm-crb ", VIV_NO_TPM},
    {" usb-host usb-redir u2f-passthru ", "devices of the host's cannot be given to a guest yet; usb-storage takes the disk of a stick, usb-tablet and usb-kbd are there"},
    {" usb-uas usb-bot ", "use usb-storage"},
    {" usb-mtp ", "use -virtfs, which shares a folder"},
    {" usb-wacom-tablet ", "use usb-tablet"},
    {" usb-ccid ccid-card-passthru ccid-card-emulated u2f-emulated canokey ", "there are no smart cards; leave it out"},
    {" usb-serial usb-braille ", "use isa-serial, or virtserialport on virtio-serial"},
    {" pci-ohci sysbus-ohci piix4-usb-uhci vt82c686b-usb-uhci ", "use piix3-usb-uhci, or qemu-xhci"},
    {" vfio-pci vfio-pci-nohotplug ", "PCI devices of the host's cannot be given to a guest yet"},
    {" intel-iommu amd-iommu virtio-iommu-pci ", "there is no IOMMU yet; leave it out"},
    {" pc-dimm nvdimm virtio-mem-pci virtio-pmem-pci ", "memory cannot be added yet: give the machine all of it with -m"},
    {" ivshmem-plain ivshmem-doorbell ", "machines share no memory yet; a -netdev socket or a virtserialport connects two"},
    {" ib700 ", "use i6300esb"},
    {" pvpanic pvpanic-pci vmgenid vmcoreinfo virtio-crypto-pci ", "it is not there yet; leave it out: guests do without it"},
    {" vhost-user-blk-pci vhost-user-fs-pci vhost-user-gpu-pci vhost-user-vsock-pci vhost-vsock-pci ",
     "there is no vhost-user and no vsock yet; virtio-blk-pci, virtio-9p-pci and virtserialport are there"},
    {" virtio-input-host-pci virtio-multitouch-pci ", "use virtio-tablet-pci, virtio-mouse-pci, virtio-keyboard-pci"},
    {" pxb pxb-pcie xio3130-downstream x3130-upstream ioh3420 i82801b11-bridge ", "use pcie-root-port, pcie-pci-bridge or pci-bridge"},
    {" pci-serial pci-serial-2x pci-serial-4x ", "use isa-serial; there are four"},
    {" nvme-ns nvme-subsys ", "a controller has the one namespace of its drive: -device nvme,drive=ID,serial=TEXT, several for several disks"},
    {" loader guest-loader ", "use -kernel (bzImage, ELF, multiboot) with -initrd, -bios for firmware, -fw_cfg for a file that the guest reads"},
    {" edu ", "it is for lessons in writing drivers, and no system has a driver for it; leave it out"},
    {" isa-applesmc ", "there is no Apple SMC, and macOS does not start without it; leave it out for other systems"},
    {" ipmi-bmc-sim ipmi-bmc-extern isa-ipmi-kcs isa-ipmi-bt pci-ipmi-kcs pci-ipmi-bt smbus-ipmi ",
     "there is no IPMI; leave it out: system_powerdown and system_reset of the monitor do what it would"},
    {" sga ", "use -nographic: the firmware's text goes to the serial port then"},
};

const char *viv_device_instead(const char *name)
{
    g_autofree char *word = g_strdup_printf(" %s ", name);

    if (g_str_has_suffix(name, "-x86_64-cpu") || g_str_has_suffix(name, "-i386-cpu"))
        return "CPUs cannot be added yet: give the machine all of them with -smp";
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (strstr(others[i].names, word))
            return others[i].instead;
    }
    return NULL;
}
