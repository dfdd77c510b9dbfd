package realguest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Firmware is what starts a guest.
type Firmware string

// The firmware of QEMU.
const (
	BIOS Firmware = "bios" // SeaBIOS
	UEFI Firmware = "uefi" // OVMF, with empty variables
)

// Guest is a guest to build, and what becomes of it.
type Guest struct {
	Name     string
	Base     Base
	Firmware Firmware // BIOS by default
	Disk     Layout
	// Loader is the firmware that the disk has a boot loader for: Firmware by default.
	Loader Firmware
	// Root is how the boot loader names the root: by its UUID by default.
	Root string
	// Cmdline is the rest of the kernel's command line: "console=ttyS0" by default.
	Cmdline string
	// Default is the default entry of GRUB's menu: "0", the newest kernel, by default.
	Default string
	// Fstab follows the lines of the guest's own file systems.
	Fstab string
	// Script is run in the root. KERNEL is the version of its newest kernel, OLDEST
	// that of its oldest.
	Script string
	// Damage changes the finished disk.
	Damage func(t testing.TB, disk *os.File)

	Dead    bool   // does not boot
	Offline bool   // boots, and has no network
	Fails   string // the check of rawimage/guest that fails
}

// The names of the file systems of every guest.
const (
	RootUUID = "5a1ad000-0000-4000-8000-0000000000a1"
	BootUUID = "5a1ad000-0000-4000-8000-0000000000b0"
	SwapUUID = "5a1ad000-0000-4000-8000-0000000000c0"
	ESPUUID  = "5A1A-D0E5"
	DiskID   = "5a1ad0d1"
)

// rootVolume is the name of the root on LVM.
const rootVolume = "/dev/mapper/vg0-root"

// withDefaults fills in what a guest leaves open.
func (g Guest) withDefaults() Guest {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set((*string)(&g.Firmware), string(BIOS))
	set((*string)(&g.Loader), string(g.Firmware))
	if g.Disk.LVM > 0 {
		set(&g.Root, rootVolume)
	}
	set(&g.Root, "UUID="+RootUUID)
	set(&g.Cmdline, "console=ttyS0")
	set(&g.Default, "0")
	set(&g.Disk.FS, "ext4")
	set(&g.Disk.Table, "dos")
	return g
}

// StartedBy is the firmware that starts the guest.
func (g Guest) StartedBy() Firmware { return g.withDefaults().Firmware }

// Build makes a guest and returns the name of its RAW disk, in dir.
func Build(t testing.TB, g Guest, dir string) string {
	t.Helper()
	g = g.withDefaults()
	base := g.Base.dir(t)
	work, err := os.MkdirTemp(dir, "build-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(work) }()
	root := filepath.Join(work, "root")
	run(t, work, "cp", "-a", "--reflink=auto", base, root)
	write(t, root, "etc/fstab", g.fstab())
	versions := kernels(t, root)
	write(t, root, "boot/grub/grub.cfg", g.menu(versions))
	if g.Script != "" {
		inRoot(t, root, []string{"KERNEL=" + versions[0], "OLDEST=" + versions[len(versions)-1]}, g.Script)
	}
	disk := filepath.Join(dir, g.Name+".raw")
	b := builder{TB: t, guest: g, work: work, root: root, disk: disk}
	b.build()
	return disk
}

// fstab lists the file systems of a guest.
func (g Guest) fstab() string {
	root := "UUID=" + RootUUID
	if g.Disk.LVM > 0 {
		root = rootVolume
	}
	s := fmt.Sprintf("%s / %s defaults 0 1\n", root, g.Disk.FS)
	if g.Disk.Boot != "" {
		s += fmt.Sprintf("UUID=%s /boot %s defaults 0 2\n", BootUUID, g.Disk.Boot)
	}
	if g.Loader == UEFI {
		s += fmt.Sprintf("UUID=%s /boot/efi vfat umask=0077 0 1\n", ESPUUID)
	}
	if g.Disk.Swap {
		s += fmt.Sprintf("UUID=%s none swap sw 0 0\n", SwapUUID)
	}
	return s + g.Fstab
}
