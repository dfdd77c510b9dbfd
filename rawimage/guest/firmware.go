package guest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"

	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/volume"
)

// fallback returns the path on the EFI system partition that firmware starts
// without an entry of its own, for an architecture.
func fallback(arch string) string {
	switch arch {
	case "aarch64":
		return "EFI/BOOT/BOOTAA64.EFI"
	case "i686":
		return "EFI/BOOT/BOOTIA32.EFI"
	case "riscv64":
		return "EFI/BOOT/BOOTRISCV64.EFI"
	case "loongarch64":
		return "EFI/BOOT/BOOTLOONGARCH64.EFI"
	}
	return "EFI/BOOT/BOOTX64.EFI"
}

// firmwareFacts tells what can start the disk.
func (e *exam) firmwareFacts() {
	e.report.Firmware = nil
	if e.biosReason() == "" {
		e.report.Firmware = append(e.report.Firmware, FirmwareBIOS)
	}
	if _, why := e.uefiFile(); why == "" {
		e.report.Firmware = append(e.report.Firmware, FirmwareUEFI)
	}
}

// biosReason says why a BIOS cannot start the disk, "" if it can.
func (e *exam) biosReason() string {
	switch e.report.Architecture {
	case "aarch64", "arm", "riscv64", "loongarch64":
		return "there is no BIOS for " + e.report.Architecture
	}
	sector := make([]byte, 512)
	if err := vfs.ReadFull(e.disk, sector, 0); err != nil {
		return "sector 0 cannot be read"
	}
	table := e.vols.Table
	switch {
	case sector[510] != 0x55 || sector[511] != 0xaa:
		return "sector 0 has no boot signature"
	case !bootCode(sector[:440]):
		return "the MBR has no boot code"
	case isGRUB(sector):
		return e.coreAt(sector)
	case isSyslinuxMBR(sector) && !hasActive(table):
		return "no partition is active"
	}
	return ""
}

// bootCode reports whether a sector begins with more than a placeholder: sfdisk
// leaves zeros, mkfs.fat a message, systemd-boot and others a jump to itself.
func bootCode(p []byte) bool {
	code := bytes.TrimRight(p, "\x00")
	return len(code) > 16 && !bytes.Contains(code, []byte("This is not a bootable disk"))
}

func isGRUB(sector []byte) bool { return bytes.Contains(sector, []byte("GRUB ")) }

func isSyslinuxMBR(sector []byte) bool {
	return bytes.Contains(sector, []byte("Missing operating system")) || bytes.Contains(sector, []byte("isolinux"))
}

// coreAt says what is wrong with the sector that GRUB's boot code loads next.
func (e *exam) coreAt(sector []byte) string {
	lba := int64(binary.LittleEndian.Uint64(sector[0x5c:]))
	if sector[0x3e] == 3 && sector[0x3f] == 2 { // version of GRUB legacy's stage 1
		lba = int64(binary.LittleEndian.Uint32(sector[0x44:]))
	}
	next := make([]byte, 512)
	if lba <= 0 || lba >= e.disk.Size()/512 {
		return "" // another boot code with the same word in it
	}
	err := vfs.ReadFull(e.disk, next, lba*512)
	switch {
	case err != nil || len(bytes.TrimRight(next, "\x00")) == 0:
		return fmt.Sprintf("GRUB's boot code leads to sector %d, which is empty", lba)
	case bytes.HasPrefix(next, []byte("EFI PART")):
		return fmt.Sprintf("GRUB's boot code leads to sector %d, which has the partition table: there is no BIOS boot partition", lba)
	}
	return ""
}

func hasActive(t *disk.Info) bool {
	for _, p := range t.Partitions {
		if p.Active {
			return true
		}
	}
	return false
}

// uefiFile finds the file that firmware starts without an entry of its own, or
// says why there is none.
func (e *exam) uefiFile() (where, why string) {
	want := fallback(e.report.Architecture)
	esp := false
	for _, v := range e.vols.Volumes {
		if v.Type != "vfat" || v.Partition == nil && e.vols.Table.Table != disk.TableNone {
			continue
		}
		f, err := v.FS()
		if err != nil {
			continue
		}
		if v.Partition != nil && v.Partition.TypeName == "EFI system" {
			esp = true
		}
		if isFile(vfs.NewTree(f), want) {
			return e.pathOn(v, want), ""
		}
	}
	if !esp {
		return "", "there is no EFI system partition"
	}
	return "", "the EFI system partition has no " + want
}

// pathOn names a file of a volume by where the guest mounts it.
func (e *exam) pathOn(v *volume.Volume, name string) string {
	for at, m := range e.mounts {
		if m == v {
			return path.Join(at, name)
		}
	}
	return v.Name + ": /" + name
}
