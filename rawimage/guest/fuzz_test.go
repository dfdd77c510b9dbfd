package guest_test

import (
	"bytes"
	"io/fs"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

// fuzzDisks are the disks that fuzzing changes: file systems of real tools, and
// partition tables, volumes and FAT of our own.
func fuzzDisks(t testing.TB) (list []*gt.Sparse) {
	t.Helper()
	for _, name := range []string{"ext2", "ext4", "ntfs", "xfs4", "xfs5"} {
		list = append(list, seed(t, name))
	}
	add := func(img []byte) {
		s, err := gt.NewSparse(bytes.NewReader(img), int64(len(img)))
		require.NoError(t, err)
		list = append(list, s)
	}
	add(onDisk(gt.Debian()))
	add(windowsDisk(false, windowsTree()))
	root := gt.Ext2(gt.RootUUID, "", lvmTree())
	volume := gt.Logical("root", "striped", len(extents(root)), "stripe_count = 1\nstripes = [\n\"pv0\", 0\n]\n")
	add(lvmDisk(append(gt.Physical(gt.PVID(0), gt.Group("my-group", 1, volume)), root...)))
	add(gt.MBR(true, gt.Partition{Content: gt.RAID1("1.2", gt.Ext2(gt.RootUUID, "", gt.Debian()))}))
	return list
}

// changed applies changes of four bytes each to a disk: which page of those with
// content, where in it, and what.
func changed(disk *gt.Sparse, changes []byte) *gt.Sparse {
	pages := disk.Pages()
	return disk.Change(func(set func(int64, int, byte)) {
		for c := range slices.Chunk(changes, 4) {
			if len(c) == 4 {
				set(pages[int(c[0])%len(pages)], int(c[1])<<4&0xff0|int(c[2])&0xf, c[3])
			}
		}
	})
}

func FuzzExamine(f *testing.F) {
	disks := fuzzDisks(f)
	for i := range disks {
		f.Add(uint8(i), []byte{0, 0, 0, 0})
		f.Add(uint8(i), []byte{0, 0x40, 0x18, 0xff, 1, 0, 0, 7, 2, 16, 4, 255, 3, 1, 1, 1})
	}
	f.Fuzz(func(t *testing.T, which uint8, changes []byte) {
		disk := changed(disks[int(which)%len(disks)], changes[:min(len(changes), 4096)])
		r, err := guest.Examine(t.Context(), disk, disk.Size(), guest.WithTimeout(20*time.Second))
		require.NoError(t, err)
		require.NotEqual(t, r.Examined, r.Reason != "")
		for _, x := range r.Findings {
			require.NotEmpty(t, x.Summary, x.Check)
			require.NotContains(t, x.Summary, "runtime error", "%+v", x)
		}
		require.NotContains(t, r.Reason, "runtime error")
		if r.Examined {
			walk(t, r.FS())
		}
	})
}

// walk lists everything that can be listed, up to a bound.
func walk(t *testing.T, files fs.FS) {
	left := 2000
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if left--; left == 0 {
			return fs.SkipAll
		}
		if err != nil {
			require.NotContains(t, err.Error(), "runtime error")
			return nil
		}
		if d.Type().IsRegular() {
			_, err = fs.ReadFile(files, name)
		} else if d.Type() == fs.ModeSymlink {
			_, err = fs.ReadLink(files, name)
		}
		if err != nil {
			require.NotContains(t, err.Error(), "runtime error")
		}
		return nil
	})
}

// TestHostileMemory holds an examination of random damage to a bound of memory.
func TestHostileMemory(t *testing.T) {
	for i, disk := range fuzzDisks(t) {
		var changes []byte
		for k := range 64 {
			changes = append(changes, byte(k*7+i), byte(k*13), byte(k*5), byte(0xff-k))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		hostile := changed(disk, changes)
		_, err := guest.Examine(t.Context(), hostile, hostile.Size())
		require.NoError(t, err)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(400<<20), "disk %d", i)
	}
}
