package vmdk_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

// Grains of two tables that share bytes of the file are refused.
func TestSharedGrains(t *testing.T) {
	t.Parallel()
	l := qemutest.Layout{Blocks: 64, Block: 512, Every: 8}
	for i := range l.Blocks {
		l.Stored = append(l.Stored, i)
	}
	f := l.VMDK()
	le := binary.LittleEndian
	var dir, first [4]byte
	table := func(i int64) int64 {
		_, err := f.ReadAt(dir[:], 21*512+i*4)
		require.NoError(t, err)
		return int64(le.Uint32(dir[:])) * 512
	}
	_, err := f.ReadAt(first[:], table(0))
	require.NoError(t, err)
	f.Put(table(5)+4, first[:])
	r, err := vmdk.NewReader(f, f.Len)
	require.NoError(t, err)
	for range 2 {
		_, err = r.ReadAt(make([]byte, r.Size()), 0)
		requireTyped(t, err, vmdk.ErrDamaged)
	}
}

// Extents that share bytes of a file are refused, whatever they call it.
func TestSharedExtents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 8192), 0o600))
	names := []string{"a"}
	if os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")) == nil && os.Symlink("a", filepath.Join(dir, "c")) == nil {
		names = append(names, "b", "c")
	}
	open := func(lines ...string) error {
		r, err := newReader([]byte("# Disk DescriptorFile\nversion=1\n"+strings.Join(lines, "\n")+"\n"), vmdk.WithDir(dir))
		if err != nil {
			return err
		}
		return r.Close()
	}
	require.NoError(t, open(`RW 8 FLAT "a" 8`, `RW 8 FLAT "a" 0`))
	for _, name := range names {
		requireTyped(t, open(`RW 8 FLAT "a" 0`, `rw 8 flat "`+name+`" 7`), vmdk.ErrDamaged)
		requireTyped(t, open(`RW 16 VMFS "a"`, `RW 1 ZERO`, `RW 16 FLAT "`+name+`"`), vmdk.ErrDamaged)
	}
}

// A descriptor as other programs write it: the version first, lower case, after a
// byte order mark.
func TestDescriptorForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 4096), 0o600))
	for _, text := range []string{
		"version=1\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"a\" 0\n",
		"version=1\nrw 8 flat \"a\" 0\n",
		"\xef\xbb\xbf# Disk DescriptorFile\r\nversion=1\r\nRW 8 FLAT \"a\" 0\r\n",
		"# disk descriptorfile\nVERSION=1\nCREATETYPE=\"custom\"\nRw 8 Flat \"a\"\n",
	} {
		r, err := newReader([]byte(text), vmdk.WithDir(dir))
		require.NoError(t, err, "%q", text)
		require.EqualValues(t, 4096, r.Size())
		require.NoError(t, r.Close())
	}
	_, err := newReader([]byte("version=1\nRW 8 VMFSRDM \"a\"\n"), vmdk.WithDir(dir))
	requireTyped(t, err, vmdk.ErrUnsupported)
}
