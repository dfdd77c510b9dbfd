package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf16"
)

const (
	gptMagic     = "EFI PART"
	gptHeaderLen = 92
	// maxGPTArray bounds the entries that are read: 8192 of the usual 128 bytes,
	// where every tool writes 128 and Linux stops at 256 partitions a disk.
	maxGPTArray = 1 << 20
	mbrGPTType  = 0xee
)

// gptHeader is a header that has its magic; sums may still be wrong.
type gptHeader struct {
	at, sector       int64
	current, other   uint64 // LBAs of this header and of its copy
	first, last      uint64 // usable LBAs
	disk             string
	array            uint64 // LBA of the entries
	count, entrySize uint32
	arraySum         uint32
}

// gpt looks for a GPT of either sector size, first where the primary is, then
// where the backup is. found is true if one of them gave entries, or if there
// was one and both are unusable.
func (in *inspector) gpt() (found bool, err error) {
	for _, sector := range []int64{512, 4096} {
		h, seen, err := in.gptHeader(sector, sector, "GPT header")
		if err != nil {
			return false, err
		}
		if !seen {
			continue
		}
		in.setGPT(sector)
		if h != nil {
			return true, in.primaryGPT(h)
		}
		return true, in.backupGPT(nil, in.size-in.size%sector-sector)
	}
	// No primary: a protective MBR or a backup header alone tells of a GPT that
	// lost its first sectors.
	for _, sector := range []int64{512, 4096} {
		at := in.size - in.size%sector - sector
		if at <= sector {
			continue
		}
		h, seen, err := in.gptHeader(at, sector, "GPT backup header")
		if err != nil {
			return false, err
		}
		if seen && h != nil {
			in.setGPT(sector)
			in.problem(sector, "GPT header", "missing; the backup at the end of the disk is used")
			return true, in.backupGPT(h, at)
		}
	}
	return false, nil
}

func (in *inspector) setGPT(sector int64) {
	in.info.Table, in.info.SectorSize = TableGPT, sector
}

// gptHeader reads the header at a place. seen says that its magic is there; h
// is nil if it cannot be relied on, which is then a Problem.
func (in *inspector) gptHeader(at, sector int64, field string) (h *gptHeader, seen bool, err error) {
	p, err := in.read(at, int(sector))
	if err != nil || p == nil || string(p[:8]) != gptMagic {
		return nil, false, err
	}
	size := binary.LittleEndian.Uint32(p[12:])
	if size < gptHeaderLen || int64(size) > sector {
		in.problem(at, field, "claims a length of %d bytes", size)
		return nil, true, nil
	}
	sum := binary.LittleEndian.Uint32(p[16:])
	clear(p[16:20])
	if got := crc32.ChecksumIEEE(p[:size]); got != sum {
		in.problem(at, field, "CRC is %08x, its bytes give %08x", sum, got)
		return nil, true, nil
	}
	h = &gptHeader{
		at: at, sector: sector,
		current: binary.LittleEndian.Uint64(p[24:]), other: binary.LittleEndian.Uint64(p[32:]),
		first: binary.LittleEndian.Uint64(p[40:]), last: binary.LittleEndian.Uint64(p[48:]),
		disk: guid(p[56:72]), array: binary.LittleEndian.Uint64(p[72:]),
		count: binary.LittleEndian.Uint32(p[80:]), entrySize: binary.LittleEndian.Uint32(p[84:]),
		arraySum: binary.LittleEndian.Uint32(p[88:]),
	}
	if h.current != uint64(at/sector) {
		in.problem(at, field, "says it is in sector %d, it is in %d", h.current, at/sector)
	}
	return h, true, nil
}

// lbaEnd is the offset of the first byte after a sector; absurd numbers give the
// largest offset there is.
func lbaEnd(lba uint64, sector int64) int64 {
	if lba >= uint64(math.MaxInt64/sector) {
		return math.MaxInt64
	}
	return int64(lba+1) * sector
}

// primaryGPT uses a sound primary header, checks the backup against it and falls
// back on it for the entries.
func (in *inspector) primaryGPT(h *gptHeader) error {
	entries, err := in.gptEntries(h, "GPT entries")
	if err != nil {
		return err
	}
	if entries == nil {
		return in.backupGPT(nil, lbaEnd(h.other, h.sector)-h.sector)
	}
	in.takeEntries(h, entries)
	return in.checkBackup(h)
}

func (in *inspector) checkBackup(h *gptHeader) error {
	end := lbaEnd(h.other, h.sector)
	if end > in.size {
		in.add(CodeBackup, h.at, "GPT header", "its backup should be in sector %d, past the end of the disk", h.other)
		return nil
	}
	at := end - h.sector
	b, seen, err := in.gptHeader(at, h.sector, "GPT backup header")
	if err != nil {
		return err
	}
	if !seen {
		in.add(CodeBackup, at, "GPT backup header", "missing")
		return nil
	}
	if b == nil {
		return nil
	}
	entries, err := in.gptEntries(b, "GPT backup entries")
	if err != nil || entries == nil {
		return err
	}
	if b.disk != h.disk || b.arraySum != h.arraySum || b.count != h.count {
		in.problem(at, "GPT backup header", "differs from the primary one")
		return nil
	}
	in.info.BackupTable = true
	in.used(end)
	if end+h.sector <= in.size {
		in.add(CodeBackup, at, "GPT backup header", "is not at the end of the disk: the disk has grown by %d bytes", in.size-end)
	}
	return nil
}

// backupGPT uses the backup where the primary is of no use; h is nil if it has
// not been read yet.
func (in *inspector) backupGPT(h *gptHeader, at int64) error {
	if h == nil {
		var seen bool
		var err error
		if h, seen, err = in.gptHeader(at, in.info.SectorSize, "GPT backup header"); err != nil {
			return err
		}
		if !seen {
			in.problem(at, "GPT backup header", "missing: the partitions are not known")
		}
		if h == nil {
			return nil
		}
	}
	entries, err := in.gptEntries(h, "GPT backup entries")
	if err != nil || entries == nil {
		return err
	}
	in.info.BackupTable = true
	in.used(h.at + h.sector)
	in.takeEntries(h, entries)
	return nil
}

// gptEntries reads and checks the array of entries; nil if it is of no use.
func (in *inspector) gptEntries(h *gptHeader, field string) ([]byte, error) {
	at := lbaEnd(h.array, h.sector) - h.sector
	size := uint64(h.count) * uint64(h.entrySize) // at most 2^64 - 2^33
	switch {
	case h.entrySize < 128 || h.entrySize%8 != 0 || h.entrySize > 4096:
		in.problem(h.at, field, "an entry of %d bytes", h.entrySize)
		return nil, nil
	case size > maxGPTArray:
		in.problem(h.at, field, "%d entries are claimed", h.count)
		return nil, nil
	}
	p, err := in.read(at, int(size))
	if err != nil {
		return nil, err
	}
	if p == nil {
		in.problem(h.at, field, "sector %d is past the end of the disk", h.array)
		in.lost = max(in.lost, at+int64(size))
		return nil, nil
	}
	if got := crc32.ChecksumIEEE(p); got != h.arraySum {
		in.problem(at, field, "CRC is %08x, its bytes give %08x", h.arraySum, got)
		return nil, nil
	}
	return p, nil
}

func (in *inspector) takeEntries(h *gptHeader, p []byte) {
	in.info.DiskID = h.disk
	in.used(lbaEnd(h.array, h.sector) - h.sector + int64(len(p)))
	for i := 0; len(p) >= int(h.entrySize); i++ {
		in.takeEntry(h, i+1, p[:h.entrySize])
		p = p[h.entrySize:]
	}
}

func (in *inspector) takeEntry(h *gptHeader, number int, e []byte) {
	kind := guid(e[:16])
	if kind == zeroGUID {
		return
	}
	field := fmt.Sprintf("partition %d", number)
	first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
	if last < first || lbaEnd(last, h.sector) == math.MaxInt64 {
		in.problem(h.at, field, "sectors %d to %d", first, last)
		return
	}
	if first < h.first || last > h.last {
		in.problem(h.at, field, "sectors %d to %d are outside the usable ones, %d to %d", first, last, h.first, h.last)
	}
	in.info.Partitions = append(in.info.Partitions, Partition{
		Number: number, Start: int64(first) * h.sector, Size: int64(last-first+1) * h.sector,
		Type: kind, TypeName: gptTypes[kind], GUID: guid(e[16:32]), Name: utf16Name(e[56:128]),
		Active: binary.LittleEndian.Uint64(e[48:])&4 != 0, // legacy BIOS bootable
	})
}

func utf16Name(p []byte) string {
	var u []uint16
	for ; len(p) >= 2; p = p[2:] {
		c := binary.LittleEndian.Uint16(p)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return printable(string(utf16.Decode(u)))
}

// printable keeps escape sequences of a hostile name off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

const zeroGUID = "00000000-0000-0000-0000-000000000000"

// guid is the text of a GUID as disks have it: the first three groups are
// little-endian.
func guid(p []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint16(p[4:]),
		binary.LittleEndian.Uint16(p[6:]), p[8:10], p[10:16])
}

const (
	typeESP      = "EFI system"
	typeBIOSBoot = "BIOS boot"
	typeExtended = "extended"
)

var gptTypes = map[string]string{
	"c12a7328-f81f-11d2-ba4b-00a0c93ec93b": typeESP,
	"21686148-6449-6e6f-744e-656564454649": typeBIOSBoot,
	"0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux filesystem",
	"4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
	"b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (arm64)",
	"bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
	"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
	"e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
	"a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
	"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
	"e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
	"de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
	"9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PowerPC PReP boot",
	"516e7cb6-6ecf-11d6-8ff8-00022d09712b": "FreeBSD UFS",
	"83bd6b9d-7f41-11dc-be0b-001560b84f0f": "FreeBSD boot",
}
