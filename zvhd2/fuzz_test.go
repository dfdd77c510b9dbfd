package zvhd2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// seed adds the reference files, if they are there, and files of our own.
func seed(f *testing.F) {
	f.Helper()
	for _, suffix := range []string{".zvhd2", ".zvhd"} {
		for _, v := range vectors(f, suffix) {
			if len(v.data) < mib {
				f.Add(v.data)
				f.Add(v.data[:len(v.data)/2])
			}
		}
	}
	d := newDisk(5*mib, map[int64][]byte{0: text(1, 100), 4 * mib: text(2, 100)})
	f.Add(encoded(f, d, d.size))
	zeros := newDisk(1, nil)
	f.Add(encoded(f, zeros, zeros.size))
}

// mend puts right the checksums that a mutation broke, so that the fuzzer gets
// past them.
func mend(b []byte) []byte {
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
		for _, b := range [][]byte{b, mend(b)} {
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
		b = mend(b)
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
			typed(t, zvhd2.DecodeTo(context.Background(), &limited{64 * mib}, r, zvhd2.WithWorkers(1)))
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
		b = mend(b)
		rep, err := zvhd2.Verify(context.Background(), bytes.NewReader(b), int64(len(b)), zvhd2.WithWorkers(1))
		require.NoError(t, err)
		if r, err := zvhd2.NewReader(bytes.NewReader(b), int64(len(b))); err == nil && rep.OK() {
			typed(t, zvhd2.DecodeTo(context.Background(), &limited{16 * mib}, r, zvhd2.WithWorkers(1)))
		}
	})
}

func FuzzRecover(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = mend(b)
		var out bytes.Buffer
		rep, err := zvhd2.Recover(context.Background(), &out, bytes.NewReader(b), int64(len(b)), zvhd2.WithWorkers(1))
		typed(t, err)
		if err == nil {
			require.Equal(t, rep.StoredBlocks, open(t, out.Bytes()).Info().StoredBlocks)
		}
		_, err = zvhd2.Optimize(context.Background(), io.Discard, bytes.NewReader(b), int64(len(b)), zvhd2.WithWorkers(1))
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
		opt := zvhd2.WithLevel(zvhd2.Fastest + zvhd2.Level(level%3))
		serial := encoded(t, d, size, opt, zvhd2.WithWorkers(1))
		require.True(t, bytes.Equal(serial, encoded(t, extents{d}, size, opt, zvhd2.WithWorkers(3))))
		require.True(t, bytes.Equal(content(t, d, size), content(t, open(t, serial), size)))
	})
}
