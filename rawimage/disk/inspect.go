package disk

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/fastimage/fastimage/internal/sparse"
)

// Table is the kind of a disk's partition table.
type Table string

// Kinds of partition tables.
const (
	TableNone Table = "none" // no table: empty, or one file system from end to end
	TableMBR  Table = "mbr"  // with logical partitions, if there are any
	TableGPT  Table = "gpt"  // with a protective MBR
)

// Firmware is what a disk can be started by, as the cloud names it.
type Firmware string

// What a disk can be started by.
const (
	FirmwareUnknown Firmware = ""     // nothing tells
	FirmwareBIOS    Firmware = "bios" // an active partition, or one for the BIOS
	FirmwareUEFI    Firmware = "uefi" // an EFI system partition
)

// Info is what Inspect finds on a disk.
type Info struct {
	Size           int64       `json:"size"`                      // bytes
	SectorSize     int64       `json:"sector_size"`               // 512 or 4096: the unit of the partition table
	Table          Table       `json:"table"`                     // MBR, GPT or none
	DiskID         string      `json:"disk_id,omitempty"`         // GUID of a GPT, 8 hex digits of an MBR
	BackupTable    bool        `json:"backup_table"`              // GPT: the copy at the end is there and valid
	Partitions     []Partition `json:"partitions"`                // in the order of the table
	HighestSector  int64       `json:"highest_sector"`            // last one that a partition or the table takes; -1 if none
	MinDiskGB      int         `json:"min_disk_gb"`               // smallest disk that holds the image, in GiB
	Firmware       Firmware    `json:"firmware,omitempty"`        // what it looks to be started by
	FirmwareSource string      `json:"firmware_source,omitempty"` // why
	Hints          []Hint      `json:"hints,omitempty"`           // guesses about the system
	Volume         string      `json:"volume,omitempty"`          // file system of a disk without a table
	BootCode       bool        `json:"boot_code"`                 // sector 0 is one that a BIOS starts
	Problems       []Problem   `json:"problems,omitempty"`        // what is unusual or wrong; up to 64
}

// Recognized reports whether there is anything on the disk that a system disk
// has: a partition table, boot code or a file system. What has none of them is
// most likely not a RAW disk at all.
func (i *Info) Recognized() bool {
	return i.Table != TableNone || i.BootCode || i.Volume != ""
}

// Partition is one entry of a partition table.
type Partition struct {
	Number     int    `json:"number"`               // as the operating system counts: logical ones from 5
	Start      int64  `json:"start"`                // bytes
	Size       int64  `json:"size"`                 // bytes
	Type       string `json:"type"`                 // GUID, or 0x and two hex digits
	TypeName   string `json:"type_name,omitempty"`  // "" for a type that is not known here
	GUID       string `json:"guid,omitempty"`       // GPT: of the partition
	Name       string `json:"name,omitempty"`       // GPT: as the table has it
	Active     bool   `json:"active,omitempty"`     // MBR: started by the BIOS
	Filesystem string `json:"filesystem,omitempty"` // by its superblock
	Label      string `json:"label,omitempty"`      // of the file system
}

// End returns the offset of the first byte after the partition.
func (p Partition) End() int64 { return p.Start + p.Size }

// extended tells the container of logical partitions, which overlaps them.
func (p Partition) extended() bool { return p.TypeName == typeExtended }

// Hint is a guess about the system on the disk, and where it comes from. It is
// never more than a guess.
type Hint struct {
	Key    string `json:"key"`    // "architecture" (x86, arm, ...), "os", "volume"
	Value  string `json:"value"`  // by the key: see there
	Source string `json:"source"` // the file and partition it comes from
}

// Codes of problems.
const (
	CodeTable      = "partition_table" // a table contradicts itself or the disk
	CodeBackup     = "gpt_backup"      // the copy of a GPT is missing or not at the end of the disk
	CodeSectorSize = "sector_size"     // the table counts in sectors of 4096 bytes; disks of a cloud have 512
	CodeSize       = "size"            // the size is not a multiple of 512
)

// Problem is something unusual or wrong that does not keep the disk from being
// read.
type Problem struct {
	Code   string `json:"code"`   // what kind of problem: see the constants
	Offset int64  `json:"offset"` // on the disk, in bytes
	Field  string `json:"field"`  // "GPT header", "partition 3", ...
	Reason string `json:"reason"` // what is wrong with it
}

// String says what is wrong and where.
func (p Problem) String() string {
	return fmt.Sprintf("%s at byte %d: %s", p.Field, p.Offset, p.Reason)
}

// Inspect reads the partition table of a disk of size bytes, and as much of its
// file systems as gives hints: some sectors, never all of the disk. What is wrong
// with the table is in Info.Problems. A disk that ends before a partition in use
// does is a *TruncatedError, returned together with the Info. A nil ra or a
// negative size matches fs.ErrInvalid; any other error is one of reading.
func Inspect(ctx context.Context, ra io.ReaderAt, size int64) (*Info, error) {
	if ra == nil || size < 0 {
		return nil, fmt.Errorf("disk: inspect a disk of %d bytes: %w", size, fs.ErrInvalid)
	}
	in := &inspector{ctx: ctx, ra: ra, size: size, info: &Info{
		Size: size, SectorSize: 512, Table: TableNone, HighestSector: -1,
		MinDiskGB: int((max(size, 1)-1)>>30) + 1, Partitions: []Partition{},
	}}
	if size%512 != 0 {
		in.add(CodeSize, size, "size", "%d bytes are not a multiple of 512", size)
	}
	if err := in.tables(); err != nil {
		return nil, err
	}
	if in.info.SectorSize != 512 {
		in.add(CodeSectorSize, 0, "partition table", "counts in sectors of %d bytes", in.info.SectorSize)
	}
	in.checkPartitions()
	if err := in.probe(); err != nil {
		return nil, err
	}
	in.firmware()
	if in.need > size {
		return in.info, &TruncatedError{Size: size, Need: in.need, Source: in.from}
	}
	return in.info, nil
}

// inspector reads the tables itself rather than with go-diskfs, whose readers
// are for disks one trusts: the one for GPT allocates what the header's entry
// count times entry size asks for, takes no header but one of 92 bytes, and does
// not tell what is wrong with a copy that it passes over; the one for MBR does
// not follow extended partitions. A test compares the two on a sound disk.
type inspector struct {
	ctx  context.Context
	ra   io.ReaderAt
	size int64
	info *Info
	need int64  // the end of what is in use, if that is past the end of the disk
	from string // what is in use there
	lost int64  // the end of a list of partitions that is past the end of the disk
}

// maxProblems bounds what a hostile table makes the caller read.
const maxProblems = 64

func (in *inspector) problem(off int64, field, format string, args ...any) {
	in.add(CodeTable, off, field, format, args...)
}

func (in *inspector) add(code string, off int64, field, format string, args ...any) {
	if len(in.info.Problems) < maxProblems {
		in.info.Problems = append(in.info.Problems, Problem{code, off, field, fmt.Sprintf(format, args...)})
	}
}

// reaches notes that a partition in use, or the list of them, ends at end.
func (in *inspector) reaches(end int64, source string) {
	if end > in.size && end > in.need {
		in.need, in.from = end, source
	}
}

// read reads n bytes at off, nil if the disk does not have them all.
func (in *inspector) read(off int64, n int) ([]byte, error) {
	if off < 0 || off > in.size || int64(n) > in.size-off {
		return nil, nil
	}
	if err := in.ctx.Err(); err != nil {
		return nil, err
	}
	p := make([]byte, n)
	if k, err := in.ra.ReadAt(p, off); k < n {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("disk: inspect: read at %d: %w", off, err)
	}
	return p, nil
}

func (in *inspector) tables() error {
	p, err := in.read(0, 512)
	if err != nil {
		return err
	}
	in.info.BootCode = p != nil && p[510] == 0x55 && p[511] == 0xaa && !sparse.IsZero(p[:mbrEntries-6])
	found, err := in.gpt()
	if err == nil && found && len(in.info.Partitions) == 0 {
		in.reaches(in.lost, "GPT entries")
	}
	if err != nil || found {
		return err
	}
	return in.mbr()
}

// checkPartitions reports overlaps and what reaches past the end, and finds the
// highest sector. Entries stay in the table's order.
func (in *inspector) checkPartitions() {
	parts := slices.Clone(in.info.Partitions)
	slices.SortStableFunc(parts, func(a, b Partition) int { return cmp.Compare(a.Start, b.Start) })
	for _, p := range parts {
		field := fmt.Sprintf("partition %d", p.Number)
		in.used(p.End())
		if p.End() > in.size {
			in.problem(p.Start, field, "ends at byte %d, the disk at %d", p.End(), in.size)
			if !p.extended() { // what is in it counts
				in.reaches(p.End(), field)
			}
		}
	}
	// An extended partition overlaps its logical ones, which is what it is for,
	// but no other.
	in.overlaps(slices.DeleteFunc(slices.Clone(parts), Partition.extended), false)
	in.overlaps(slices.DeleteFunc(parts, func(p Partition) bool { return p.Number > 4 }), true)
}

// overlaps reports overlaps of partitions that are in order of their start; with
// extended only those of an extended one.
func (in *inspector) overlaps(parts []Partition, extended bool) {
	var last Partition // of those so far, the one that ends last
	for _, p := range parts {
		if p.Start < last.End() && (!extended || p.extended() || last.extended()) {
			in.problem(p.Start, fmt.Sprintf("partition %d", p.Number), "overlaps partition %d", last.Number)
		}
		if p.End() > last.End() {
			last = p
		}
	}
}

// used notes that the disk is in use up to end.
func (in *inspector) used(end int64) {
	in.info.HighestSector = max(in.info.HighestSector, (end-1)/in.info.SectorSize)
}

// firmware suggests how the disk can be started. A disk for both is one for BIOS
// on x86, which every cloud machine has, and one for UEFI on arm, which has no
// other.
func (in *inspector) firmware() {
	var esp, bios string
	for _, p := range in.info.Partitions {
		switch {
		case p.TypeName == typeESP && esp == "":
			esp = fmt.Sprintf("EFI system partition (partition %d)", p.Number)
		case p.TypeName == typeBIOSBoot && bios == "":
			bios = fmt.Sprintf("BIOS boot partition (partition %d)", p.Number)
		case p.Active && bios == "":
			bios = fmt.Sprintf("active partition %d", p.Number)
		}
	}
	arm := slices.ContainsFunc(in.info.Hints, func(h Hint) bool { return h.Key == HintArchitecture && h.Value == "arm" })
	switch {
	case bios != "" && !(arm && esp != ""):
		in.info.Firmware, in.info.FirmwareSource = FirmwareBIOS, bios
	case esp != "":
		in.info.Firmware, in.info.FirmwareSource = FirmwareUEFI, esp
	}
}
