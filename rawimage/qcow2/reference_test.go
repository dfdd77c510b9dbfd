package qcow2_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

func mapFS(files map[string][]byte) fs.FS {
	m := fstest.MapFS{}
	for name, b := range files {
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

// Without an option nothing is opened, and what would be is told.
func TestReferencesRefused(t *testing.T) {
	for _, c := range []struct {
		kind   string
		change func([]byte)
	}{
		{"backing file", backing("base.img", "raw")},
		{"external data file", dataFile("base.img")},
	} {
		t.Run(c.kind, func(t *testing.T) {
			b := tiny(t, c.change)
			_, err := newReader(b)
			require.ErrorIs(t, err, qcow2.ErrMissingFile)
			require.NotErrorIs(t, err, qcow2.ErrDamaged)
			var re *qcow2.ReferenceError
			require.ErrorAs(t, err, &re)
			require.Equal(t, qcow2.ReferenceError{Role: c.kind, Name: "base.img", Err: qcow2.ErrNotAllowed}, *re)
			require.ErrorContains(t, err, c.kind)
			require.ErrorContains(t, err, `"base.img": no directory was given to open it in`)

			i, err := qcow2.ReadInfo(bytes.NewReader(b), int64(len(b)))
			require.NoError(t, err)
			require.Equal(t, "base.img", i.BackingFile+i.DataFile)
		})
	}
}

// Names that lead somewhere else are refused for what they are, and nothing
// outside is opened.
func TestReferencesOutside(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "images")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	secret := filepath.Join(top, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	if err := os.Symlink("../secret", filepath.Join(dir, "link")); err != nil {
		t.Logf("no symbolic links: %v", err)
	}
	for _, c := range []struct {
		name string
		is   error
	}{
		{"../secret", qcow2.ErrOutside},
		{"sub/../../secret", qcow2.ErrOutside},
		{secret, qcow2.ErrOutside},
		{"file:../secret", qcow2.ErrOutside},
		{"/dev/zero", qcow2.ErrOutside},
		{"link", nil},
		{"sub", qcow2.ErrUnsupported},
		{"missing", fs.ErrNotExist},
		{"file:", fs.ErrNotExist},
		{"nbd://example.com/x", qcow2.ErrRemote},
		{`json:{"driver":"raw"}`, qcow2.ErrRemote},
		{"https://example.com/x", qcow2.ErrRemote},
	} {
		for _, change := range []func([]byte){backing(c.name, "raw"), dataFile(c.name)} {
			_, err := newReader(tiny(t, change), qcow2.WithDir(dir))
			require.Equal(t, c.is != qcow2.ErrRemote && c.is != qcow2.ErrUnsupported, errors.Is(err, qcow2.ErrMissingFile), c.name)
			if c.is != nil {
				require.ErrorIs(t, err, c.is, c.name)
			}
			require.NotErrorIs(t, err, qcow2.ErrDamaged)
		}
	}
	_, err := newReader(tiny(t, backing("/x", "raw")), qcow2.WithFS(mapFS(nil)))
	require.ErrorIs(t, err, qcow2.ErrOutside)
}

// Backing files are followed in all ways they can be named.
func TestBacking(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	base := bytes.Repeat([]byte("base"), 1024)
	for name, b := range map[string][]byte{
		"base.img":      base,
		"sub/mid.qcow2": tiny(t, backing("../base.img", "raw"), set64(tinyL2+16, 0)),
		"a.qcow2":       tiny(t, backing("b.qcow2", "qcow2")),
		"b.qcow2":       tiny(t, backing("./a.qcow2", "qcow2")),
		"disk.vmdk":     []byte("KDMV and more"),
		"broken.qcow2":  tiny(t, set32(20, 1)),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o600))
	}
	want := tinyDisk()
	copy(want[3*tinyCluster:4096], base[3*tinyCluster:])
	for _, c := range []struct{ name, format string }{
		{"base.img", "raw"},
		{"base.img", ""},
		{"./base.img", "raw"},
		{"file:base.img", "raw"},
		{filepath.Join(dir, "base.img"), "raw"},
		{"sub/mid.qcow2", "qcow2"},
		{"sub/mid.qcow2", ""},
	} {
		t.Run(fmt.Sprintf("%s as %q", filepath.Base(c.name), c.format), func(t *testing.T) {
			r, err := newReader(tiny(t, backing(c.name, c.format)), qcow2.WithDir(dir))
			require.NoError(t, err)
			defer func() { require.NoError(t, r.Close()) }()
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, []extent{{0, 512}, {1024, 4096}}, qemutest.Extents(t, r))
		})
	}
	for _, c := range []struct {
		name, format string
		is           error
	}{
		{"a.qcow2", "qcow2", qcow2.ErrLoop},
		{"base.img", "vmdk", qcow2.ErrUnsupported},
		{"disk.vmdk", "", qcow2.ErrUnsupported},
		{"base.img", "qcow2", qcow2.ErrDamaged},
		{"broken.qcow2", "", qcow2.ErrDamaged},
	} {
		_, err := newReader(tiny(t, backing(c.name, c.format)), qcow2.WithDir(dir))
		require.ErrorIs(t, err, c.is, c.name)
		var re *qcow2.ReferenceError
		require.ErrorAs(t, err, &re, c.name)
	}
}

// A chain without an end in sight is given up.
func TestBackingChain(t *testing.T) {
	files := map[string][]byte{}
	for i := range 100 {
		files[fmt.Sprint(i)] = tiny(t, backing(fmt.Sprint(i+1), "qcow2"))
	}
	files["100"] = tiny(t)
	_, err := newReader(files["0"], qcow2.WithFS(mapFS(files)))
	require.ErrorIs(t, err, qcow2.ErrLoop)
	r, err := newReader(files["60"], qcow2.WithFS(mapFS(files)))
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

// Clusters of an external data file are where they are on the disk.
func TestDataFile(t *testing.T) {
	ext := bytes.Repeat([]byte{3}, 200)
	r, err := newReader(tiny(t, dataFile("d")), qcow2.WithFS(mapFS(map[string][]byte{"d": ext})))
	require.NoError(t, err)
	got := make([]byte, tinySize)
	_, err = r.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, append(ext, make([]byte, tinySize-200)...), got)
	require.Equal(t, []extent{{0, 512}}, qemutest.Extents(t, r))
	require.NoError(t, r.Close())
}
