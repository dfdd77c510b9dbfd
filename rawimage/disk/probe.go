package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Keys of hints.
const (
	HintArchitecture = "architecture" // x86, arm, ...
	HintOS           = "os"           // linux, windows, ...
	HintVolume       = "volume"       // file system of a disk without a partition table
)

type filesystem struct{ name, label string }

// fsMagics are superblock magics by their offset in the partition. Those of more
// than two bytes come first.
var fsMagics = []struct {
	name  string
	off   int64
	magic string
}{
	{"ntfs", 3, "NTFS    "}, {"exfat", 3, "EXFAT   "}, {"xfs", 0, "XFSB"}, {"btrfs", 0x10040, "_BHRfS_M"},
	{"luks", 0, "LUKS\xba\xbe"}, {"lvm", 512, "LABELONE"}, {"squashfs", 0, "hsqs"}, {"iso9660", 0x8001, "CD001"},
	{"swap", 4086, "SWAPSPACE2"}, {"vfat", 82, "FAT32   "}, {"vfat", 54, "FAT16   "}, {"vfat", 54, "FAT12   "},
	{"ext", 0x438, "\x53\xef"},
}

// filesystem tells the file system that begins at off, by its magic; size bounds
// it, 0 for the end of the disk.
func (in *inspector) filesystem(off, size int64) (filesystem, error) {
	if size == 0 {
		size = in.size - off
	}
	for _, m := range fsMagics {
		if m.off+int64(len(m.magic)) > size {
			continue
		}
		p, err := in.read(off+m.off, len(m.magic))
		if err != nil {
			return filesystem{}, err
		}
		if string(p) == m.magic {
			fs := filesystem{name: m.name}
			err := in.describe(&fs, off)
			return fs, err
		}
	}
	return filesystem{}, nil
}

// describe finds the label, and for ext which of the three it is.
func (in *inspector) describe(fs *filesystem, off int64) error {
	at, n := int64(0), 0
	switch fs.name {
	case "ext":
		at, n = 0x400, 0x88
	case "xfs":
		at, n = 108, 12
	case "vfat":
		at, n = 0, 90
	default:
		return nil
	}
	p, err := in.read(off+at, n)
	if err != nil || p == nil {
		return err
	}
	switch fs.name {
	case "xfs":
		fs.label = text(p)
	case "vfat":
		if string(p[82:87]) == "FAT32" {
			fs.label = text(p[71:82])
		} else {
			fs.label = text(p[43:54])
		}
	case "ext":
		fs.label = text(p[0x78:0x88])
		compat, incompat := binary.LittleEndian.Uint32(p[0x5c:]), binary.LittleEndian.Uint32(p[0x60:])
		switch {
		case incompat&0x2c0 != 0: // extents, 64bit, flex_bg
			fs.name = "ext4"
		case compat&4 != 0: // has_journal
			fs.name = "ext3"
		default:
			fs.name = "ext2"
		}
	}
	return nil
}

// text is a field filled up with zeros or spaces.
func text(p []byte) string {
	p, _, _ = bytes.Cut(p, []byte{0})
	return strings.TrimSpace(printable(string(p)))
}

// maxProbes bounds the partitions that are looked into.
const maxProbes = 256

// probe looks at the file systems for hints.
func (in *inspector) probe() error {
	if in.info.Table == TableNone {
		fs, err := in.filesystem(0, in.size)
		in.info.Volume = fs.name
		if fs.name != "" {
			in.hint(HintVolume, fs.name, "superblock at the start of the disk, which has no partition table")
		}
		return err
	}
	for i := range in.info.Partitions[:min(len(in.info.Partitions), maxProbes)] {
		p := &in.info.Partitions[i]
		if p.Start >= in.size || p.extended() {
			continue
		}
		fs, err := in.filesystem(p.Start, p.Size)
		if err != nil {
			return err
		}
		p.Filesystem, p.Label = fs.name, fs.label
		if err := in.hintsOf(p); err != nil {
			return err
		}
	}
	return nil
}

func (in *inspector) hint(key, value, source string) {
	h := Hint{key, value, source}
	for _, old := range in.info.Hints {
		if old.Key == key && old.Value == value {
			return
		}
	}
	if len(in.info.Hints) < maxProblems {
		in.info.Hints = append(in.info.Hints, h)
	}
}

func (in *inspector) hintsOf(p *Partition) error {
	source := fmt.Sprintf("file system of partition %d", p.Number)
	switch p.Filesystem {
	case "ntfs":
		in.hint(HintOS, "windows", "NTFS "+source)
	case "ext2", "ext3", "ext4", "xfs", "btrfs", "swap", "lvm":
		in.hint(HintOS, "linux", p.Filesystem+" "+source)
	case "vfat":
		if p.TypeName == typeESP {
			return in.espHints(p)
		}
	}
	switch p.TypeName {
	case "Linux root (x86-64)":
		in.hint(HintArchitecture, "x86", fmt.Sprintf("type of partition %d", p.Number))
	case "Linux root (arm64)":
		in.hint(HintArchitecture, "arm", fmt.Sprintf("type of partition %d", p.Number))
	}
	return nil
}

// loaders are the names that firmware looks for, by the UEFI specification.
var loaders = map[string]string{
	"BOOTX64.EFI": "x86", "BOOTIA32.EFI": "x86", "BOOTAA64.EFI": "arm",
	"BOOTRISCV64.EFI": "riscv64", "BOOTLOONGARCH64.EFI": "loongarch64",
}

// vendors are directories under EFI that name a system.
var vendors = map[string]string{
	"MICROSOFT": "windows", "DEBIAN": "debian", "UBUNTU": "ubuntu", "CENTOS": "centos", "FEDORA": "fedora",
	"REDHAT": "redhat", "ROCKY": "rocky", "ALMALINUX": "almalinux", "OPENEULER": "openeuler", "OPENSUSE": "opensuse",
	"SLES": "sles", "EULEROS": "euleros", "FREEBSD": "freebsd", "KYLIN": "kylin", "UOS": "uos",
}

func (in *inspector) espHints(p *Partition) error {
	v, err := in.openFAT(p.Start, min(p.Size, in.size-p.Start))
	if err != nil || v == nil {
		return err
	}
	root, err := v.dir(0)
	if err != nil {
		return err
	}
	efi, err := v.sub(root, "EFI")
	if err != nil {
		return err
	}
	for _, e := range efi {
		if os, ok := vendors[strings.ToUpper(e.name)]; ok && e.dir {
			in.hint(HintOS, os, fmt.Sprintf("EFI/%s on partition %d", printable(e.name), p.Number))
		}
	}
	boot, err := v.sub(efi, "BOOT")
	if err != nil {
		return err
	}
	for _, e := range boot {
		if arch, ok := loaders[strings.ToUpper(e.name)]; ok && !e.dir {
			in.hint(HintArchitecture, arch, fmt.Sprintf("EFI/BOOT/%s on partition %d", printable(e.name), p.Number))
		}
	}
	return nil
}
