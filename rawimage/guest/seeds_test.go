package guest_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

var update = flag.Bool("update", false, "make the seeds in testdata again; takes root, for ntfs-3g")

// many is files enough for directories of several blocks, and a fragmented one.
func many(tree gt.Tree, dir string) gt.Tree {
	tree = tree.Clone()
	for i := range 300 {
		tree[fmt.Sprintf("%s/file-%04d-of-a-directory", dir, i)] = fmt.Sprint("content ", i)
	}
	tree[dir+"/large"] = strings.Repeat("0123456789abcdef", 10_000)
	return tree
}

// seeds are file systems that real tools made: what makes them, from a directory.
var seeds = map[string]struct {
	tree gt.Tree
	make func(t *testing.T, dir, img string)
}{
	"ext4": {many(gt.Debian(), "data"), func(t *testing.T, dir, img string) {
		qemutest.Tool(t, dir, "mke2fs", "-q", "-F", "-t", "ext4", "-U", gt.RootUUID, "-d", dir, img, "16M")
	}},
	"ext2": {many(gt.Debian(), "data"), func(t *testing.T, dir, img string) {
		qemutest.Tool(t, dir, "mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-U", gt.RootUUID, "-d", dir, img, "16M")
	}},
	"xfs5": {many(gt.Debian(), "data"), func(t *testing.T, dir, img string) { makeXFS(t, dir, img, "crc=1,bigtime=1") }},
	"xfs4": {many(gt.Debian(), "data"), func(t *testing.T, dir, img string) { makeXFS(t, dir, img, "crc=0") }},
	"ntfs": {many(windowsTree(), "Windows/data"), func(t *testing.T, dir, img string) {
		qemutest.Tool(t, dir, "truncate", "-s", "16M", img)
		qemutest.Tool(t, dir, "mkntfs", "-q", "-F", "-p", "0", "-H", "255", "-S", "63", img)
		mnt := t.TempDir()
		qemutest.Tool(t, dir, "ntfs-3g", img, mnt)
		defer qemutest.Tool(t, dir, "umount", mnt)
		qemutest.Tool(t, dir, "cp", "-rT", dir, mnt)
	}},
}

func makeXFS(t *testing.T, dir, img, features string) {
	qemutest.Tool(t, dir, "mkfs.xfs", "-q", "-m", features+",uuid="+gt.RootUUID, "-p", xfsProto(t, dir), "-d", "file,name="+img+",size=300m")
}

// writeTree writes a tree to a directory.
func writeTree(t *testing.T, tree gt.Tree) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		full := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if target, ok := strings.CutPrefix(tree[name], gt.Link); ok {
			require.NoError(t, os.Symlink(target, full))
		} else {
			require.NoError(t, os.WriteFile(full, []byte(tree[name]), 0o644))
		}
	}
	return dir
}

// seed returns a file system that is checked in.
func seed(t testing.TB, name string) *gt.Sparse {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", name+".zst"))
	require.NoError(t, err)
	s, err := gt.Unpack(p)
	require.NoError(t, err)
	return s
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	for name, s := range seeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *update {
				img := filepath.Join(t.TempDir(), "img")
				s.make(t, writeTree(t, s.tree), img)
				f, err := os.Open(img)
				require.NoError(t, err)
				defer f.Close()
				i, err := f.Stat()
				require.NoError(t, err)
				packed, err := gt.NewSparse(f, i.Size())
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join("testdata", name+".zst"), packed.Pack(), 0o644))
			}
			disk := seed(t, name)
			r, err := guest.Examine(t.Context(), disk, disk.Size())
			require.NoError(t, err)
			require.True(t, r.Examined, r.Reason)
			require.Equal(t, name[:3], r.Root.Type[:3])
			for file, content := range s.tree {
				if target, ok := strings.CutPrefix(content, gt.Link); ok {
					got, err := fs.ReadLink(r.FS(), file)
					require.NoError(t, err)
					require.Equal(t, target, got)
					continue
				}
				p, err := fs.ReadFile(r.FS(), file)
				require.NoError(t, err)
				require.Equal(t, content, string(p), file)
			}
			dir := "data"
			if name == "ntfs" {
				dir = "Windows/Data"
			} else {
				require.Equal(t, gt.RootUUID, r.Root.UUID)
			}
			list, err := fs.ReadDir(r.FS(), dir)
			require.NoError(t, err)
			require.Len(t, list, 301)
		})
	}
}

// largeDisk is a small disk with 100 GiB of nothing after it.
type largeDisk struct{ *gt.Sparse }

func (d largeDisk) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.Size() {
		clear(p)
		return len(p), nil
	}
	n, err := d.Sparse.ReadAt(p, off)
	if n < len(p) {
		clear(p[n:])
		n, err = len(p), nil
	}
	return n, err
}

// An examination reads what it needs, never the disk: what it costs does not
// depend on the disk's size.
func TestReadsLittle(t *testing.T) {
	t.Parallel()
	disk := largeDisk{seed(t, "ext4")}
	r, err := guest.Examine(t.Context(), disk, 100<<30)
	require.NoError(t, err)
	require.True(t, r.Examined, r.Reason)
	require.Less(t, r.Reads.Bytes, int64(8<<20))
	require.Less(t, r.Reads.Requests, int64(200))
	require.Positive(t, r.Reads.Duration)
}
