package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

// indexTail is what an index segment is filled up with after its first page:
// zeros, as long as no segment has more than 256 entries.
const indexTail = 512<<10 - 4096

// seed adds the reference files, if they are there, and files of our own. They
// go in squeezed: small inputs are mutated where it matters, and fast.
func seed(f *testing.F) {
	f.Helper()
	var files [][]byte
	for _, suffix := range []string{".zvhd2", ".zvhd"} {
		for _, v := range vectortest.WithExt(f, suffix) {
			if len(v.Data) < mib {
				files = append(files, v.Data)
			}
		}
	}
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100), 4 * mib: text(2, 100)})
	files = append(files, encoded(f, d, d.size),
		builder{size: d.size, block: mib, full: true, payload: payloads["many frames"]}.build(f, d),
		builder{size: d.size, block: 2 * mib, zlib: true, payload: zlibPayload}.build(f, d))
	zeros := newDisk(1, nil)
	files = append(files, encoded(f, zeros, zeros.size))
	for _, b := range files {
		s := squeeze(b)
		f.Add(s)
		f.Add(s[:len(s)/2])
	}
}

// squeeze takes the zeros that fill up the index out of a file that has one,
// before the bitmap and the footer. expand puts them back.
func squeeze(b []byte) []byte {
	cut := len(b) - 8192 - indexTail
	if cut < 0 || !bytes.Equal(b[cut:len(b)-8192], make([]byte, indexTail)) {
		return b
	}
	return append(bytes.Clone(b[:cut]), b[len(b)-8192:]...)
}

func expand(b []byte) []byte {
	if len(b) < 4*4096 || b[1] != '2' { // ZVHD has no index
		return b
	}
	cut := len(b) - 8192
	return slices.Concat(b[:cut], make([]byte, indexTail), b[cut:])
}

// fixSums corrects the checksums that a mutation broke, so that the fuzzer gets
// past them.
func fixSums(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= 4096 {
		fixSum(b)
		fixSum(b[len(b)/4096*4096-4096:])
	}
	return b
}

// typed fails unless err is one that a bad file may give.
func typed(t *testing.T, err error) {
	t.Helper()
	var fe *zvhd2.FormatError
	if err != nil && !errors.As(err, &fe) && !errors.Is(err, io.EOF) && !errors.Is(err, errFull) {
		t.Fatalf("untyped error: %v", err)
	}
}

// limited bounds what a tiny file that claims a huge disk may write.
type limited struct{ n int64 }

var errFull = errors.New("full")

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= int64(len(p)); l.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func FuzzOpen(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, fixSums(b), fixSums(expand(b))} {
			r, err := zvhd2.NewReader(bytes.NewReader(b), int64(len(b)))
			typed(t, err)
			if err != nil {
				continue
			}
			n := int64(0)
			for _, err := range r.Blocks() {
				typed(t, err)
				n++
			}
			require.LessOrEqual(t, n, r.Info().StoredBlocks+1)
		}
	})
}

func FuzzRead(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = fixSums(expand(b))
		if r, err := zvhd2.NewReader(bytes.NewReader(b), int64(len(b)), zvhd2.WithCacheSize(0)); err == nil {
			buf := make([]byte, 4096)
			n := 0
			for blk, err := range r.Blocks() {
				if n++; err != nil || n > 4 {
					break
				}
				_, err = r.ReadAt(buf[:min(4096, blk.Length)], blk.Offset)
				typed(t, err)
			}
			typed(t, r.DecodeStream(context.Background(), &limited{64 * mib}, zvhd2.WithWorkers(1)))
		}
		s, err := zvhd2.NewStreamReader(bytes.NewReader(b))
		for err == nil {
			_, _, err = s.Next()
		}
		typed(t, err)
	})
}

func FuzzVerify(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = fixSums(expand(b))
		rep, err := zvhd2.Verify(context.Background(), bytes.NewReader(b), int64(len(b)), zvhd2.WithWorkers(1))
		require.NoError(t, err)
		if r, err := zvhd2.NewReader(bytes.NewReader(b), int64(len(b))); err == nil && rep.OK() {
			typed(t, r.DecodeStream(context.Background(), &limited{16 * mib}, zvhd2.WithWorkers(1)))
		}
	})
}

func FuzzRecover(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b, whole := fixSums(b), fixSums(expand(b))
		var out bytes.Buffer
		rep, err := zvhd2.Recover(context.Background(), &out, bytes.NewReader(b), int64(len(b)), zvhd2.WithWorkers(1))
		typed(t, err)
		if err == nil {
			require.Equal(t, rep.StoredBlocks, open(t, out.Bytes()).Info().StoredBlocks)
		}
		_, err = zvhd2.Optimize(context.Background(), io.Discard, bytes.NewReader(whole), int64(len(whole)), zvhd2.WithWorkers(1))
		typed(t, err)
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint32(100), uint32(3*mib), uint8(1))
	f.Add(noise(1, 5000), uint32(2*mib-10), uint32(0), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, at, tail uint32, level uint8) {
		at, tail = at%(5*mib), tail%(3*mib)
		size := int64(at) + int64(len(b)) + int64(tail)
		if size == 0 {
			return
		}
		data := map[int64][]byte{}
		if len(b) > 0 { // an extent is never empty
			data[int64(at)] = b
		}
		d := newDisk(size, data)
		opt := zvhd2.WithLevel(zvhd2.LevelFastest + zvhd2.Level(level%3))
		serial := encoded(t, d, size, opt, zvhd2.WithWorkers(1))
		require.True(t, bytes.Equal(serial, encoded(t, extents{d}, size, opt, zvhd2.WithWorkers(3))))
		require.True(t, bytes.Equal(content(t, d, size), content(t, open(t, serial), size)))
	})
}
