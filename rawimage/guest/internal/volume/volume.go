// Package volume finds the volumes of a disk: partitions, members of RAID 1 and
// logical volumes, and what each of them holds.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/guest/internal/extfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/fatfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/lvm"
	"github.com/fastimage/fastimage/rawimage/guest/internal/mdraid"
	"github.com/fastimage/fastimage/rawimage/guest/internal/ntfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/probe"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/xfs"
)

const (
	maxVolumes = 512
	maxDepth   = 4 // volumes in volumes
)

// Volume is a range of bytes that may hold a file system.
type Volume struct {
	io.ReaderAt
	probe.Info
	Size      int64
	Name      string          // "disk", "partition 2", "md0", "centos/root"
	Partition *disk.Partition // nil for what is no partition
	Group     *lvm.Group      // of a logical volume
	Logical   *lvm.Volume     // of a logical volume
	Array     *Array          // of an array
	Err       error           // why it cannot be read

	depth int
	fs    vfs.FileSystem
	fsErr error
}

// Array is an array of Linux MD.
type Array struct {
	*mdraid.Member
	Found int // members on the disk
}

// String returns the array's name below /dev.
func (a *Array) String() string {
	if a.Minor >= 0 {
		return fmt.Sprintf("md%d", a.Minor)
	}
	return "md/" + a.Name
}

// Disk is what a disk holds.
type Disk struct {
	Table     *disk.Info
	Truncated error // the disk ends before its own table says so
	Volumes   []*Volume
	Groups    []*lvm.Group
	Arrays    []*Array
	Problems  []error // metadata of volumes that cannot be read

	pvs []*lvm.PV
}

// Scan finds the volumes of a disk of size bytes.
func Scan(ctx context.Context, ra io.ReaderAt, size int64) (*Disk, error) {
	table, err := disk.Inspect(ctx, ra, size)
	d := &Disk{Table: table}
	if short := (*disk.TruncatedError)(nil); errors.As(err, &short) && table != nil {
		d.Truncated, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	parts := slices.DeleteFunc(slices.Clone(table.Partitions), func(p disk.Partition) bool {
		return p.Start < 0 || p.Start >= size || p.Size <= 0 || p.TypeName == "extended"
	})
	if table.Table == disk.TableNone || len(parts) == 0 {
		err = d.add(&Volume{ReaderAt: io.NewSectionReader(ra, 0, size), Size: size, Name: "disk"})
	}
	for i, p := range parts {
		if err != nil || i == maxVolumes {
			break
		}
		n := min(p.Size, size-p.Start)
		err = d.add(&Volume{ReaderAt: io.NewSectionReader(ra, p.Start, n), Size: n,
			Name: fmt.Sprintf("partition %d", p.Number), Partition: &parts[i]})
	}
	if err != nil {
		return nil, err
	}
	return d, d.groups()
}

// add takes a volume and, if it is a member of an array, what is in it.
func (d *Disk) add(v *Volume) error {
	if len(d.Volumes) >= maxVolumes || v.depth > maxDepth {
		return nil
	}
	var err error
	if v.Info, err = probe.Probe(v, v.Size); err != nil {
		return fmt.Errorf("%s: %w", v.Name, err)
	}
	d.Volumes = append(d.Volumes, v)
	switch v.Type {
	case probe.RAID:
		return d.member(v)
	case probe.LVM:
		pv, err := lvm.Open(v, v.Size)
		if err != nil {
			d.problem(v, err)
			return nil
		}
		d.pvs = append(d.pvs, pv)
	}
	return nil
}

func (d *Disk) problem(v *Volume, err error) {
	v.Err = err
	d.Problems = append(d.Problems, fmt.Errorf("%s: %w", v.Name, err))
}

// member takes one device of an array. Only a mirror can be read from one.
func (d *Disk) member(v *Volume) error {
	m, err := mdraid.Read(v, v.Size)
	if err != nil {
		d.problem(v, err)
		return nil
	}
	for _, a := range d.Arrays {
		if a.UUID == m.UUID {
			a.Found++
			return nil
		}
	}
	a := &Array{Member: m, Found: 1}
	d.Arrays = append(d.Arrays, a)
	if m.Level != 1 {
		d.problem(v, vfs.Unsupported("RAID of level %d", m.Level))
		return nil
	}
	return d.add(&Volume{ReaderAt: io.NewSectionReader(v, m.DataOffset, m.DataSize), Size: m.DataSize, Name: a.String(),
		Array: a, depth: v.depth + 1})
}

// groups assembles volume groups, and adds their logical volumes.
func (d *Disk) groups() error {
	groups, errs := lvm.Assemble(d.pvs)
	d.Groups = groups
	d.Problems = append(d.Problems, errs...)
	for _, g := range groups {
		for _, lv := range g.Volumes {
			if !lv.Visible {
				continue
			}
			v := &Volume{ReaderAt: lv, Size: lv.Size, Name: g.Name + "/" + lv.Name, Group: g, Logical: lv, depth: 1}
			if lv.Reason != "" {
				v.Err = vfs.Unsupported("%s", lv.Reason)
				d.Volumes = append(d.Volumes, v)
				continue
			}
			if err := d.add(v); err != nil {
				d.problem(v, err)
			}
		}
	}
	return nil
}

// Readable reports whether the type of what a volume holds is one that is read.
func (v *Volume) Readable() bool {
	switch v.Type {
	case "ext2", "ext3", "ext4", "xfs", "vfat", "ntfs":
		return true
	}
	return false
}

// FS opens the volume's file system, once.
func (v *Volume) FS() (vfs.FileSystem, error) {
	if v.fs != nil || v.fsErr != nil {
		return v.fs, v.fsErr
	}
	switch v.Type {
	case "ext2", "ext3", "ext4":
		v.fs, v.fsErr = opened(extfs.New(v, v.Size))
	case "xfs":
		v.fs, v.fsErr = opened(xfs.New(v, v.Size))
	case "vfat":
		v.fs, v.fsErr = opened(fatfs.New(v, v.Size))
	case "ntfs":
		v.fs, v.fsErr = opened(ntfs.New(v, v.Size))
	case "":
		v.fsErr = vfs.Unsupported("unknown file system")
	default:
		v.fsErr = vfs.Unsupported("%s", v.Type)
	}
	return v.fs, v.fsErr
}

// opened keeps a nil pointer out of the interface.
func opened[F vfs.FileSystem](f F, err error) (vfs.FileSystem, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Opaque reports whether the disk has volumes that nothing is known of: what they
// would hold cannot be called missing.
func (d *Disk) Opaque() bool {
	for _, v := range d.Volumes {
		switch v.Type {
		case probe.LUKS, probe.BitLocker, probe.ZFS, "btrfs", "bcachefs":
			return true
		}
		if v.Err != nil {
			return true
		}
	}
	return len(d.Problems) > 0
}

// Find returns the volume that a name of fstab or of the kernel's command line
// means: UUID=, LABEL=, PARTUUID=, PARTLABEL=, or a path below /dev that does not
// depend on how the disk is attached. known is false for any other name.
func (d *Disk) Find(spec string) (v *Volume, known bool) {
	key, value, ok := strings.Cut(spec, "=")
	value = strings.Trim(value, `"'`)
	if !ok {
		key, value = byPath(spec)
	}
	match := map[string]func(v *Volume) bool{
		"UUID":      func(v *Volume) bool { return strings.EqualFold(v.UUID, value) && v.UUID != "" && !v.container() },
		"LABEL":     func(v *Volume) bool { return v.Label == value && value != "" && !v.container() },
		"PARTUUID":  func(v *Volume) bool { return d.partUUID(v, value) },
		"PARTLABEL": func(v *Volume) bool { return v.Partition != nil && v.Partition.Name == value && value != "" },
		"LVM":       func(v *Volume) bool { return v.Logical != nil && v.Name == value },
		"MD":        func(v *Volume) bool { return v.Array != nil && (v.Name == value || v.Name == "md/"+value) },
	}[strings.ToUpper(key)]
	if match == nil {
		return nil, false
	}
	if i := slices.IndexFunc(d.Volumes, match); i >= 0 {
		return d.Volumes[i], true
	}
	return nil, true
}

func (v *Volume) container() bool { return v.Type == probe.RAID }

func (d *Disk) partUUID(v *Volume, value string) bool {
	if v.Partition == nil {
		return false
	}
	value, _, _ = strings.Cut(value, "/") // PARTUUID=.../PARTNROFF=1 is not followed
	if v.Partition.GUID != "" {
		return strings.EqualFold(v.Partition.GUID, value)
	}
	return d.Table.DiskID != "" && strings.EqualFold(value, fmt.Sprintf("%s-%02x", d.Table.DiskID, v.Partition.Number))
}

// byPath takes a path below /dev apart, with an empty key for one that depends on
// how the disk is attached.
func byPath(spec string) (key, value string) {
	for prefix, key := range map[string]string{
		"/dev/disk/by-uuid/": "UUID", "/dev/disk/by-label/": "LABEL",
		"/dev/disk/by-partuuid/": "PARTUUID", "/dev/disk/by-partlabel/": "PARTLABEL",
	} {
		if rest, ok := strings.CutPrefix(spec, prefix); ok {
			return key, unescape(rest)
		}
	}
	if rest, ok := strings.CutPrefix(spec, "/dev/disk/by-id/dm-name-"); ok {
		return "LVM", mapperName(rest)
	}
	if rest, ok := strings.CutPrefix(spec, "/dev/mapper/"); ok {
		return "LVM", mapperName(rest)
	}
	rest, ok := strings.CutPrefix(spec, "/dev/")
	switch {
	case !ok:
	case strings.HasPrefix(rest, "md/"), strings.HasPrefix(rest, "md") && strings.Trim(rest[2:], "0123456789_d") == "":
		return "MD", rest
	case strings.Count(rest, "/") == 1 && !slices.Contains([]string{"disk", "cciss", "ida", "rd", "block", "loop", "zvol"}, strings.Split(rest, "/")[0]):
		return "LVM", rest
	}
	return "", ""
}

// unescape resolves \x20 and its like, which udev puts into names of links.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		var c byte
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if _, err := fmt.Sscanf(s[i+2:i+4], "%02x", &c); err == nil {
				b.WriteByte(c)
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mapperName turns the device mapper's name of a logical volume, in which a
// hyphen of either name is doubled, into "group/volume".
func mapperName(s string) string {
	const mark = "\x00"
	s = strings.ReplaceAll(s, "--", mark)
	s = strings.Replace(s, "-", "/", 1)
	return strings.ReplaceAll(s, mark, "-")
}
