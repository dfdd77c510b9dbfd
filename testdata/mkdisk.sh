#!/bin/sh
# Makes disk.raw, the disk image that the tests and the README use: 64 MiB,
# a GPT with protective MBR and backup table, an EFI system partition (FAT)
# and an ext4 root, most of it zeros. It looks like a Debian that is ready for the
# cloud ('fastimage check' finds nothing wrong), though nothing in it can run.
#
# Needs Debian's gdisk, dosfstools, mtools and e2fsprogs; installs nothing and
# needs no root. Two runs give the same bytes as long as the tools are the
# same: every identifier and every time below is fixed.
#
#   ./mkdisk.sh [OUT]      default: disk.raw beside this script
set -eu

PATH=$PATH:/usr/sbin:/sbin
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$here/disk.raw}

for t in sgdisk:gdisk mkfs.vfat:dosfstools mcopy:mtools mkfs.ext4:e2fsprogs; do
	command -v "${t%%:*}" >/dev/null || {
		echo "mkdisk.sh: ${t%%:*} is missing: apt-get install ${t#*:}" >&2
		exit 1
	}
done

export LC_ALL=C TZ=UTC
export SOURCE_DATE_EPOCH=1704067200 # 2024-01-01T00:00:00Z
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# pattern N: N KiB of text that compresses, but is not zeros.
pattern() {
	i=0
	while [ $i -lt "$1" ]; do
		printf '%01023d\n' $i
		i=$((i + 1))
	done
}

# newc NAME: the entry of an empty file in a cpio archive.
newc() {
	n=$((${#1} + 1))
	printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X' \
		0 33188 0 0 1 $SOURCE_DATE_EPOCH 0 0 0 0 0 $n 0
	printf '%s\000' "$1"
	while [ $(((110 + n) % 4)) -ne 0 ]; do
		printf '\000'
		n=$((n + 1))
	done
}

# The EFI system partition: 8 MiB at 1 MiB. The loader is no program, only the
# head of one: MZ, the PE offset, and a PE header for x86-64.
mkdir -p "$work/esp/EFI/BOOT" "$work/esp/EFI/debian"
{
	printf 'MZ'
	dd if=/dev/zero bs=1 count=58 status=none
	printf '\100\000\000\000'         # e_lfanew = 64
	printf 'PE\000\000\144\206'       # machine 0x8664
	pattern 64
} >"$work/esp/EFI/BOOT/BOOTX64.EFI"
printf 'search --no-floppy --label root --set=root\nconfigfile /boot/grub/grub.cfg\n' \
	>"$work/esp/EFI/debian/grub.cfg"
find "$work/esp" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
truncate -s 8M "$work/esp.img"
mkfs.vfat --invariant -i 0f0e0d0c -n ESP -F 16 -s 1 "$work/esp.img" >/dev/null
mcopy -s -m -i "$work/esp.img" "$work/esp/EFI" ::/

# The root: 48 MiB at 9 MiB, no journal (it would be 4 MiB of nothing).
root=$work/root
version=6.1.0-18-amd64
modules=$root/usr/lib/modules/$version
mkdir -p "$root/etc/network" "$root/etc/cloud" "$root/boot/grub" "$root/usr/bin" "$root/usr/lib" "$root/var/log" "$root/home/user" \
	"$modules" "$root/etc/systemd/system/cloud-init.target.wants" "$root/usr/lib/systemd/system"
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n' >"$root/usr/lib/os-release"
ln -s ../usr/lib/os-release "$root/etc/os-release"
printf 'fastimage\n' >"$root/etc/hostname"
printf 'LABEL=root / ext4 defaults 0 1\nLABEL=ESP /boot/efi vfat umask=0077 0 1\n' >"$root/etc/fstab"
printf 'auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n' >"$root/etc/network/interfaces"
# Cloud-init, as far as a look from outside tells.
printf 'datasource_list: [ConfigDrive, OpenStack, None]\n' >"$root/etc/cloud/cloud.cfg"
printf '#!/bin/sh\n' >"$root/usr/bin/cloud-init"
printf '[Unit]\nDescription=Cloud-init\n' >"$root/usr/lib/systemd/system/cloud-init.service"
ln -s /usr/lib/systemd/system/cloud-init.service "$root/etc/systemd/system/cloud-init.target.wants/cloud-init.service"
# A boot loader with one entry, its kernel, and an initramfs with the drivers of
# the cloud's disks and network cards: empty files of the right names.
printf 'menuentry "Debian" {\n\tlinux /boot/vmlinuz-%s root=LABEL=root console=tty0 console=ttyS0,115200\n\tinitrd /boot/initrd.img-%s\n}\n' $version $version >"$root/boot/grub/grub.cfg"
pattern 1024 >"$root/boot/vmlinuz-$version"
: >"$modules/modules.builtin"
{
	for m in drivers/virtio/virtio drivers/virtio/virtio_ring drivers/virtio/virtio_pci drivers/block/virtio_blk \
		drivers/scsi/virtio_scsi drivers/net/virtio_net fs/ext4/ext4; do
		newc "usr/lib/modules/$version/kernel/$m.ko"
	done
	newc 'TRAILER!!!'
} | gzip -9n >"$root/boot/initrd.img-$version"
# Programs, the first of them with the head of an ELF file for x86-64.
{
	printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000\003\000\076\000\001\000\000\000'
	pattern 2560
} >"$root/usr/bin/tool"
cp "$root/usr/bin/tool" "$work/sh" && head -c 4096 "$work/sh" >"$root/usr/bin/sh"
pattern 512 >"$root/usr/lib/libtool.so.1"
pattern 128 >"$root/var/log/syslog"
truncate -s 4M "$root/var/log/lastlog" # a file that is all hole
chmod 755 "$root/usr/bin/tool" "$root/usr/bin/sh" "$root/usr/bin/cloud-init"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
truncate -s 48M "$work/root.img"
mkfs.ext4 -q -L root -U 6f1a3c52-8f0e-4c6a-9a39-0d6f5f1b7a10 \
	-E hash_seed=5b0e2a64-3a0f-4d1c-8a5e-7e2b9c4d1f20,root_owner=0:0,lazy_itable_init=0,nodiscard \
	-O '^has_journal,^metadata_csum_seed,^orphan_file' -b 4096 -I 256 \
	-d "$root" "$work/root.img"
# mkfs copies owners of the files it is given; the times of creation and of
# change are those of this run, so they are set too.
find "$root" -mindepth 1 -printf '%P\n' | sort | while read -r f; do
	for k in uid gid; do echo "set_inode_field \"/$f\" $k 0"; done
	for k in atime ctime mtime crtime; do echo "set_inode_field \"/$f\" $k @$SOURCE_DATE_EPOCH"; done
	for k in atime_extra ctime_extra mtime_extra crtime_extra; do echo "set_inode_field \"/$f\" $k 0"; done
done >"$work/fix"
debugfs -w -f "$work/fix" "$work/root.img" >/dev/null 2>&1

truncate -s 64M "$work/disk.raw"
sgdisk --clear --set-alignment=2048 \
	--disk-guid=3d4c2b1a-0f1e-4d2c-8b3a-495867768594 \
	--new=1:2048:18431 --typecode=1:ef00 --change-name=1:'EFI system partition' \
	--partition-guid=1:a1b2c3d4-0001-4000-8000-000000000001 \
	--new=2:18432:116735 --typecode=2:8300 --change-name=2:root \
	--partition-guid=2:a1b2c3d4-0002-4000-8000-000000000002 \
	"$work/disk.raw" >/dev/null
dd if="$work/esp.img" of="$work/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/root.img" of="$work/disk.raw" bs=1M seek=9 conv=notrunc,sparse status=none
mv "$work/disk.raw" "$out"
