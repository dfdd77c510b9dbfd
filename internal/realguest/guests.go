package realguest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Short lists the guests of the short form: one good, two broken.
func Short() []Guest {
	return []Guest{all[0], all[1], all[2]}
}

// All lists the guests: what a server made from each does is what one should expect of
// a guest that was prepared, or broken, in this way.
func All() []Guest { return all }

// Scripts that several guests run.
const (
	// noVirtio rebuilds the initramfs of the newest kernel with the drivers of another
	// hypervisor only.
	noVirtio = `
		sed -i s/^MODULES=.*/MODULES=list/ /etc/initramfs-tools/initramfs.conf
		printf 'ext4\nxfs\ncrc32c\ncrc32c_generic\nnvme\n' >/etc/initramfs-tools/modules
		update-initramfs -u -k "$KERNEL"`
	// hook takes the modules that LACKS lists out of the newest kernel's initramfs.
	hook = `
		printf '#!/bin/sh\n[ "$1" = prereqs ] && exit 0\nfor m in %s; do find "$DESTDIR" -name "$m.ko*" -delete; done\n' "$LACKS" >/etc/initramfs-tools/hooks/zz-lacks
		chmod +x /etc/initramfs-tools/hooks/zz-lacks
		update-initramfs -u -k "$KERNEL"`
	// useNetworkd has systemd-networkd in place of ifupdown.
	useNetworkd = `
		rm /etc/network/interfaces
		systemctl disable networking
		` + networkd
)

// save makes the entry of a kernel the default of GRUB's menu.
func save(kernel string) string {
	return "\nentry=\"gnulinux-advanced-" + RootUUID + ">" + EntryID(kernel) + `"
		{ printf '# GRUB Environment Block\nsaved_entry=%s\n' "$entry"; head -c 1024 /dev/zero | tr '\0' '#'; } | head -c 1024 >/boot/grub/grubenv
		`
}

// lacks rebuilds the newest kernel's initramfs without some modules.
func lacks(modules string) string { return "LACKS='" + modules + "'\n" + hook }

// interfaces replaces the configuration of ifupdown.
func interfaces(lines string) string {
	return "cat >/etc/network/interfaces <<'END'\nauto lo\niface lo inet loopback\n" + lines + "END\n"
}

// erase overwrites part of a disk with zeros.
func erase(off, size int64) func(testing.TB, *os.File) {
	return func(t testing.TB, disk *os.File) {
		_, err := disk.WriteAt(make([]byte, size), off)
		require.NoError(t, err)
	}
}

const (
	otherUUID = "0ddba111-0000-4000-8000-000000000000"
	static    = "auto ens3\niface ens3 inet static\n\taddress 10.1.2.3/24\n\tgateway 10.1.2.1\n"
)

var all = []Guest{
	{Name: "ext4", Base: Cloud},
	{Name: "initramfs-without-virtio", Base: Cloud, Fails: "initramfs-virtio", Script: noVirtio, Dead: true},
	{Name: "static-address", Base: Cloud, Fails: "static-address", Script: interfaces(static), Offline: true},

	// Disks.
	{Name: "uefi", Base: Cloud, Firmware: UEFI, Disk: Layout{Table: "gpt"}},
	{Name: "uefi-mbr", Base: Cloud, Firmware: UEFI},
	{Name: "gpt-bios-boot", Base: Cloud, Disk: Layout{Table: "gpt"}},
	{Name: "no-partitions", Base: Cloud, Disk: Layout{Table: "none"}},
	{Name: "ext3", Base: Cloud, Disk: Layout{FS: "ext3"}},
	{Name: "ext2", Base: Cloud, Disk: Layout{FS: "ext2"}},
	{Name: "xfs", Base: Cloud, Disk: Layout{FS: "xfs"}},
	{Name: "boot-partition-swap", Base: Cloud, Disk: Layout{Boot: "ext2", Swap: true}},
	{Name: "lvm", Base: Cloud, Disk: Layout{LVM: 1}},
	{Name: "lvm-xfs-boot-partition", Base: Cloud, Disk: Layout{LVM: 1, FS: "xfs", Boot: "ext4"}},
	{Name: "lvm-two-volumes", Base: Cloud, Disk: Layout{LVM: 2, Boot: "ext4"}, Root: "/dev/vg0/root"},
	{Name: "lvm-by-uuid", Base: Cloud, Disk: Layout{LVM: 1}, Root: "UUID=" + RootUUID},
	{Name: "lvm-lost-volume", Base: Cloud, Fails: "one-disk", Disk: Layout{LVM: 2, Boot: "ext4", Lost: LostNeeded}, Dead: true},
	{Name: "lvm-lost-volume-unused", Base: Cloud, Fails: "one-disk", Dead: true, Disk: Layout{LVM: 1, Boot: "ext4", Lost: LostUnused}},

	// Kernels and initramfs.
	{Name: "generic-kernel", Base: Both, Default: "1>1"},
	{Name: "dracut", Base: Dracut},
	{Name: "dracut-uefi-xfs", Base: Dracut, Firmware: UEFI, Disk: Layout{Table: "gpt", FS: "xfs"}},
	{Name: "dracut-lvm", Base: Dracut, Disk: Layout{LVM: 1, Boot: "ext4"}, Cmdline: "rd.lvm.lv=vg0/root console=ttyS0"},
	{Name: "dracut-without-virtio", Base: Dracut, Fails: "initramfs-virtio", Dead: true, Cmdline: "rd.retry=30 console=ttyS0",
		Script: `dracut --force --no-hostonly --omit-drivers "virtio_blk virtio_scsi virtio_pci" /boot/initrd.img-"$KERNEL" "$KERNEL"`},
	{Name: "initramfs-without-virtio-blk", Base: Cloud, Fails: "initramfs-virtio", Script: lacks("virtio_blk"), Dead: true},
	{Name: "initramfs-without-virtio-pci", Base: Cloud, Fails: "initramfs-virtio", Script: lacks("virtio_pci"), Dead: true},
	{Name: "initramfs-without-virtio-scsi", Base: Cloud, Script: lacks("virtio_scsi")},
	{Name: "initramfs-without-virtio-net", Base: Cloud, Script: lacks("virtio_net")},
	{Name: "no-virtio-net", Base: Cloud, Fails: "virtio-net", Offline: true,
		Script: `find /lib/modules -name virtio_net.ko -delete; depmod "$KERNEL"; update-initramfs -u -k "$KERNEL"`},
	{Name: "default-kernel-without-virtio", Base: Both, Fails: "initramfs-virtio", Script: noVirtio, Dead: true},
	{Name: "other-kernel-without-virtio", Base: Both, Default: "saved",
		Script: noVirtio + save("$OLDEST")},
	{Name: "saved-kernel-without-virtio", Base: Both, Fails: "initramfs-virtio", Default: "saved", Dead: true,
		Script: "KERNEL=$OLDEST\n" + noVirtio + save("$OLDEST")},
	{Name: "initrd-missing", Base: Cloud, Fails: "initramfs-root", Script: `rm /boot/initrd.img-"$KERNEL"`, Dead: true},
	{Name: "kernel-missing", Base: Cloud, Fails: "initramfs-root", Script: `rm /boot/vmlinuz-"$KERNEL"`, Dead: true},

	// Names of the root.
	{Name: "root-by-label", Base: Cloud, Root: "LABEL=root"},
	{Name: "root-by-partuuid", Base: Cloud, Root: "PARTUUID=" + DiskID + "-01"},
	{Name: "root-by-gpt-partuuid", Base: Cloud, Disk: Layout{Table: "gpt"}, Root: "PARTUUID=" + PartUUID(2)},
	{Name: "root-vda1", Base: Cloud, Root: "/dev/vda1"},
	{Name: "root-sda1", Base: Cloud, Fails: "root-device", Root: "/dev/sda1", Dead: true},
	{Name: "root-unknown-uuid", Base: Cloud, Fails: "missing-devices", Root: "UUID=" + otherUUID, Dead: true},
	{Name: "root-unknown-label", Base: Cloud, Fails: "missing-devices", Root: "LABEL=old-root", Dead: true},
	{Name: "root-unknown-volume", Base: Cloud, Fails: "missing-devices", Root: "/dev/mapper/vg1-root", Disk: Layout{LVM: 1}, Dead: true},

	// Other file systems.
	{Name: "fstab-missing-disk", Base: Cloud, Fails: "fstab-devices", Fstab: "/dev/sdb1 /data ext4 defaults 0 2\n", Dead: true},
	{Name: "fstab-missing-uuid", Base: Cloud, Fails: "missing-devices", Fstab: "UUID=" + otherUUID + " /data ext4 defaults 0 2\n", Dead: true},
	{Name: "fstab-nofail", Base: Cloud, Fstab: "/dev/sdb1 /data ext4 defaults,nofail 0 2\n"},
	{Name: "fstab-noauto", Base: Cloud, Fstab: "/dev/sdb1 /data ext4 noauto 0 0\n"},
	{Name: "fstab-missing-swap", Base: Cloud, Fstab: "/dev/sdb2 none swap sw 0 0\n"},
	{Name: "fstab-vda", Base: Cloud, Disk: Layout{Boot: "ext4"}, Script: "sed -i 's,^UUID=" + BootUUID + ",/dev/vda1,' /etc/fstab"},
	{Name: "fstab-boot-sda1", Base: Cloud, Fails: "fstab-devices", Disk: Layout{Boot: "ext4"}, Script: "sed -i 's,^UUID=" + BootUUID + ",/dev/sda1,' /etc/fstab", Dead: true},
	{Name: "fstab-root-sda1", Base: Cloud, Script: "sed -i 's,^UUID=" + RootUUID + ",/dev/sda1,' /etc/fstab"},
	{Name: "resume-missing", Base: Cloud, Script: "echo RESUME=UUID=" + otherUUID + ` >/etc/initramfs-tools/conf.d/resume; update-initramfs -u -k "$KERNEL"`},
	{Name: "hibernated", Base: Cloud, Disk: Layout{Swap: true}, Damage: func(t testing.TB, disk *os.File) {
		_, err := disk.WriteAt([]byte("S1SUSPEND"+"\x00"), mib+4096-10) // the signature of swap space
		require.NoError(t, err)
	}},

	// Boot loaders.
	{Name: "no-boot-code", Base: Cloud, Fails: "boot-loader", Damage: erase(0, 440), Dead: true},
	{Name: "no-core-image", Base: Cloud, Fails: "boot-loader", Damage: erase(512, 512*1024), Dead: true},
	{Name: "gpt-without-bios-boot", Base: Cloud, Fails: "boot-loader", Disk: Layout{Table: "gpt"}, Loader: UEFI, Damage: strayBootCode, Dead: true},
	{Name: "no-menu", Base: Cloud, Fails: "boot-loader", Script: "rm /boot/grub/grub.cfg", Dead: true},
	{Name: "uefi-disk-bios", Base: Cloud, Fails: "boot-loader", Disk: Layout{Table: "gpt"}, Loader: UEFI, Dead: true},
	{Name: "bios-disk-uefi", Base: Cloud, Fails: "boot-loader", Loader: BIOS, Firmware: UEFI, Dead: true},
	{Name: "uefi-without-fallback", Base: Cloud, Fails: "boot-loader", Firmware: UEFI, Disk: Layout{Table: "gpt"}, Damage: esp("mdel -i", "::EFI/BOOT/BOOTX64.EFI"), Dead: true},
	{Name: "uefi-fallback-arm", Base: Cloud, Fails: "boot-loader", Firmware: UEFI, Disk: Layout{Table: "gpt"}, Damage: esp("mren -i", "::EFI/BOOT/BOOTX64.EFI", "BOOTAA64.EFI"), Dead: true},
	{Name: "no-serial-console", Base: Cloud, Cmdline: "quiet"},

	// Networks.
	{Name: "networkd", Base: Cloud, Script: useNetworkd},
	{Name: "old-names", Base: Cloud, Cmdline: "net.ifnames=0 console=ttyS0", Script: interfaces("auto eth0\niface eth0 inet dhcp\n")},
	{Name: "networkd-static", Base: Cloud, Fails: "static-address", Offline: true, Script: useNetworkd + `
		printf '[Match]\nName=en*\n\n[Network]\nAddress=10.1.2.3/24\nGateway=10.1.2.1\n' >/etc/systemd/network/80-dhcp.network`},
	{Name: "networkd-pinned-mac", Base: Cloud, Fails: "pinned-mac", Offline: true, Script: useNetworkd + `
		printf '[Match]\nMACAddress=00:50:56:01:02:03\n\n[Network]\nDHCP=yes\n' >/etc/systemd/network/80-dhcp.network`},
	{Name: "networkd-link-pinned-mac", Base: Cloud, Fails: "dhcp", Offline: true, Script: useNetworkd + `
		printf '[Match]\nMACAddress=00:50:56:01:02:03\n\n[Link]\nName=lan0\n' >/etc/systemd/network/10-lan.link
		printf '[Match]\nName=lan0\n\n[Network]\nDHCP=yes\n' >/etc/systemd/network/80-dhcp.network`},
	{Name: "persistent-names", Base: Cloud, Fails: "dhcp", Offline: true, Script: persistent("lan0") + interfaces("auto lan0\niface lan0 inet dhcp\n")},
	{Name: "persistent-names-eth0", Base: Cloud, Cmdline: "net.ifnames=0 console=ttyS0", Script: persistent("eth0") + interfaces("auto eth0\niface eth0 inet dhcp\n")},
	{Name: "persistent-names-empty", Base: Cloud, Script: "echo '# nothing' >/etc/udev/rules.d/70-persistent-net.rules\n"},
	{Name: "other-interface-name", Base: Cloud, Fails: "dhcp", Offline: true, Script: interfaces("auto ens192\niface ens192 inet dhcp\n")},
	{Name: "static-second-interface", Base: Cloud, Script: interfaces("auto ens3\niface ens3 inet dhcp\n\nallow-hotplug ens9\niface ens9 inet static\n\taddress 10.1.2.3/24\n")},
	{Name: "no-network-configured", Base: Cloud, Fails: "dhcp", Offline: true, Script: interfaces("")},
}

// persistent is a rule of the kind that udev wrote for the network cards of a machine.
func persistent(name string) string {
	return `
		echo 'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="00:50:56:01:02:03", NAME="` + name + `"' >/etc/udev/rules.d/70-persistent-net.rules
		update-initramfs -u -k "$KERNEL"
		`
}

// strayBootCode puts boot.img into the first sector, as if the core image were right
// behind it, where a GPT is.
func strayBootCode(t testing.TB, disk *os.File) {
	boot, err := os.ReadFile("/usr/lib/grub/i386-pc/boot.img")
	require.NoError(t, err)
	_, err = disk.WriteAt(boot[:440], 0)
	require.NoError(t, err)
}

// esp runs a command of mtools on the EFI system partition, the first of the disk.
func esp(command string, args ...string) func(testing.TB, *os.File) {
	return func(t testing.TB, disk *os.File) {
		run(t, "", append([]string{"sh", "-euc", command + ` "$0@@1048576" "$@"`, disk.Name()}, args...)...)
	}
}
