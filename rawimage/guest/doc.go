// Package guest examines the operating system on a disk image before the image
// is uploaded: whether a server made from it will boot and have a network. Fast
// image creation changes nothing in a guest, so it must be ready beforehand.
//
// [Examine] reads a disk as an [io.ReaderAt] with a size, finds its volumes and
// file systems, and returns a [Report]: facts, and one [Finding] for each check.
// It writes nothing and runs nothing of the guest's. A journal that must be
// replayed is reported, not replayed.
//
//	disk ── partitions (MBR, GPT, none) ─┬─ file system
//	                                     ├─ RAID 1 ── file system, LVM
//	                                     └─ LVM ── linear, striped, mirrored ── file system
//
// # What is read
//
// File systems: ext2, ext3, ext4, XFS, FAT and NTFS. Volumes: partitions, members
// of RAID 1 of Linux MD, and LVM2. Others are named, and why they are not read is
// in Report.Reason: btrfs, ZFS, ReFS and LUKS among them, and LVM's thin volumes.
// Boot loaders: GRUB 2 with its scripts, saved entries and entries of the Boot
// Loader Specification, GRUB legacy, systemd-boot and extlinux. An initramfs is a
// sequence of cpio archives, as they are or compressed with gzip, xz, zstd, lz4,
// lzma or bzip2.
//
// # Checks
//
// Names are stable. All systems: architecture, boot-loader, one-disk, encrypted,
// clean-shutdown, os-version.
//
// Linux: root-device, initramfs-virtio, virtio-net, initramfs-root, fstab-devices,
// missing-devices, persistent-net, static-address, dhcp, pinned-mac, cloud-init,
// foreign-tools, host-identity, lvm-system-disk, serial-console.
//
// Windows: windows-virtio-disk, windows-virtio-net, windows-balloon, windows-dhcp,
// windows-remote-desktop, windows-cloudbase-init, windows-hibernation.
//
// A check fails only for what keeps a server from booting or from its network;
// what boots and lacks something is a warning. What a check cannot tell is
// unknown, never a failure.
//
// # Concurrency
//
// Examine reads the disk from one goroutine. A Report may be used by several, and
// so may the file system that [Report.FS] returns.
//
// # Security
//
// Disks are hostile input: sizes, offsets and counts are checked before anything
// is allocated or followed, what is read and decompressed is bounded, and so is
// the time. Symbolic links are resolved inside the guest. Should a reader panic
// all the same, the check that called it is unknown. Text from the guest is made
// printable and cut to 300 characters in findings; the files of [Report.FS] are
// as they are.
package guest
