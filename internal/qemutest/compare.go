package qemutest

import (
	"bytes"
	"cmp"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// How extents are compared with qemu-img map.
const (
	// Covers: ours have all that qemu-img has for data.
	MapCovers = iota
	// MapExact: ours are the same.
	MapExact
	// MapNone: to qemu-img the image is data from end to end.
	MapNone
)

// Comparison says what an open image is to be compared with.
type Comparison struct {
	Dir  string
	Spec []string // how qemu-img opens the image
	Want string   // RAW file with the disk; "" for what qemu-img converts to
	Map  int
}

// whole is up to which size a disk is compared in whole, and longest how much of
// a longer range where neither side is known to have data.
const (
	whole   = 256 * MiB
	longest = 8 * MiB
)

// Compare holds an open image against qemu-img: size, content and extents. Of a
// large disk every range is compared that is not a hole in the RAW file, and
// every range that is data to the reader; where that is a hole in the RAW file
// and long, both ends of it.
func Compare(t testing.TB, r Image, c Comparison) {
	t.Helper()
	want := c.Want
	if want == "" {
		want = filepath.Join(t.TempDir(), "want.raw")
		Img(t, c.Dir, append(append([]string{"convert", "-O", "raw"}, c.Spec...), want)...)
	}
	f, size := OpenFile(t, want)
	// qemu-img drops or fills the last sector of a RAW file that is not whole.
	require.LessOrEqual(t, size, r.Size())
	require.Less(t, r.Size()-size, int64(512), "virtual size")
	if c.Want == "" {
		require.Equal(t, size, r.Size(), "virtual size")
	}
	ours := Extents(t, r)
	switch c.Map {
	case MapExact:
		require.Equal(t, Map(t, c.Dir, true, c.Spec...), ours, "extents")
	case MapCovers:
		Covers(t, ours, Map(t, c.Dir, false, c.Spec...))
	}
	stored := []Extent{{0, size}}
	if size > whole {
		stored = Map(t, "", false, "-f", "raw", want)
	}
	requireHoles(t, f, stored, ours, r.Size())
	for _, e := range union(stored, ends(ours)) {
		requireEqual(t, f, r, e)
	}
}

// requireHoles fails the test where the RAW file has data that ours leave out.
func requireHoles(t testing.TB, f io.ReaderAt, stored, ours []Extent, size int64) {
	t.Helper()
	off := int64(0)
	for _, e := range append(slices.Clone(ours), Extent{size, size}) {
		for _, s := range stored {
			lo, hi := max(off, s[0]), min(e[0], s[1])
			if lo >= hi {
				continue
			}
			buf := make([]byte, hi-lo)
			_, err := f.ReadAt(buf, lo)
			require.NoError(t, err)
			require.True(t, Zeros(buf), "data in the hole from %#x to %#x", lo, hi)
		}
		off = e[1]
	}
}

// ends shortens long extents to their ends, and adds a little of the holes.
func ends(list []Extent) (short []Extent) {
	const around = 70 * KiB
	for _, e := range list {
		e[0], e[1] = max(e[0]-around, 0), e[1]+around
		if e[1]-e[0] > 2*longest {
			short = append(short, Extent{e[0], e[0] + longest})
			e[0] = e[1] - longest
		}
		short = append(short, e)
	}
	return short
}

// union merges two lists.
func union(a, b []Extent) (list []Extent) {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a[0], b[0]) })
	for _, e := range all {
		if n := len(list); n > 0 && e[0] <= list[n-1][1] {
			list[n-1][1] = max(list[n-1][1], e[1])
			continue
		}
		list = append(list, e)
	}
	return list
}

// requireEqual compares a range, as far as it is on the disk, in reads that begin
// and end anywhere. Behind the end of the RAW file are zeros.
func requireEqual(t testing.TB, f io.ReaderAt, r Image, e Extent) {
	t.Helper()
	const step = 3<<20 + 77
	a, b := make([]byte, step), make([]byte, step)
	for off := e[0]; off < min(e[1], r.Size()); off += step {
		n := min(step, min(e[1], r.Size())-off)
		clear(a)
		if _, err := f.ReadAt(a[:n], off); err != io.EOF {
			require.NoError(t, err)
		}
		_, err := r.ReadAt(b[:n], off)
		require.NoError(t, err)
		if !bytes.Equal(a[:n], b[:n]) {
			i := int64(0)
			for a[i] == b[i] {
				i++
			}
			require.Fail(t, "content differs", "at %#x: %#x, not %#x", off+i, b[i], a[i])
		}
	}
}

// Zeros reports whether all of b are. Each byte is compared with the one before.
func Zeros(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }
