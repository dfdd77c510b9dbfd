// Package qemutest compares readers of image formats with qemu-img: it has disks to
// make images of, a matrix of disks and options, and a comparison of size,
// content and extents. It is for tests.
package qemutest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Units of bytes.
const (
	KiB = int64(1) << 10
	MiB = int64(1) << 20
	GiB = int64(1) << 30
	TiB = int64(1) << 40
)

// Image is what a reader of a format is to the tests.
type Image interface {
	io.ReaderAt
	Size() int64
	NextData(off int64) (start, end int64, err error)
}

// Extent is a range of data: where it begins and where it ends.
type Extent [2]int64

// Oracle finds a tool that tests compare with. Where it must not go unnoticed
// that it is missing, the test fails; elsewhere it is skipped.
func Oracle(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err == nil {
		return p
	}
	if p = "/usr/sbin/" + name; exists(p) { // not on a user's PATH
		return p
	}
	if os.Getenv("CI") == "true" || os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "1" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// Tool runs a tool in dir and returns what it prints.
func Tool(t testing.TB, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(Oracle(t, name), args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), &stderr)
	return out
}

// Img runs qemu-img in dir.
func Img(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	return Tool(t, dir, "qemu-img", args...)
}

// IO runs commands of qemu-io on an image.
func IO(t testing.TB, dir, format, image string, commands ...string) {
	t.Helper()
	args := []string{"-f", format}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	Tool(t, dir, "qemu-io", append(args, image)...)
}

// VirtualSize is the size of an image's disk according to qemu-img.
func VirtualSize(t testing.TB, dir, format, image string) int64 {
	t.Helper()
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	require.NoError(t, json.Unmarshal(Img(t, dir, "info", "--output=json", "-f", format, image), &info))
	return info.Size
}

// Map lists the data of an image as qemu-img map has it, adjacent ranges merged.
// spec is how qemu-img is to open it. With holes, what is stored where the file
// itself has a hole counts too.
func Map(t testing.TB, dir string, holes bool, spec ...string) []Extent {
	t.Helper()
	var all []struct {
		Start, Length int64
		Data, Zero    bool
	}
	require.NoError(t, json.Unmarshal(Img(t, dir, append([]string{"map", "--output=json"}, spec...)...), &all))
	var data []Extent
	for _, e := range all {
		if e.Data && (holes || !e.Zero) {
			data = Append(data, Extent{e.Start, e.Start + e.Length})
		}
	}
	return data
}

// Append appends an extent, merged with the one before it where they meet.
func Append(list []Extent, e Extent) []Extent {
	if n := len(list); n > 0 && list[n-1][1] == e[0] {
		list[n-1][1] = e[1]
		return list
	}
	return append(list, e)
}

// Extents lists the data of a disk as its reader has it, adjacent ranges merged,
// and holds the reader to what NextData promises.
func Extents(t testing.TB, r Image) []Extent {
	t.Helper()
	var list []Extent
	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, start, off)
		require.Greater(t, end, start)
		require.LessOrEqual(t, end, r.Size())
		list = Append(list, Extent{start, end})
		off = end
	}
}

// Covers fails the test unless all of want is in got. Both are in order.
func Covers(t testing.TB, got, want []Extent) {
	t.Helper()
	for _, w := range want {
		for _, g := range got {
			if g[0] <= w[0] && w[0] < g[1] {
				w[0] = g[1]
			}
		}
		require.GreaterOrEqual(t, w[0], w[1], "data from %#x to %#x is missing", w[0], w[1])
	}
}

// OpenFile gives a file that is closed with the test, and its size.
func OpenFile(t testing.TB, name string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	st, err := f.Stat()
	require.NoError(t, err)
	return f, st.Size()
}

// Make converts a disk into an image and returns its bytes.
func Make(t testing.TB, d Disk, format, options string) []byte {
	t.Helper()
	dir := t.TempDir()
	args := []string{"convert", "-f", "raw", "-O", format}
	if options != "" {
		args = append(args, "-o", options)
	}
	Img(t, dir, append(args, d.Write(t, dir), "image")...)
	b, err := os.ReadFile(filepath.Join(dir, "image"))
	require.NoError(t, err)
	return b
}
