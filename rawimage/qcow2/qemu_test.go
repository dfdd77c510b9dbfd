package qcow2_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

const (
	kib = qemutest.KiB
	mib = qemutest.MiB
	gib = qemutest.GiB
	tib = qemutest.TiB
)

type extent = qemutest.Extent

// open opens an image with its directory allowed.
func open(t testing.TB, name string, opts ...qcow2.Option) *qcow2.Reader {
	t.Helper()
	f, size := qemutest.OpenFile(t, name)
	r, err := qcow2.NewReader(f, size, append([]qcow2.Option{qcow2.WithDir(filepath.Dir(name))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// same compares disk.qcow2 in dir with what qemu-img makes of it.
func same(t *testing.T, dir string, coarser bool) {
	t.Helper()
	c := qemutest.Comparison{Dir: dir, Spec: []string{"-f", "qcow2", "disk.qcow2"}, Map: qemutest.MapExact}
	if coarser {
		c.Map = qemutest.MapCovers
	}
	qemutest.Compare(t, open(t, filepath.Join(dir, "disk.qcow2")), c)
}

// patch writes over part of a file.
func patch(t testing.TB, name string, off int64, s string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(s), off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// The disks that tests without a matrix use.
func pattern() qemutest.Disk { return qemutest.Small()[0] }
func odd() qemutest.Disk     { return qemutest.Small()[2] }
