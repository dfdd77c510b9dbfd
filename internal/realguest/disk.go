package realguest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

const (
	mib = qemutest.MiB
	// diskSize is enough for the largest root and what a guest writes.
	diskSize = 2560 * mib
)

// Layout is how a guest is put on its disk.
type Layout struct {
	Table string // "dos" by default, "gpt", or "none" for a file system on the disk itself
	FS    string // of the root: "ext4" by default, "ext2", "ext3" or "xfs"
	Boot  string // file system of a partition for /boot: none by default
	Swap  bool   // a partition for swap
	LVM   int    // on how many physical volumes the root is: 0 for none
	// Lost physical volumes are not on the disk: the last one of LVM, or one that the
	// root does not need.
	Lost LostVolume
}

// LostVolume says which physical volume a volume group lacks.
type LostVolume int

// What a lost volume held.
const (
	LostNone   LostVolume = iota
	LostNeeded            // part of the root
	LostUnused            // nothing of the root: the group is incomplete all the same
)

// partition is a partition of a guest's disk.
type partition struct {
	role        string // "bios", "esp", "boot", "swap", "root" or "pv"
	start, size int64  // bytes
}

// types are the partition types, as sfdisk knows them for both tables.
var types = map[string]string{
	"bios": "21686148-6449-6E6F-744E-656564454649",
	"esp":  "uefi", "boot": "linux", "swap": "swap", "root": "linux", "pv": "lvm",
}

// builder puts a root on a disk.
type builder struct {
	testing.TB
	guest Guest
	work  string // directory for whatever is needed on the way
	root  string // directory with the root
	disk  string // file with the disk
	parts []partition
}

// build makes the disk.
func (b *builder) build() {
	b.Helper()
	require.NoError(b, os.WriteFile(b.disk, nil, 0o644))
	require.NoError(b, os.Truncate(b.disk, diskSize))
	b.partition()
	if boot := b.part("boot"); boot != nil {
		tree := filepath.Join(b.work, "boot")
		require.NoError(b, os.Rename(filepath.Join(b.root, "boot"), tree))
		require.NoError(b, os.Mkdir(filepath.Join(b.root, "boot"), 0o755))
		b.mkfs(b.guest.Disk.Boot, "boot", BootUUID, tree, *boot)
	}
	if swap := b.part("swap"); swap != nil {
		file := b.file("swap", swap.size)
		run(b, b.work, "mkswap", "-q", "-U", SwapUUID, file)
		b.copyIn(file, *swap)
	}
	if b.guest.Disk.LVM > 0 {
		b.lvm()
	} else {
		b.mkfs(b.guest.Disk.FS, "root", RootUUID, b.root, *b.part("root"))
	}
	b.loader()
	if b.guest.Damage != nil {
		f, err := os.OpenFile(b.disk, os.O_RDWR, 0)
		require.NoError(b, err)
		b.guest.Damage(b, f)
		require.NoError(b, f.Close())
	}
}

// partition lays out the disk.
func (b *builder) partition() {
	d := b.guest.Disk
	if d.Table == "none" {
		b.parts = []partition{{"root", 0, diskSize}}
		return
	}
	next := mib
	add := func(role string, size int64) {
		b.parts = append(b.parts, partition{role, next, size})
		next += size
	}
	if d.Table == "gpt" && b.guest.Loader == BIOS {
		add("bios", mib)
	}
	if b.guest.Loader == UEFI {
		add("esp", 64*mib)
	}
	if d.Boot != "" {
		add("boot", 320*mib)
	}
	if d.Swap {
		add("swap", 64*mib)
	}
	rest := diskSize - mib - next // a GPT has a copy at the end
	if d.LVM == 0 {
		add("root", rest)
	}
	for range d.LVM {
		add("pv", rest/int64(d.LVM)/mib*mib)
	}
	if d.Lost == LostNeeded {
		b.parts = b.parts[:len(b.parts)-1]
	}
	b.writeTable()
}

// writeTable writes the partition table.
func (b *builder) writeTable() {
	b.Helper()
	table := b.guest.Disk.Table
	var script strings.Builder
	fmt.Fprintf(&script, "label: %s\n", table)
	if table == "dos" {
		fmt.Fprintf(&script, "label-id: 0x%s\n", DiskID)
	}
	for i, p := range b.parts {
		fmt.Fprintf(&script, "start=%d, size=%d, type=%s", p.start/512, p.size/512, types[p.role])
		if table == "gpt" {
			fmt.Fprintf(&script, ", uuid=%s", PartUUID(i+1))
		}
		script.WriteByte('\n')
	}
	b.sh(`sfdisk --quiet "$1" <<<"$2"`, b.disk, script.String())
}

// PartUUID is the UUID of a GPT partition, counted from 1.
func PartUUID(n int) string { return fmt.Sprintf("5a1ad000-0000-4000-8000-0000000001%02d", n) }

// part finds the first partition with a role, nil if there is none.
func (b *builder) part(role string) *partition {
	for i := range b.parts {
		if b.parts[i].role == role {
			return &b.parts[i]
		}
	}
	return nil
}

// number is the number of the first partition with a role.
func (b *builder) number(role string) int {
	for i := range b.parts {
		if b.parts[i].role == role {
			return i + 1
		}
	}
	return 0
}

// mkfs makes a file system with the files of a directory on a partition.
func (b *builder) mkfs(fs, label, uuid, tree string, p partition) {
	b.Helper()
	file := b.file(label+".fs", p.size)
	b.mkfsFile(fs, label, uuid, tree, file)
	b.copyIn(file, p)
	require.NoError(b, os.Remove(file))
}

// mkfsFile makes a file system with the files of a directory in a file.
func (b *builder) mkfsFile(fs, label, uuid, tree, file string) {
	b.Helper()
	if fs == "xfs" {
		proto := filepath.Join(b.work, label+".proto")
		require.NoError(b, os.WriteFile(proto, protofile(b, tree), 0o600))
		run(b, b.work, "mkfs.xfs", "-q", "-L", label, "-m", "uuid="+uuid, "-p", proto, file)
		return
	}
	run(b, b.work, "mke2fs", "-q", "-t", fs, "-L", label, "-U", uuid, "-d", tree, file)
}

// file makes an empty file of a size and returns its name.
func (b *builder) file(name string, size int64) string {
	b.Helper()
	name = filepath.Join(b.work, name)
	require.NoError(b, os.WriteFile(name, nil, 0o600))
	require.NoError(b, os.Truncate(name, size))
	return name
}

// copyIn copies a file to a partition.
func (b *builder) copyIn(file string, p partition) {
	b.Helper()
	b.copyAt(file, 0, p.start, p.size)
}

// copyAt copies part of a file to the disk, holes left out. All are in bytes.
func (b *builder) copyAt(file string, skip, at, size int64) {
	b.Helper()
	run(b, b.work, "dd", "status=none", "bs=64K", "conv=sparse,notrunc",
		"iflag=skip_bytes,count_bytes", "oflag=seek_bytes",
		"if="+file, "of="+b.disk, "skip="+itoa(skip), "count="+itoa(size), "seek="+itoa(at))
}

// sh runs a script of bash.
func (b *builder) sh(script string, args ...string) []byte {
	b.Helper()
	return run(b, b.work, append([]string{"bash", "-euc", script, "bash"}, args...)...)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
