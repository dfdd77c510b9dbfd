package zvhd2_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

const mib = 1 << 20

var (
	testUUID = [16]byte{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x4d, 0xef, 0x80, 1, 2, 3, 4, 5, 6, 7}
	testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// missingOracle skips, except where every oracle has to be there.
func missingOracle(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("FASTIMAGE_REQUIRE_ORACLES") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// disk is a sparse disk in memory that counts what is read of it.
type disk struct {
	size  int64
	parts map[int64][]byte // by offset, not overlapping
	offs  []int64

	mu    sync.Mutex // guards what follows
	reads int
	bytes int64
	holes int64 // bytes read outside parts
}

func newDisk(size int64, parts map[int64][]byte) *disk {
	d := &disk{size: size, parts: parts}
	for off := range parts {
		d.offs = append(d.offs, off)
	}
	sort.Slice(d.offs, func(i, j int) bool { return d.offs[i] < d.offs[j] })
	return d
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	var err error
	if off >= d.size {
		return 0, io.EOF
	}
	if int64(len(p)) > d.size-off {
		p, err = p[:d.size-off], io.EOF
	}
	clear(p)
	covered := int64(0)
	for _, o := range d.offs {
		b := d.parts[o]
		lo, hi := max(o, off), min(o+int64(len(b)), off+int64(len(p)))
		if lo < hi {
			copy(p[lo-off:hi-off], b[lo-o:hi-o])
			covered += hi - lo
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	d.bytes += int64(len(p))
	d.holes += int64(len(p)) - covered
	return len(p), err
}

// extents is a disk that knows its holes.
type extents struct{ *disk }

func (d extents) NextData(off int64) (int64, int64, error) {
	for _, o := range d.offs {
		if end := o + int64(len(d.parts[o])); end > off {
			return max(o, off), end, nil
		}
	}
	return 0, 0, io.EOF
}

// text compresses, noise does not.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 500)
	for i := range words {
		words[i] = noise(uint64(i), 2+r.IntN(9))
	}
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(append(b, words[r.IntN(len(words))]...), ' ')
	}
	return b[:n]
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n+8)
	r := rand.NewPCG(seed, 2)
	for i := 0; i < n; i += 8 {
		v := r.Uint64()
		for k := range 8 {
			b[i+k] = byte(v >> (8 * k))
		}
	}
	return b[:n]
}

// sampleDisk has text, noise, zeros that are stored in the source, holes, a
// partial last block and data across block borders.
func sampleDisk() *disk {
	return newDisk(21*mib+700, map[int64][]byte{
		0:                text(1, 3*mib),
		4 * mib:          make([]byte, 2*mib),
		7*mib + 1000:     noise(2, 4*mib),
		14*mib + 5*512:   text(3, 5000),
		15 * mib:         {1},
		21*mib + 700 - 1: {7},
	})
}

func content(t testing.TB, r io.ReaderAt, size int64) []byte {
	t.Helper()
	b := make([]byte, size)
	n, err := r.ReadAt(b, 0)
	if err != io.EOF {
		require.NoError(t, err)
	}
	require.EqualValues(t, size, n)
	return b
}

func fixed(opts ...zvhd2.Option) []zvhd2.Option {
	return append([]zvhd2.Option{zvhd2.WithUUID(testUUID), zvhd2.WithTimestamp(testTime)}, opts...)
}

// encoded encodes a disk with the identity of the tests.
func encoded(t testing.TB, r io.ReaderAt, size int64, opts ...zvhd2.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := zvhd2.Encode(context.Background(), &out, r, size, fixed(opts...)...)
	require.NoError(t, err)
	return out.Bytes()
}

func open(t testing.TB, b []byte, opts ...zvhd2.Option) *zvhd2.Reader {
	t.Helper()
	r, err := zvhd2.NewReader(bytes.NewReader(b), int64(len(b)), opts...)
	require.NoError(t, err)
	return r
}
