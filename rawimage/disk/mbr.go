package disk

import (
	"encoding/binary"
	"fmt"
)

const (
	mbrEntries  = 446
	mbrEntryLen = 16
	// maxLogical bounds a chain of extended boot records; Linux has no more than
	// 60 logical partitions on a disk.
	maxLogical = 128
)

type mbrEntry struct {
	flag, kind    byte
	start, length uint32
}

func mbrEntryAt(p []byte, i int) mbrEntry {
	e := p[mbrEntries+i*mbrEntryLen:]
	return mbrEntry{e[0], e[4], binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])}
}

func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// mbr reads the table of sector 0. The boot sector of a file system without a
// table has the same signature, but flags that no table has.
func (in *inspector) mbr() error {
	p, err := in.read(0, 512)
	if err != nil || p == nil || p[510] != 0x55 || p[511] != 0xaa {
		return err
	}
	var entries []mbrEntry
	for i := range 4 {
		e := mbrEntryAt(p, i)
		if e.flag&0x7f != 0 {
			return nil
		}
		entries = append(entries, e)
	}
	if filesystemBootSector(p) || entries[0] == (mbrEntry{}) && entries[1] == entries[0] && entries[2] == entries[0] && entries[3] == entries[0] {
		return nil
	}
	in.info.Table = TableMBR
	in.info.DiskID = fmt.Sprintf("%08x", binary.LittleEndian.Uint32(p[440:]))
	in.used(512)
	return in.primaries(entries)
}

// filesystemBootSector: FAT, NTFS and exFAT begin with a jump and have their
// name at a fixed place.
func filesystemBootSector(p []byte) bool {
	if p[0] != 0xeb && p[0] != 0xe9 {
		return false
	}
	return string(p[3:7]) == "NTFS" || string(p[3:8]) == "EXFAT" || string(p[54:57]) == "FAT" || string(p[82:85]) == "FAT"
}

func (in *inspector) primaries(entries []mbrEntry) error {
	for _, e := range entries {
		if e.kind == mbrGPTType && e.length > 0 {
			in.problem(0, "protective MBR", "there is no GPT, neither at the start nor at the end of the disk")
			in.reaches(2*512, "GPT header")
		}
	}
	if err := in.mbrSectorSize(entries); err != nil {
		return err
	}
	for i, e := range entries {
		if e.kind == 0 || e.length == 0 {
			continue
		}
		if !e.extended() {
			in.addMBR(i+1, int64(e.start), e)
			continue
		}
		in.addMBR(i+1, int64(e.start), e)
		if err := in.logicals(i+1, e); err != nil {
			return err
		}
	}
	return nil
}

// mbrSectorSize decides the unit of the table, which nothing in it tells: it is
// 512 unless no partition has a file system where that places it, one has with
// 4096, and all of them are within the disk with 4096.
func (in *inspector) mbrSectorSize(entries []mbrEntry) error {
	large := false
	for _, e := range entries {
		if e.kind == 0 || e.length == 0 {
			continue
		}
		if (int64(e.start)+int64(e.length))*4096 > in.size {
			return nil
		}
		if e.extended() || e.kind == mbrGPTType {
			continue
		}
		fs, err := in.filesystem(int64(e.start)*512, 0)
		if err != nil || fs.name != "" {
			return err
		}
		if fs, err = in.filesystem(int64(e.start)*4096, 0); err != nil {
			return err
		}
		large = large || fs.name != ""
	}
	if large {
		in.info.SectorSize = 4096
	}
	return nil
}

func (in *inspector) addMBR(number int, start int64, e mbrEntry) {
	name := mbrTypes[e.kind]
	in.info.Partitions = append(in.info.Partitions, Partition{
		Number: number, Start: start * in.info.SectorSize, Size: int64(e.length) * in.info.SectorSize,
		Type: fmt.Sprintf("0x%02x", e.kind), TypeName: name, Active: e.flag == 0x80,
	})
}

// logicals follows a chain of extended boot records. Each must lie in the
// extended partition and after the one before it, so a loop cannot be followed.
func (in *inspector) logicals(number int, ext mbrEntry) error {
	field := fmt.Sprintf("extended partition %d", number)
	sector := in.info.SectorSize
	base, end := int64(ext.start), int64(ext.start)+int64(ext.length)
	next := 5
	for _, p := range in.info.Partitions { // of a second extended partition
		next = max(next, p.Number+1)
	}
	for at, n := base, 0; ; n++ {
		if n >= maxLogical {
			in.problem(at*sector, field, "more than %d logical partitions", maxLogical)
			return nil
		}
		p, err := in.read(at*sector, 512)
		if err != nil {
			return err
		}
		if p == nil {
			in.problem(at*sector, field, "a record is past the end of the disk")
			in.reaches(end*sector, field)
			return nil
		}
		if p[510] != 0x55 || p[511] != 0xaa {
			in.problem(at*sector, field, "a record without signature")
			return nil
		}
		if e := mbrEntryAt(p, 0); e.kind != 0 && e.length > 0 {
			start := at + int64(e.start)
			if start+int64(e.length) > end {
				in.problem(at*sector, fmt.Sprintf("partition %d", next), "reaches out of its extended partition")
			}
			in.addMBR(next, start, e)
			next++
		}
		link := mbrEntryAt(p, 1)
		if link.kind == 0 || link.length == 0 {
			return nil
		}
		to := base + int64(link.start)
		if !link.extended() || to <= at || to >= end {
			in.problem(at*sector, field, "the chain of records leads from sector %d to %d", at, to)
			return nil
		}
		at = to
	}
}

var mbrTypes = map[byte]string{
	0x01: "FAT12", 0x04: "FAT16", 0x06: "FAT16", 0x0b: "FAT32", 0x0c: "FAT32", 0x0e: "FAT16",
	0x07: "NTFS or exFAT", 0x27: "Windows recovery", 0x42: "Windows dynamic disk",
	0x82: "Linux swap", 0x83: "Linux", 0x8e: "Linux LVM", 0xfd: "Linux RAID",
	0x05: typeExtended, 0x0f: typeExtended, 0x85: typeExtended,
	0xa5: "FreeBSD", 0xee: "GPT protective", 0xef: typeESP, 0x41: "PowerPC PReP boot",
}
