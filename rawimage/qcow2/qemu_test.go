package qcow2_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/qcow2"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40
)

// oracle finds a tool that tests compare with. Where it must not go unnoticed
// that it is missing, the test fails; elsewhere it is skipped.
func oracle(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err == nil {
		return p
	}
	if os.Getenv("CI") == "true" || os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "1" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

// tool runs a tool in dir and returns what it prints.
func tool(t testing.TB, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(oracle(t, name), args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), &stderr)
	return out
}

func qemuImg(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	return tool(t, dir, "qemu-img", args...)
}

// qemuIO runs commands of qemu-io on an image.
func qemuIO(t testing.TB, dir, image string, commands ...string) {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	tool(t, dir, "qemu-io", append(args, image)...)
}

// extent is a range of data.
type extent struct{ start, end int64 }

// qemuMap is the data of an image as qemu-img has it.
func qemuMap(t testing.TB, dir, image string) []extent {
	t.Helper()
	var entries []struct {
		Start, Length int64
		Data          bool
	}
	require.NoError(t, json.Unmarshal(qemuImg(t, dir, "map", "--output=json", image), &entries))
	var list []extent
	for _, e := range entries {
		if e.Data {
			list = add(list, extent{e.Start, e.Start + e.Length})
		}
	}
	return list
}

// add appends an extent, merged with the one before it where they meet.
func add(list []extent, e extent) []extent {
	if n := len(list); n > 0 && list[n-1].end == e.start {
		list[n-1].end = e.end
		return list
	}
	return append(list, e)
}

// data is the data of a disk as the Reader has it.
func data(t testing.TB, r *qcow2.Reader) []extent {
	t.Helper()
	var list []extent
	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if err == io.EOF {
			return list
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, start, off)
		require.Greater(t, end, start)
		require.LessOrEqual(t, end, r.Size())
		list = add(list, extent{start, end})
		off = end
	}
}

// covers fails the test unless all of want is in got.
func covers(t testing.TB, got, want []extent) {
	t.Helper()
	for _, w := range want {
		for _, g := range got {
			if g.start <= w.start && w.start < g.end {
				w.start = g.end
			}
		}
		require.GreaterOrEqual(t, w.start, w.end, "data up to %#x is missing", w.end)
	}
}

// open opens an image with its directory allowed.
func open(t testing.TB, dir, image string, opts ...qcow2.Option) *qcow2.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, image))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	fi, err := f.Stat()
	require.NoError(t, err)
	r, err := qcow2.NewReader(f, fi.Size(), append([]qcow2.Option{qcow2.WithDir(dir)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// source is a disk to make images of.
type source struct {
	name string
	size int64
	data []extent
}

// sources are small enough to be compared in whole.
var sources = []source{
	{"pattern", 3*mib + 512, pattern()},
	{"empty", 3 * mib, nil},
	{"dense", 700 * kib, []extent{{0, 700 * kib}}},
	{"odd", 1000001, []extent{{0, 70000}, {500001, 1000001}}},
	{"sparse", 7 * mib, []extent{{0, 4 * kib}, {5*mib + 512, 5*mib + 200*kib}, {7*mib - 1*kib, 7 * mib}}},
}

// large are compared where their data is.
var large = []source{
	{"5GiB", 5*gib + 512, []extent{{0, 64 * kib}, {4*gib - 8*kib, 4*gib + 8*kib}, {5 * gib, 5*gib + 512}}},
	{"2TiB", 2*tib + 3*mib, []extent{{1 * mib, 2 * mib}, {tib, tib + 4*kib}, {2*tib - 4*kib, 2*tib + 12*kib}}},
}

// pattern is data in pieces of many sizes, so that clusters and subclusters
// are full, in part, and empty.
func pattern() (list []extent) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for off := int64(0); off < 3*mib; {
		n := 512 << rnd.IntN(9)
		list = append(list, extent{off, min(off+int64(n), 3*mib)})
		off += int64(n) + 512<<rnd.IntN(9)
	}
	return list
}

// write makes the disk as a sparse file: half noise, half text.
func (s source) write(t testing.TB, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, s.name+".raw"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.NoError(t, f.Truncate(s.size))
	noise := rand.NewChaCha8([32]byte{7})
	for _, e := range s.data {
		b := text(noise, int(e.end-e.start))
		_, _ = noise.Read(b[:len(b)/2])
		_, err := f.WriteAt(b, e.start)
		require.NoError(t, err)
	}
	return f.Name()
}

// text is words in no order, which compress about as well as text does.
func text(rnd rand.Source, n int) []byte {
	words := strings.Fields("a QCOW2 image file is organized in units of constant size which are called clusters " +
		"all numbers are stored in big endian byte order; the first cluster contains the header 0123 4567 89ab cdef")
	b := make([]byte, 0, n+16)
	for len(b) < n {
		for x := rnd.Uint64(); x != 0; x >>= 8 {
			b = append(append(b, words[x%uint64(len(words))]...), byte(x>>3&1)+' ')
		}
	}
	return b[:n]
}
