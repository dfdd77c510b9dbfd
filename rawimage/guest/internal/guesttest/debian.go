package guesttest

import "fmt"

// Kernel is the version of the guests' kernel.
const Kernel = "6.1.0-31-amd64"

// RootUUID is the UUID of the guests' root file system.
const RootUUID = "5c2d9c27-6a1b-4c55-9d5e-3f4b0c6f2a10"

// elf is the beginning of a program for x86-64.
const elf = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00\x01\x00\x00\x00program"

// VirtioModules are the modules of a good initramfs.
func VirtioModules(version string) Tree {
	dir := "usr/lib/modules/" + version + "/kernel/"
	t := Tree{"init": "#!/bin/sh\n", "usr/sbin/lvm": elf}
	for _, m := range []string{"drivers/virtio/virtio", "drivers/virtio/virtio_ring", "drivers/virtio/virtio_pci",
		"drivers/block/virtio_blk", "drivers/scsi/virtio_scsi", "drivers/net/virtio_net", "fs/ext4/ext4", "fs/xfs/xfs"} {
		t[dir+m+".ko"] = "module"
	}
	return t
}

// Debian is the root of a Debian that is ready for the cloud.
func Debian() Tree {
	mods := "usr/lib/modules/" + Kernel
	return Tree{
		"etc/os-release":                         "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
		"etc/debian_version":                     "12.9\n",
		"etc/fstab":                              "# root\nUUID=" + RootUUID + " / ext4 defaults 0 1\n",
		"etc/passwd":                             "root:x:0:0::/root:/bin/sh\n",
		"etc/machine-id":                         "uninitialized\n",
		"etc/network/interfaces":                 "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n",
		"etc/network/interfaces.d/50-cloud-init": "auto eth0\niface eth0 inet dhcp\n",
		"etc/cloud/cloud.cfg":                    "datasource_list: [ ConfigDrive, OpenStack ]\n",
		"etc/systemd/system/cloud-init.target.wants/cloud-init.service": Link + "/usr/lib/systemd/system/cloud-init.service",
		"usr/bin/cloud-init":      "#!/usr/bin/python3\n",
		"usr/bin/sh":              elf,
		"bin":                     Link + "usr/bin",
		"sbin":                    Link + "usr/sbin",
		"lib":                     Link + "usr/lib",
		"usr/lib/systemd/systemd": elf,
		"usr/lib/systemd/system/cloud-init.service": "[Unit]\n",
		"usr/sbin/init":             Link + "../lib/systemd/systemd",
		"usr/sbin/update-initramfs": "#!/bin/sh\n",
		"usr/sbin/update-grub":      "#!/bin/sh\n",
		"usr/sbin/dhclient":         elf,
		mods + "/modules.builtin":   "kernel/fs/fat/fat.ko\n",
		mods + "/modules.dep": "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n" +
			"kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n" +
			"kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n" +
			"kernel/fs/ext4/ext4.ko:\n",
		mods + "/kernel/drivers/net/virtio_net.ko": "module",
		"boot/vmlinuz-" + Kernel:                   "kernel",
		"boot/config-" + Kernel:                    "CONFIG_VIRTIO_BLK=m\n",
		"boot/initrd.img-" + Kernel:                string(CPIO(Tree{"kernel/x86/microcode/GenuineIntel.bin": "code"})) + string(make([]byte, 512)) + string(CPIO(VirtioModules(Kernel))),
		"boot/grub/grub.cfg":                       GrubConfig("root=UUID=" + RootUUID + " ro net.ifnames=0 console=tty0 console=ttyS0,115200"),
	}
}

// GrubConfig is a configuration of GRUB 2 with a command line.
func GrubConfig(options string) string {
	return fmt.Sprintf(`set default="0"
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple' {
	insmod ext2
	search --no-floppy --fs-uuid --set=root %s
	linux	/boot/vmlinuz-%s %s
	initrd	/boot/initrd.img-%s
}
`, RootUUID, Kernel, options, Kernel)
}
