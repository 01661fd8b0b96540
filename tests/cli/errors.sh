#!/bin/sh
# Bad command lines: exit status 1 and one line on stderr that names the option and what would work. Help: 0, on stdout.
# usage: errors.sh VIV_VM
vm=$(realpath "$1")
fail=0
n=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
head -c 100000 /dev/urandom >notakernel
: >empty
# The smallest multiboot kernel: cli; hlt.
printf '\002\260\255\033\000\000\001\000\376\117\121\344' >kernel
printf '\000\000\020\000\000\000\020\000\044\000\020\000\044\000\020\000\040\000\020\000\372\364\353\375' >>kernel
# A qcow2 image whose L1 table (at 24 KiB) lies behind the end of the file.
printf 'QFI\373\0\0\0\003\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\020\0\0\0\0\0\020\0\0' >cut.qcow2
printf '\0\0\0\0\0\0\0\001\0\0\0\0\0\003\0\0\0\0\0\0\0\001\0\0\0\0\0\001' >>cut.qcow2
head -c 36 /dev/zero >>cut.qcow2
printf '\0\0\0\004\0\0\0\150' >>cut.qcow2
head -c 70000 /dev/zero >>cut.qcow2
head -c 1000000 /dev/zero >busy.raw
head -c 65537 /dev/zero >odd.bin
head -c 65536 /dev/zero >rom.bin
# ids, not names, in what is quoted below.
bad() {
    want=$1
    shift
    n=$((n + 1))
    out=$(timeout 20 "$vm" "$@" 2>err </dev/null)
    rc=$?
    lines=$(wc -l <err)
    if [ $rc != 1 ] || [ "$lines" != 1 ] || [ -n "$out" ] || ! grep -qF -- "$want" err; then
        echo "viv-vm $*: status $rc, $lines lines, wanted '$want':"
        cat err
        [ -z "$out" ] || echo "stdout: $out"
        fail=$((fail + 1))
    fi
}

bad "viv-vm: -foo: no such option; -help lists them" -foo
bad "viv-vm: -kernal: no such option; did you mean '-kernel'?" -kernal x
bad "viv-vm: --apend: no such option; did you mean '-append'?" --apend x
bad "-m: needs an argument" -m
bad "-m: its argument is empty" -m ""
bad "-M: its argument is empty" -M ""
bad "without memory cannot start; try -m 512" -m 0
bad "'12Q' is not a size" -m 12Q
bad "this CPU's physical addresses have 32 bits" -cpu qemu64,phys-bits=32 -m 4G
bad "at least 1M" -m 512k
bad "do not fit" -kernel kernel -m 100000G
bad "'x' is not a number" -m 1G,slots=x
bad "maxmem=1G is less than the memory" -m 2G,maxmem=1G
bad "unknown option 'foo'" -m 1G,foo=2
bad "9999 CPUs are too many: machine 'pc' takes 255" -smp 9999
bad "-smp 135,sockets=3,dies=1,cores=9,threads=5: the last CPU's APIC ID would be 324, and 254 is the highest" -smp 135,sockets=3,cores=9,threads=5
bad "greater than zero" -smp cpus=0
bad "sockets (3) * dies (1) * cores (1) * threads (1) != maxcpus (4)" -smp 4,sockets=3
bad "!= maxcpus (4)" -smp 4,sockets=1073741824,dies=1073741824,threads=16
bad "!= maxcpus (4)" -smp 4,cores=1073741824,dies=1073741824,threads=16
bad "!= maxcpus (4)" -smp 4,sockets=1073741824,dies=1073741824,cores=16
bad "did you mean 'threads'" -smp 2,thraeds=2
bad "x86 has no clusters" -smp 4,clusters=2
bad "did you mean 'pc'" -M pcc
bad "no such machine" -M isapc
bad "no such machine" -M pc-q35-
bad "-machine pc: unknown option 'foo'" -M pc,foo=1
bad "neither 'on' nor 'off'" -M pc,hpet=perhaps
bad "no such accelerator; there are kvm, xlate, interp" -accel foo
bad "no such accelerator; there are kvm, xlate, interp" -accel foo:hvf
bad "no such accelerator; there are kvm, xlate, interp" -accel foo -accel hvf
bad "no such accelerator; there are kvm, xlate, interp" -M pc,accel=hvf
bad "-accel xlate: unknown option 'foo'" -accel xlate,foo=1
bad "-accel xlate: unknown option 'foo'" -accel interp -accel tcg,foo=1
bad "-accel interp: unknown option 'foo'" -accel interp,foo=1 -accel tcg
bad "-accel tb-size=5: it must begin with a name" -accel tb-size=5
bad "-accel xlate: unknown option 'foo'" -accel tcg,foo=1
bad "-accel xlate: tb-size=1 is too small for 8 CPUs: each has a cache of its own, of at least 256 KiB; use tb-size=2" \
    -smp 8 -accel xlate,tb-size=1
bad "tb-size: 'x' is not a number" -accel xlate,tb-size=x
bad "tb-size=-1 is out of range" -accel xlate,tb-size=-1
bad "x-cache-size=1k is out of range" -accel xlate,x-cache-size=1k
bad "tb-size and x-cache-size exclude each other" -accel xlate,tb-size=4,x-cache-size=1M
bad "thread=single is not possible: each vCPU has a thread of its own" -smp 2 -accel tcg,thread=single
bad "possible: multi, single" -accel tcg,thread=double
bad "split-wx=off is not possible" -accel xlate,split-wx=off
bad "one-insn-per-tb and x-max-insns exclude each other" -accel xlate,one-insn-per-tb=on,x-max-insns=2
bad "x-max-insns=65 is out of range: 1 to 64" -accel xlate,x-max-insns=65
bad "x-fail-nth=0 is out of range" -accel xlate,x-fail-nth=0
bad "this machine runs on interp: use -accel xlate" -accel interp -d in_asm
bad "this machine runs on interp: use -accel xlate" -accel interp -d int,out_asm
bad "-accel xlate,tb-size=N" -tb-size 32
bad "-accel xlate,one-insn-per-tb=on" -singlestep
bad "-accel interp: unknown option 'foo'" -accel interp,foo=1
bad "-accel exclude each other" -M pc,accel=interp -accel interp
bad "did you mean 'Skylake-Client'" -cpu Skylake-Clien
bad "-cpu" -cpu qemu64,+frob
bad "did you mean 'enforce'" -cpu qemu64,enforc
bad "of the models host and max" -cpu qemu64,migratable=on
bad "fill-mtrr-mask" -cpu qemu64,fill-mtrr-mask=off
bad "kvm-no-smi-migration" -cpu host,kvm-no-smi-migration=on
ln -s "$vm" qemu-system-i386
x86_64=$vm vm=./qemu-system-i386
bad "has 32-bit CPUs only; qemu-system-x86_64 has 64-bit ones" -cpu max,+lm -kernel kernel
bad "not offered by qemu-system-i386 here: lm" -cpu qemu64,enforce -kernel kernel
vm=$x86_64
bad "-initrd needs -kernel" -initrd x
bad "-append needs -kernel" -append x
bad "cannot open 'nothere': No such file" -kernel nothere
bad "notakernel: not a bzImage, an ELF with a PVH note or a multiboot image" -kernel notakernel
bad "empty" -kernel empty
bad "no device tree" -dtb x
bad "'nothere': No such file" -hda nothere
bad "'disk,1.img': No such file" disk,1.img
bad "no IDE controller; use -drive file=notakernel,if=virtio" -M microvm -cdrom notakernel
bad "if=ide, if=floppy, if=scsi, if=virtio and if=pflash work" -drive file=notakernel,format=raw,if=mtd
bad "SCSI drive 0 (bus 0, unit 0) is given twice" -drive file=busy.raw,format=raw,if=scsi -drive if=scsi,media=cdrom,index=0
bad "a SCSI bus has unit 0 to unit 6" -drive if=scsi,media=cdrom,unit=7
bad "-snapshot is for -drive, not for -blockdev" -snapshot -blockdev raw,node-name=a,file.driver=file,file.filename=busy.raw
bad "bus 1, unit 0) is given twice" -cdrom notakernel -drive file=busy.raw,format=raw,index=2
bad "4 IDE drives (index 0 to 3)" -drive file=busy.raw,format=raw,index=4
bad "drive 'ide0-hd0' is empty" -drive if=ide
bad "drive 'ide0-hd0' is read-only" -drive file=busy.raw,format=raw,readonly=on
bad "has no SCSI bus" -device scsi-cd
bad "'nothere': No such file" -drive file=nothere,if=virtio
bad "did you mean 'format'" -drive file=notakernel,fromat=raw,if=virtio
bad "truncated" -drive file=cut.qcow2,if=virtio,format=qcow2
bad "unknown option 'key-secret'" -object secret,id=x,data=y -drive file=notakernel,format=raw,if=virtio,key-secret=x
bad "is the image given twice?" -drive file=busy.raw,format=raw,if=virtio -drive file=busy.raw,format=raw,if=virtio
bad "empty" -drive file=empty,format=qcow2,if=virtio
bad "not a regular file" -kernel .
bad "if=sata" -drive file=notakernel,if=sata
bad "unit 0 only" -M q35 -drive file=notakernel,format=raw,if=sata,unit=1
bad "6 IDE drives" -M q35 -drive file=notakernel,format=raw,index=6
bad "use machine q35" -device pcie-root-port
bad "chassis_nr=1" -device pci-bridge
bad "there is 'pcie.0'" -M q35 -device virtio-rng-pci,bus=pci.0
bad "one slot" -M q35 -device pcie-root-port,id=rp -device virtio-rng-pci,bus=rp,addr=1
bad "hotplug" -M q35 -device pcie-root-port,hotplug=perhaps
bad "-blockdev: node-name is missing" -blockdev raw
bad "the id 'id' already" -drive file=notakernel,format=raw,if=none,id=id -drive file=empty,format=raw,if=none,id=id
bad "-device: no device named" -device id=x
bad "-device virtio-rng-pci: id='1a' is no identifier: letters" -device virtio-rng-pci,id=1a
bad "-device virtio-rng-pci: id='' is no identifier" -device virtio-rng-pci,id=
bad "-device virtio-rng-pci: id='a/b' is no identifier" -device '{"driver": "virtio-rng-pci", "id": "a/b"}'
bad "-device virtio-rng-pci: id=x is that of the 'virtio-scsi-pci' before it" -device virtio-scsi-pci,id=x -device virtio-rng-pci,id=x
bad "-device isa-debug-exit: bus=isa.1: its bus is 'isa.0'" -device isa-debug-exit,bus=isa.1
bad "there is no SCSI bus 'x'; there is 's.0', 't.0'" -device virtio-scsi-pci,id=s -device virtio-scsi-pci,id=t -device scsi-cd,bus=x
bad "channel=1: SCSI buses here have the one channel 0" -device virtio-scsi-pci -device scsi-cd,channel=1
bad "give the machine all of them with -smp" -device qemu64-x86_64-cpu,socket-id=1
bad "'e1000x' is not a device we have" -device e1000x
bad "did you mean 'virtio-blk-pci'" -device virtio-blk-cpi,drive=x
bad "cannot be added" -device i8254
for d in qxl-vga:virtio-vga intel-hda:"no sound" pcnet:e1000 vmxnet3:e1000 ne2k_pci:rtl8139 e1000e:e1000 lsi53c895a:virtio-scsi-pci pvscsi:virtio-scsi-pci \
    tpm-tis:"no TPM" usb-host:usb-storage usb-ccid:"smart cards" usb-mtp:-virtfs nvme-ns:"-device nvme,drive=ID" nvme-subsys:"-device nvme,drive=ID" loader:"use -kernel" \
    edu:"leave it out" isa-applesmc:"leave it out" ipmi-bmc-sim:system_powerdown vfio-pci:"cannot be given" scsi-disk:scsi-hd; do
    bad "-device ${d%%:*}: there is no such device here" -device "${d%%:*}"
    bad "${d#*:}" -device "${d%%:*}"
done
bad "unless it has if=none" -drive file=notakernel,format=raw,id=d -device virtio-blk-pci,drive=d
bad "-display none: it takes no options" -display none,foo=1
bad "socket is TCP" -chardev udp,id=x
bad "PS/2 mouse" -chardev msmouse,id=x
bad "kernel is not supported yet: use -kernel" -M q35,kernel=vmlinuz
bad "use -bios" -M q35,firmware=x
bad "-virtfs shares" -smb /tmp
bad "mformat and mcopy" -drive file=fat:rw:/tmp,format=raw
bad "share it with -virtfs" -hda fat:/tmp
bad "share it with -virtfs" -drive file=x,format=vvfat
bad "share it with -virtfs" -blockdev vvfat,node-name=a,dir=/tmp
bad "LabConfig BypassTPMCheck=1" -tpmdev emulator,id=t,chardev=c
bad "LabConfig BypassTPMCheck=1" -device tpm-crb
bad "use -machine memory-backend=ID" -object memory-backend-ram,id=m,size=64M -numa node,memdev=m
for o in -rotate -icount -acpitable; do
    bad "$o x is not supported" $o x
done
for o in -win2k-hack -only-migratable -async-teardown -enable-sync-profile -preconfig; do
    bad "$o is not supported" $o
done
bad "did you mean 'drive'" -device virtio-blk-pci,drvie=x
bad "no firmware that could boot" -M microvm -drive file=notakernel,format=raw,if=none,id=x -device virtio-blk-device,drive=x,bootindex=1
bad "bootindex=1 is already that of /pci@i0cf8/" -drive file=notakernel,format=raw,if=none,id=x -device virtio-blk-pci,drive=x,bootindex=1 -netdev user,id=n -device virtio-net-pci,netdev=n,bootindex=1
bad "'z' is no kind of device" -boot cz
bad "did you mean 'menu'" -boot meun=on
bad "there is no file 'none.bmp'" -boot splash=none.bmp
bad "neither a JPEG file nor a BMP file" -boot splash=notakernel
bad "it needs one of file= and string=" -kernel kernel -fw_cfg opt/a
bad "only one of file= and string=" -kernel kernel -fw_cfg opt/a,string=b,file=c
bad "there is such an item already" -fw_cfg etc/e820,string=b
bad "2 flash chips" -drive if=pflash,unit=2,file=rom.bin,format=raw
bad "is given twice" -drive if=pflash,unit=0,file=rom.bin,format=raw -drive if=pflash,index=0,file=rom.bin,format=raw
bad "pflash1 needs pflash0" -drive if=pflash,unit=1,file=rom.bin,format=raw
bad "exclude each other" -bios rom.bin -drive if=pflash,unit=0,file=rom.bin,format=raw
bad "pflash0=none" -machine pc,pflash0=none
bad "there is no file 'none.bin'" -bios none.bin
bad "65537 bytes is not a multiple of 64 KiB" -bios odd.bin
bad "this firmware would need a program" -bios rom.bin -kernel notakernel
bad "-option-rom: there is no file 'none.rom'" -option-rom none.rom
bad "-option-rom: machine 'microvm' runs no firmware" -M microvm -option-rom none.rom
bad "-no-fd-bootchk: machine 'microvm' boots no diskettes" -M microvm -no-fd-bootchk
bad "-no-hpet: machine 'microvm' has no HPET" -M microvm -no-hpet
bad "nodrive" -device virtio-blk-pci,drive=nodrive
bad "-global foo: it must be DRIVER.PROPERTY=VALUE" -global foo
bad "-global foo.bar: 'foo' is not a device we have" -global foo.bar=1
bad "-global driver=foo,value=1: it needs all of driver=, property= and value=" -global driver=foo,value=1
bad "'foo' is not a device we have" -global driver=foo,property=a,value=1
bad "machine microvm has no chipset that would use it" -M microvm,smm=on
bad "there are no option ROMs" -M microvm,x-option-roms=on
bad "announced by ACPI" -M microvm,auto-kernel-cmdline=on
bad "there is no port for -serial" -M microvm,isa-serial=off -kernel kernel -serial file:f
bad "no IDE controller; use virtio-blk" -M q35,sata=off -drive file=rom.bin,format=raw
bad "ICH9-LPC.disable_s3=0: the machine cannot be suspended" -M q35 -global ICH9-LPC.disable_s3=0
bad "root ports tell the guest themselves" -M q35 -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on
bad "-global mc146818rtc.frob=1: mc146818rtc: unknown option 'frob'" -global mc146818rtc.frob=1
bad "-global virtio-rng-pci.periods=1: virtio-rng-pci: unknown option 'periods'" -global virtio-rng-pci.periods=1
bad "-global virtio-rng-pci.period=x: " -global virtio-rng-pci.period=x
bad "unknown option 'frob'" -global e1000.frob=1
bad "did you mean 'rng-random'" -object rng-randmo,id=x
bad "leave it out" -object iothread,id=x,poll-max-ns=1000
bad "there is an object 'x' already" -object iothread,id=x -object iothread,id=x
bad "there is no iothread 'y'" -object iothread,id=x -device virtio-scsi-pci,iothread=y
bad "leave out ioeventfd=off" -object iothread,id=x -device virtio-scsi-pci,iothread=x,ioeventfd=off
bad "'id=' is missing" -object rng-builtin
bad "Either 'file' or 'data'" -object secret,id=x
bad "No secret with id 'y'" -object secret,id=x,data=AAAA,keyid=y,iv=AAAAAAAAAAAAAAAAAAAAAA==
bad "did you mean 'filename'" -object rng-random,id=x,filenam=/dev/zero
bad "'nothere': No such file" -object rng-random,id=x,filename=nothere
bad "neither a character device nor a FIFO" -object rng-random,id=x,filename=notakernel
bad "there is an object 'x' already" -object rng-builtin,id=x -object rng-builtin,id=x
bad "rng=y: there is no -object" -object rng-builtin,id=x -device virtio-rng-pci,rng=y
bad "id" -netdev user
bad "there is no type 'foo'" -nic foo
bad "it takes model, macaddr, addr, netdev" -net nic,modle=e1000
bad "there is no back end 'n9'" -net nic,netdev=n9
bad "did you mean 'stdio'" -serial stdoi
bad "no chardev 'zz'" -serial chardev:zz
bad "cannot connect" -serial unix:nothere
bad "stdio is already used by 'serial0'" -serial stdio -serial stdio
bad "stdio is already used by 'serial0'" -serial stdio -monitor stdio
bad "there are 4 serial ports at most" -serial null -serial null -serial null -serial null -serial null
bad "'id=' is missing" -chardev null
bad "did you mean 'ringbuf'" -chardev rinbuf,id=x
bad "there is no -chardev with id 'x'" -mon x
bad "possible: readline, control" -chardev null,id=x -mon x,mode=foo
bad "has no parallel port" -M microvm -parallel null
bad "there are 3 parallel ports at most" -parallel null -parallel null -parallel null -parallel null
bad "2 diskette drives" -drive if=floppy,index=2
bad "is given twice" -drive if=floppy,index=1 -drive if=floppy,index=1
bad "a diskette drive takes no CDs" -drive if=floppy,media=cdrom
bad "no ISA DMA" -M microvm -device isa-fdc
bad "no diskette controller" -M q35 -device floppy
bad "the object has 64 MiB, and -m says 128" -object memory-backend-ram,id=m,size=64M -machine memory-backend=m -m 128
bad "there is no -object memory-backend-ram" -machine memory-backend=m
bad "is not a multiple of 4096" -object memory-backend-ram,id=m,size=63
bad "exclude each other" -object memory-backend-ram,id=m,size=64M -machine memory-backend=m -mem-prealloc
bad "no/such" -mem-path no/such/file
bad "there is no display 'gkt'" -display gkt
bad "did you mean 'sdl'" -display sld
bad "-redir tcp:2222::22 is not supported: QEMU has it no more, either: -nic user,hostfwd=tcp::HOSTPORT-:GUESTPORT" -redir tcp:2222::22
bad "vlan= is gone, from QEMU too: leave it out" -net nic,vlan=0 -net user,vlan=0
bad "-object filter-dump,id=d,netdev=nic0,file=F" -net nic -net user -net dump,file=x
bad "-balloon vitrio: it takes virtio, or none" -balloon vitrio
bad "-iscsi: unknown option 'initiator'" -iscsi initiator=x
bad "the registers are those of virtio 1" -global virtio-mmio.force-legacy=on
bad "-global virtio-mmio.ioeventfd: there is no such property" -global virtio-mmio.ioeventfd=on
bad "-cpu qemu64,enforce: Hyper-V enlightenments are not offered: hv-relaxed; leave them out" -cpu qemu64,hv_relaxed,enforce
bad "gl=maybe is not possible; possible: off, on, core, es" -display sdl,gl=maybe
bad "'zoom-to-fit'; it takes" -display default,zoom-to-fit=on
bad "unknown option 'show-tabs'" -display sdl,show-tabs=on
bad "possible: lctrl-lalt, lshift-lctrl-lalt, rctrl" -display sdl,grab-mod=alt
bad "there is no SPICE yet" -display spice-app
bad "there is no window" -full-screen -display none
bad "there is no window" -no-quit -vnc none
bad "a size is like 80Cx24C" -serial vc:80x
bad "a size is like 80Cx24C" -serial vc:80x24Q
bad "exclude each other" -chardev vc,id=x,cols=80,width=640
bad "that is no place" -vnc 5900
bad "that is no place" -display vnc=localhost
bad "unknown option 'passwort'" -vnc :77,passwort=on
bad "there is no tls-creds object 'x'" -vnc :77,tls-creds=x
bad "with reverse=on" -vnc nowhere,reverse=on
bad "nobody listens at" -vnc 127.0.0.1:77,reverse=on
bad "its port is 5900 more" -vnc :60000
bad "comes before display" -vnc 127.0.0.1:77,to=3
bad "1 to 107 bytes" -vnc unix:
bad "websocket needs a port" -vnc unix:vnc.sock,websocket
bad "it takes on, PORT" -vnc 127.0.0.1:77,websocket=no:port
bad "ipv6 goes with" -vnc 127.0.0.1:77,ipv6=on
bad "there is no screen 'nix'" -vnc 127.0.0.1:77,display=nix
bad "nix" -vnc 127.0.0.1:77,password-secret=nix
bad "no such keyboard layout" -k zz -vnc 127.0.0.1:77
bad "no such keyboard layout" -k zz -display none
bad "two with id=a" -vnc 127.0.0.1:77,id=a -vnc 127.0.0.1:78,id=a
bad "no such graphics card" -vga cga
bad "'virtio' does what" -vga qxl
bad "has no PCI bus" -M microvm -kernel kernel -vga std

bad "possible: allow, deny" -sandbox on,spawn=maybe
bad "goes with on" -sandbox off,spawn=deny
bad "is not like" -uuid 1234
bad "threads have names" -name x,debug-threads=off
bad "did you mean 'guest'" -name gest=x
bad "possible: none, slew" -rtc driftfix=slow
bad "did you mean 'timestamp'" -msg timestmp=on
bad "did you mean 'mem-lock'" -overcommit memlock=on
bad "there is no sound yet" -audiodev pa,id=a
bad "there is no -audiodev with that id" -audiodev none,id=a -vnc 127.0.0.1:77,audiodev=b
bad "utc, localtime, 2026-01-31" -rtc base=locatime
bad "no such log category" -d foo
bad "-d op: no such log category; there are int, cpu_reset, guest_errors, unimp, mmu, pci, virtio, in_asm, out_asm" -d in_asm,op
bad "cannot open log file" -D /no/such/folder/x
bad "possible: reset, shutdown" -action reboot=x
bad "did you mean 'reset'" -action watchdog=rest
bad "use i6300esb" -device ib700
bad "only file:PATH, fd:N and defer" -incoming tcp:1:2
bad "mkfifo P; PROGRAM >P" -incoming "exec:gzip -d <state"
bad "the process was not started with that descriptor" -kernel kernel -incoming fd:99
bad "cannot open 'nothere'" -kernel kernel -incoming file:nothere
bad "exclude each other" -daemonize -nographic
bad "not possible in the background" -daemonize -serial mon:stdio
bad "not possible in the background" -daemonize -chardev stdio,id=x -serial chardev:x
bad "not possible in the background" -daemonize -display none -monitor stdio
bad "-pidfile" -kernel kernel -display none -pidfile /no/such/folder/x
bad "not a character code" -echr 300
bad "-readconfig: Failed to open file" -readconfig nofile
config() {
    printf "$1" >config
    bad "$2" -S -display none -readconfig config
}
config 'driver = "VGA"\n' "-readconfig config: line 1: 'driver = \"VGA\"' is neither [section \"id\"] nor, in a section, key = \"value\""
config '# x\n\n[device]\n driver = VGA\n' "line 4: 'driver = VGA' is neither [section \"id\"] nor key = \"value\""
config '[devices "a"]\n' "line 1: there is no section 'devices'; there are device, drive"
config '[help]\n' "there is no section 'help'"
config '[name]\n guests = "a"\n\n[device]\n' "config: before line 4: -name: unknown option 'guests'"
config '[device "v"]\n driver = "nothing"\n' "'nothing' is not a device we have"
config '[memory]\n' "-m: its argument is empty"
config '\377' "it is no text"

# Help about what is not there.
bad "-M help" -M isapc,help
bad "-device help" -device nosuch,help
bad "-netdev help" -netdev nosuch,help
bad "-chardev help" -chardev nosuch,help
bad "-object help" -object nosuch,help
bad "-accel help" -accel nosuch,help
bad "machine 'none' has no CPU" -M none -smp 1
bad "machine 'none' has no serial port" -M none -serial stdio
bad "has nothing that would look at it" -M none -kernel "$0"
bad "no PCI bus" -M none -device e1000

# What help says it lists, it lists: exit status 0, nothing on stderr.
help() {
    want=$1
    shift
    n=$((n + 1))
    if ! timeout 20 "$vm" "$@" >out 2>err </dev/null || [ -s err ] || ! grep -qF -- "$want" out; then
        echo "viv-vm $*: wanted status 0 and '$want':"
        cat out err
        fail=$((fail + 1))
    fi
}
help "microvm" -M help
help "hpet=<" -M pc,help
help "Skylake-Client" -cpu help
help "interp" -accel help
help "Supported formats: blkdebug blkverify bochs cloop" -drive format=help
help "Supported formats:" -drive "format=?"
help "-accel interp has no options" -accel interp,help
help "tb-size=<int>" -accel xlate,help
help "tb-size=<int>" -accel tcg,help
help "in_asm " -d help
help "num-queues=<int>" -device driver=virtio-blk,help
help 'name "virtio-blk-pci", bus PCI' -device help
help "num-queues=<int>" -device virtio-blk-pci,help
help "num-queues=<int>" -device virtio-blk,help
help "filename=<str>" -object rng-random,help
help "hostfwd=<str (repeatable)>" -netdev user,help
help "logfile=<str>" -chardev file,help
help "detect-zeroes=<" -drive help
help "node-name=<str>" -blockdev help
help "threads=<int>" -smp help
help "guest_errors" -d help
help "-pidfile file" -help
help "version 0" --version

# An image that another machine has open, and that machine's pidfile.
"$vm" -m 16 -nodefaults -display none -S -accel interp -kernel kernel -drive file=busy.raw,format=raw,if=virtio \
    -qmp unix:q.sock,server,nowait -daemonize -pidfile pid || fail=$((fail + 1))
bad "does not let others write 'busy.raw'" -kernel kernel -drive file=busy.raw,format=raw,if=virtio
bad "-pidfile" -kernel kernel -display none -pidfile pid
[ -S q.sock ] || fail=$((fail + 1))
kill "$(cat pid)"
# It leaves nothing behind, although it has left this directory.
t=0
while [ $t -lt 50 ] && { [ -e pid ] || [ -e q.sock ]; }; do
    t=$((t + 1))
    sleep 0.1
done
if [ $t = 50 ]; then
    echo "left behind: $(ls pid q.sock 2>/dev/null)"
    fail=$((fail + 1))
fi

echo "$n command lines, $fail not answered as they should be"
[ $fail = 0 ]
