package vhdx_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40
)

// image is what the tests need of a Reader.
type image interface {
	io.ReaderAt
	Size() int64
	NextData(off int64) (start, end int64, err error)
}

// qemuImg runs qemu-img. Its absence must not go unnoticed in CI.
func qemuImg(t testing.TB, args ...string) []byte {
	t.Helper()
	name, err := exec.LookPath("qemu-img")
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "1" {
			t.Fatal("qemu-img is missing")
		}
		t.Skip("qemu-img is missing")
	}
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "qemu-img %q: %s", args, &stderr)
	return out
}

// piece is data on a disk that is zeros elsewhere.
type piece struct{ off, n int64 }

type disk struct {
	name   string
	size   int64
	pieces []piece
}

// disks are the sources of every matrix.
func disks() []disk {
	return []disk{
		{"empty", 3 * mib, nil},
		{"odd", 1000001, []piece{{0, 5000}, {999000, 1001}}},
		{"dense", 9*mib + 512, []piece{{0, 9*mib + 512}}},
		{"sparse", 65*mib + 3*512, []piece{{mib - 700, 1400}, {17 * mib, 100 * kib}, {65 * mib, 1536}}},
		{"5GiB", 5 * gib, []piece{{0, 512}, {4*gib - 4096, 8192}, {5*gib - 512, 512}}},
	}
}

// raw writes d as a sparse file and returns its name.
func (d disk) raw(t testing.TB, dir string) string {
	t.Helper()
	name := filepath.Join(dir, d.name+".raw")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(d.size))
	rng := rand.NewChaCha8([32]byte{byte(len(d.name))})
	for _, p := range d.pieces {
		buf := make([]byte, p.n)
		_, _ = rng.Read(buf)
		_, err = f.WriteAt(buf, p.off)
		require.NoError(t, err)
	}
	return name
}

// extents lists the ranges of NextData, neighbours joined.
func extents(t testing.TB, r image) []piece {
	t.Helper()
	var all []piece
	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, start, off)
		require.Greater(t, end, start)
		require.LessOrEqual(t, end, r.Size())
		if n := len(all); n > 0 && all[n-1].off+all[n-1].n == start {
			all[n-1].n += end - start
		} else {
			all = append(all, piece{start, end - start})
		}
		off = end
	}
}

// compare holds an open image against what qemu-img makes of the same file:
// size, content and extents. spec is how qemu-img is to open it.
func compare(t testing.TB, r image, d disk, spec ...string) {
	t.Helper()
	// For qemu-img a VHDX is data from end to end: it would read terabytes of
	// zeros. What it was told to write serves for the large disks, and what it
	// left out of its output for the map.
	out := filepath.Join(t.TempDir(), "out.raw")
	if r.Size() > gib {
		out = d.raw(t, t.TempDir())
	} else {
		qemuImg(t, append(append([]string{"convert", "-O", "raw"}, spec...), out)...)
	}
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, st.Size(), r.Size(), "virtual size")

	ours := extents(t, r)
	check := append([]piece{}, d.pieces...)
	check = append(check, ours...)
	for _, want := range nonZero(t, out) {
		covered := false
		for _, have := range ours {
			covered = covered || have.off <= want.off && want.off+want.n <= have.off+have.n
		}
		require.True(t, covered, "data at %d+%d is not in our extents", want.off, want.n)
		check = append(check, want)
	}
	if r.Size() < 256*mib {
		check = []piece{{0, r.Size()}}
		requireHolesAreZeros(t, f, ours, r.Size())
	}
	for _, p := range check {
		comparePiece(t, f, r, p)
	}
}

// comparePiece compares a range and a little of what surrounds it; of a long one
// on a huge disk the two ends.
func comparePiece(t testing.TB, f io.ReaderAt, r image, p piece) {
	t.Helper()
	const window = 2 << 20
	lo, hi := max(p.off-70*kib, 0), min(p.off+p.n+70*kib, r.Size())
	if r.Size() > 256*mib && hi-lo > 2*window {
		compareRange(t, f, r, lo, lo+window)
		lo = hi - window
	}
	compareRange(t, f, r, lo, hi)
}

func compareRange(t testing.TB, f io.ReaderAt, r image, lo, hi int64) {
	t.Helper()
	const step = 3<<20 + 77
	a, b := make([]byte, step), make([]byte, step)
	for off := lo; off < hi; off += step {
		n := min(step, hi-off)
		_, err := f.ReadAt(a[:n], off)
		require.NoError(t, err)
		_, err = r.ReadAt(b[:n], off)
		require.NoError(t, err)
		require.True(t, bytes.Equal(a[:n], b[:n]), "content differs in [%d, %d)", off, off+n)
	}
}

func requireHolesAreZeros(t testing.TB, f io.ReaderAt, data []piece, size int64) {
	t.Helper()
	off := int64(0)
	for _, p := range append(data, piece{size, 0}) {
		buf := make([]byte, p.off-off)
		_, err := f.ReadAt(buf, off)
		require.NoError(t, err)
		require.Zero(t, len(bytes.Trim(buf, "\x00")), "data in the hole [%d, %d)", off, p.off)
		off = p.off + p.n
	}
}

// nonZero lists the ranges that a sparse RAW file has, without zeros at the ends:
// file systems and qemu-img round them.
func nonZero(t testing.TB, name string) []piece {
	t.Helper()
	var all []struct {
		Start, Length int64
		Data, Zero    bool
	}
	require.NoError(t, json.Unmarshal(qemuImg(t, "map", "--output=json", "-f", "raw", name), &all))
	f, _ := opened(t, name)
	var data []piece
	for _, e := range all {
		if !e.Data || e.Zero {
			continue
		}
		require.Less(t, e.Length, gib)
		b := make([]byte, e.Length)
		_, err := f.ReadAt(b, e.Start)
		require.NoError(t, err)
		for off := int64(0); off < e.Length; off += 512 {
			if part := b[off:min(off+512, e.Length)]; len(bytes.Trim(part, "\x00")) > 0 {
				data = append(data, piece{e.Start + off, int64(len(part))})
			}
		}
	}
	return data
}

// matrix converts every disk with every set of options, and creates an empty
// image with each, and holds what open makes of it against qemu-img.
func matrix(t *testing.T, format string, optionSets []string, all []disk, open func(t testing.TB, name string) image) {
	t.Helper()
	src := t.TempDir()
	ran := 0
	for _, d := range all {
		raw := d.raw(t, src)
		for _, opts := range optionSets {
			for _, how := range []string{"convert", "create"} {
				if how == "create" && d.name != "odd" {
					continue
				}
				ran++
				t.Run(fmt.Sprintf("%s/%s/%s", d.name, how, opts), func(t *testing.T) {
					t.Parallel()
					name := filepath.Join(t.TempDir(), "disk."+format)
					args := []string{"convert", "-q", "-f", "raw", "-O", format, "-o", opts, raw, name}
					if how == "create" {
						args = []string{"create", "-q", "-f", format, "-o", opts, name, fmt.Sprint(d.size)}
					}
					if opts == "" {
						args = append(args[:len(args)-4], args[len(args)-2:]...)
					}
					qemuImg(t, args...)
					compare(t, open(t, name), d, "-f", format, name)
				})
			}
		}
	}
	t.Logf("%s: %d combinations", format, ran)
}

// opened gives a file that is closed with the test, and its size.
func opened(t testing.TB, name string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	st, err := f.Stat()
	require.NoError(t, err)
	return f, st.Size()
}

// exercise reads what a fuzzed image offers: it must not panic, loop or grow.
func exercise(t testing.TB, r image) {
	t.Helper()
	if r.Size() < 0 {
		t.Fatalf("size %d", r.Size())
	}
	buf := make([]byte, 10000)
	for _, off := range []int64{0, 511, r.Size() / 2, r.Size() - 5000} {
		n, err := r.ReadAt(buf, max(off, 0))
		if n < len(buf) && err == nil {
			t.Fatal("short read without an error")
		}
	}
	off := int64(0)
	for range 1000 {
		start, end, err := r.NextData(off)
		if err != nil {
			return
		}
		if start < off || end <= start || end > r.Size() {
			t.Fatalf("NextData(%d) = [%d, %d) of %d", off, start, end, r.Size())
		}
		if _, err := r.ReadAt(buf[:min(end-start, int64(len(buf)))], start); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		off = end
	}
}
