// Package probe identifies what a volume holds by its superblock: file systems,
// swap, and containers of other volumes.
package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Info is what a volume holds.
type Info struct {
	Type  string // as blkid names it: "ext4", "xfs", "LVM2_member"; "" if unknown
	UUID  string // as blkid prints it
	Label string

	NeedsReplay bool // the journal or log must be replayed before the next use
	Errors      bool // the file system recorded errors
	Hibernated  bool // the memory image of a suspended system
}

// Types of volumes that are not file systems of their own.
const (
	LUKS      = "crypto_LUKS"
	BitLocker = "BitLocker"
	LVM       = "LVM2_member"
	RAID      = "linux_raid_member"
	Swap      = "swap"
	ZFS       = "zfs_member"
)

// Encrypted reports whether the content cannot be read without a key.
func (i Info) Encrypted() bool { return i.Type == LUKS || i.Type == BitLocker }

var le, be = binary.LittleEndian, binary.BigEndian

// prober looks for one type. head is the beginning of the volume, 68 KiB if it
// is that long, zeros after its end.
type prober func(v *volume) (Info, bool)

type volume struct {
	ra   io.ReaderAt
	size int64
	head []byte
}

const headSize = 68 << 10

// Probe identifies what ra, size bytes long, holds. An unknown type is no error;
// errors are of reading.
func Probe(ra io.ReaderAt, size int64) (Info, error) {
	v := &volume{ra, size, make([]byte, headSize)}
	n := min(size, headSize)
	if k, err := ra.ReadAt(v.head[:n], 0); int64(k) < n {
		return Info{}, fmt.Errorf("read superblock: %w", err)
	}
	for _, p := range []prober{raid, luks, lvmMember, ntfs, simple, xfs, btrfs, fat, ext, swap, zfs} {
		if i, ok := p(v); ok {
			return i, nil
		}
	}
	return Info{}, nil
}

// simple knows types by their magic only.
func simple(v *volume) (Info, bool) {
	for _, m := range []struct {
		name  string
		off   int
		magic string
	}{
		{"exfat", 3, "EXFAT   "}, {BitLocker, 3, "-FVE-FS-"}, {BitLocker, 3, "MSWIN4.1-FVE-"},
		{"ReFS", 3, "ReFS\x00\x00\x00\x00"}, {"squashfs", 0, "hsqs"}, {"iso9660", 0x8001, "CD001"},
		{"jfs", 0x8000, "JFS1"}, {"reiserfs", 0x10034, "ReIsEr"}, {"f2fs", 0x400, "\x10\x20\xf5\xf2"},
		{"bcachefs", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"}, {"erofs", 0x400, "\xe2\xe1\xf5\xe0"},
		{"ufs", 0x255c, "\x19\x01\x54\x19"}, {"hfsplus", 0x400, "H+\x00\x04"},
	} {
		if string(v.head[m.off:m.off+len(m.magic)]) == m.magic {
			i := Info{Type: m.name}
			if m.name == "exfat" {
				i.UUID = fmt.Sprintf("%04X-%04X", le.Uint16(v.head[102:]), le.Uint16(v.head[100:]))
			}
			return i, true
		}
	}
	return Info{}, false
}

// UUID formats 16 bytes in the usual way.
func UUID(p []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:16])
}

// text is a field filled up with zeros or spaces.
func text(p []byte) string {
	p, _, _ = bytes.Cut(p, []byte{0})
	return strings.TrimRight(strings.ToValidUTF8(string(p), "?"), " ")
}

func luks(v *volume) (Info, bool) {
	if string(v.head[:6]) != "LUKS\xba\xbe" {
		return Info{}, false
	}
	i := Info{Type: LUKS, UUID: text(v.head[168:208])}
	if be.Uint16(v.head[6:]) == 2 {
		i.Label = text(v.head[24:72])
	}
	return i, true
}

func lvmMember(v *volume) (Info, bool) {
	for sector := range 4 {
		p := v.head[sector*512:]
		if string(p[:8]) != "LABELONE" || string(p[24:32]) != "LVM2 001" {
			continue
		}
		if at := sector*512 + int(le.Uint32(p[20:])); at >= 0 && at+32 <= headSize {
			return Info{Type: LVM, UUID: LVMID(v.head[at : at+32])}, true
		}
	}
	return Info{}, false
}

// LVMID formats an identifier of LVM: 32 characters in groups.
func LVMID(p []byte) string {
	var parts []string
	for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
		parts = append(parts, string(p[:n]))
		p = p[n:]
	}
	return strings.ToValidUTF8(strings.Join(parts, "-"), "?")
}

func ntfs(v *volume) (Info, bool) {
	if string(v.head[3:11]) != "NTFS    " {
		return Info{}, false
	}
	return Info{Type: "ntfs", UUID: fmt.Sprintf("%016X", le.Uint64(v.head[72:]))}, true
}

func xfs(v *volume) (Info, bool) {
	p := v.head
	if string(p[:4]) != "XFSB" {
		return Info{}, false
	}
	return Info{Type: "xfs", UUID: UUID(p[32:48]), Label: text(p[108:120]), NeedsReplay: xfsDirty(v)}, true
}

func btrfs(v *volume) (Info, bool) {
	p := v.head[0x10000:]
	if string(p[0x40:0x48]) != "_BHRfS_M" {
		return Info{}, false
	}
	return Info{Type: "btrfs", UUID: UUID(p[0x20:0x30]), Label: text(p[0x12b : 0x12b+256])}, true
}

func fat(v *volume) (Info, bool) {
	p := v.head
	at := 0
	switch {
	case string(p[82:90]) == "FAT32   ":
		at = 67
	case string(p[54:58]) == "FAT1":
		at = 39
	default:
		return Info{}, false
	}
	i := Info{Type: "vfat", UUID: fmt.Sprintf("%04X-%04X", le.Uint16(p[at+2:]), le.Uint16(p[at:])), Label: text(p[at+4 : at+15])}
	if i.Label == "NO NAME" {
		i.Label = ""
	}
	return i, true
}

func ext(v *volume) (Info, bool) {
	p := v.head[0x400:]
	if le.Uint16(p[0x38:]) != 0xef53 {
		return Info{}, false
	}
	compat, incompat := le.Uint32(p[0x5c:]), le.Uint32(p[0x60:])
	i := Info{Type: "ext2", UUID: UUID(p[0x68:0x78]), Label: text(p[0x78:0x88])}
	switch {
	case incompat&8 != 0:
		i.Type = "jbd"
	case incompat&^0x16 != 0 || le.Uint32(p[0x64:])&^7 != 0: // more than ext3 has
		i.Type = "ext4"
	case compat&4 != 0: // has_journal
		i.Type = "ext3"
	}
	i.NeedsReplay = incompat&4 != 0
	i.Errors = le.Uint16(p[0x3a:])&2 != 0
	return i, true
}

// swap's signature is at the end of the first page, whose size is the machine's.
func swap(v *volume) (Info, bool) {
	for _, page := range []int{4096, 8192, 16384, 65536} {
		magic := string(v.head[page-10 : page])
		i := Info{Type: Swap, UUID: UUID(v.head[1036:1052]), Label: text(v.head[1052:1068])}
		switch {
		case magic == "SWAPSPACE2", magic == "SWAP-SPACE":
			return i, true
		case strings.HasPrefix(magic, "S1SUSPEND"), strings.HasPrefix(magic, "S2SUSPEND"),
			strings.HasPrefix(magic, "ULSUSPEND"), strings.HasPrefix(magic, "LINHIB0001"):
			i.Hibernated = true
			return i, true
		}
	}
	return Info{}, false
}

// zfs has an array of 128 uberblocks in its first label, from 128 KiB on.
func zfs(v *volume) (Info, bool) {
	if v.size < 512<<10 {
		return Info{}, false
	}
	p := make([]byte, 128<<10)
	if n, _ := v.ra.ReadAt(p, 128<<10); n < len(p) {
		return Info{}, false
	}
	for at := 0; at < len(p); at += 1024 {
		if le.Uint64(p[at:]) == 0x00bab10c || be.Uint64(p[at:]) == 0x00bab10c {
			return Info{Type: ZFS}, true
		}
	}
	return Info{}, false
}

// raid is a member of an array of Linux MD, whatever its content looks like.
func raid(v *volume) (Info, bool) {
	for _, at := range RAIDSuperblocks(v.size) {
		p := make([]byte, 256)
		if n, _ := v.ra.ReadAt(p, at); n == len(p) && IsRAIDSuperblock(p, at, v.size) {
			return Info{Type: RAID}, true
		}
	}
	return Info{}, false
}

// RAIDSuperblocks lists where members of versions 1.1, 1.2, 1.0 and 0.90 have
// their superblock.
func RAIDSuperblocks(size int64) []int64 {
	list := []int64{0, 4096}
	if size > 128<<10 {
		list = append(list, (size/512-16)&^7*512, size&^(64<<10-1)-64<<10)
	}
	return list
}

// IsRAIDSuperblock reports whether p, read at off, is the superblock of a member
// and says itself that it belongs there.
func IsRAIDSuperblock(p []byte, off, size int64) bool {
	if le.Uint32(p) != 0xa92b4efc {
		return false
	}
	switch le.Uint32(p[4:]) {
	case 0:
		return off == size&^(64<<10-1)-64<<10
	case 1:
		return int64(le.Uint64(p[144:]))*512 == off
	}
	return false
}

// UTF16 decodes a string of UTF-16LE up to its end or a zero.
func UTF16(p []byte) string {
	var u []uint16
	for ; len(p) >= 2 && le.Uint16(p) != 0; p = p[2:] {
		u = append(u, le.Uint16(p))
	}
	return string(utf16.Decode(u))
}
