package realguest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
)

// grubModules are in the core image, so that nothing has to be loaded from a
// disk that the core image itself has to find.
var grubModules = strings.Fields(`part_msdos part_gpt ext2 xfs lvm fat normal search search_fs_uuid
	search_fs_file search_label linux configfile echo test loadenv minicmd ls gzio boot reboot halt`)

// menu is grub.cfg as grub-mkconfig orders it: the newest kernel, and a submenu with all.
func (g Guest) menu(versions []string) string {
	var s strings.Builder
	s.WriteString("if [ -s $prefix/grubenv ]; then\n\tload_env\nfi\nmenuentry_id_option=--id\nexport menuentry_id_option\n")
	if g.Default == "saved" {
		s.WriteString("set default=\"${saved_entry}\"\n")
	} else {
		fmt.Fprintf(&s, "set default=\"%s\"\n", g.Default)
	}
	s.WriteString("set timeout=1\n")
	const name = "Debian GNU/Linux"
	fmt.Fprintf(&s, "menuentry '%s' --class debian --class os $menuentry_id_option 'gnulinux-simple-%s' {\n", name, RootUUID)
	s.WriteString(g.entry(versions[0], "\t"))
	fmt.Fprintf(&s, "}\nsubmenu 'Advanced options for %s' $menuentry_id_option 'gnulinux-advanced-%s' {\n", name, RootUUID)
	for _, v := range versions {
		fmt.Fprintf(&s, "\tmenuentry '%s, with Linux %s' --class debian --class os $menuentry_id_option '%s' {\n", name, v, EntryID(v))
		s.WriteString(g.entry(v, "\t\t"))
		s.WriteString("\t}\n")
	}
	s.WriteString("}\n")
	return s.String()
}

// EntryID is the name that GRUB's menu gives the entry of a kernel.
func EntryID(version string) string { return "gnulinux-" + version + "-advanced-" + RootUUID }

// entry is what an entry of the menu does.
func (g Guest) entry(version, indent string) string {
	uuid, boot := RootUUID, "/boot"
	if g.Disk.Boot != "" {
		uuid, boot = BootUUID, ""
	}
	var s strings.Builder
	for _, line := range []string{
		"search --no-floppy --fs-uuid --set=root " + uuid,
		fmt.Sprintf("echo 'Loading Linux %s ...'", version),
		fmt.Sprintf("linux %s/vmlinuz-%s root=%s ro mitigations=off %s", boot, version, g.Root, g.Cmdline),
		fmt.Sprintf("initrd %s/initrd.img-%s", boot, version),
	} {
		s.WriteString(indent + line + "\n")
	}
	return s.String()
}

// loader installs GRUB.
func (b *builder) loader() {
	b.Helper()
	if b.guest.Loader == UEFI {
		b.loaderUEFI()
		return
	}
	b.loaderBIOS()
}

// prefix is where GRUB for BIOS finds its menu.
func (b *builder) prefix() string {
	table := map[string]string{"dos": "msdos", "gpt": "gpt"}[b.guest.Disk.Table]
	switch {
	case b.part("boot") != nil:
		return fmt.Sprintf("(,%s%d)/grub", table, b.number("boot"))
	case b.guest.Disk.LVM > 0:
		return "(lvm/vg0-root)/boot/grub"
	case b.guest.Disk.Table == "none":
		return "(hd0)/boot/grub"
	}
	return fmt.Sprintf("(,%s%d)/boot/grub", table, b.number("root"))
}

// loaderBIOS puts boot.img into the first sector, and the core image behind it, into
// the BIOS boot partition, or into the file system that has the disk for itself.
func (b *builder) loaderBIOS() {
	b.Helper()
	core := b.core(b.prefix())
	at := int64(512)
	if p := b.part("bios"); p != nil {
		at = p.start
	}
	if b.guest.Disk.Table == "none" {
		at = b.reserve(len(core))
	}
	// Where boot.img finds the first sector of the core image, and that one the rest.
	boot, err := os.ReadFile("/usr/lib/grub/i386-pc/boot.img")
	require.NoError(b, err)
	binary.LittleEndian.PutUint64(boot[0x5c:], uint64(at/512))
	binary.LittleEndian.PutUint64(core[0x1f4:], uint64(at/512)+1)
	f, err := os.OpenFile(b.disk, os.O_RDWR, 0)
	require.NoError(b, err)
	_, err = f.WriteAt(boot[:440], 0)
	require.NoError(b, err)
	_, err = f.WriteAt(boot[510:512], 510)
	require.NoError(b, err)
	_, err = f.WriteAt(core, at)
	require.NoError(b, err)
	require.NoError(b, f.Close())
}

// core makes the core image for BIOS.
func (b *builder) core(prefix string) []byte {
	b.Helper()
	name := filepath.Join(b.work, "core.img")
	run(b, b.work, append([]string{"grub-mkimage", "-O", "i386-pc", "-p", prefix, "-o", name, "biosdisk"}, grubModules...)...)
	core, err := os.ReadFile(name)
	require.NoError(b, err)
	return core
}

// reserve finds the blocks of a file in the root that is there for the core image.
func (b *builder) reserve(size int) int64 {
	b.Helper()
	name := b.file("core.bin", int64(size))
	b.sh(`head -c "$2" /dev/zero | tr '\0' x >"$1"; debugfs -w -R "write $1 boot/grub/core.img" "$3"`, name, fmt.Sprint(size), b.disk)
	blocks := strings.Fields(string(b.sh(`debugfs -R "blocks boot/grub/core.img" "$1"`, b.disk)))
	require.NotEmpty(b, blocks)
	var first, n int64
	for i, s := range blocks {
		_, err := fmt.Sscan(s, &n)
		require.NoError(b, err)
		if i == 0 {
			first = n
		}
		require.Equal(b, first+int64(i), n, "the core image is fragmented")
	}
	return first * 4096
}

// loaderUEFI puts GRUB where Debian installs it, and where firmware looks that knows
// nothing of the disk.
func (b *builder) loaderUEFI() {
	b.Helper()
	efi := filepath.Join(b.work, "grubx64.efi")
	run(b, b.work, append([]string{"grub-mkimage", "-O", "x86_64-efi", "-p", "/EFI/debian", "-o", efi}, grubModules...)...)
	uuid, dir := RootUUID, "/boot/grub"
	if b.part("boot") != nil {
		uuid, dir = BootUUID, "/grub"
	}
	write(b, b.work, "grub.cfg", fmt.Sprintf(
		"search.fs_uuid %s root\nset prefix=($root)'%s'\nconfigfile $prefix/grub.cfg\n", uuid, dir))
	esp := b.part("esp")
	b.sh(`
		mformat -i "$1" -F -T "$2" -N "$3" -v ESP ::
		mmd -i "$1" ::EFI ::EFI/debian ::EFI/BOOT
		mcopy -i "$1" grubx64.efi ::EFI/debian/grubx64.efi
		mcopy -i "$1" grubx64.efi ::EFI/BOOT/BOOTX64.EFI
		mcopy -i "$1" grub.cfg ::EFI/debian/grub.cfg`,
		fmt.Sprintf("%s@@%d", b.disk, esp.start), itoa(esp.size/512), strings.ReplaceAll(ESPUUID, "-", ""))
}
