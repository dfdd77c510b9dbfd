package zvhd2_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	r := open(t, file)
	want := content(t, r, r.Size())
	for _, workers := range []int{1, 4} {
		name := filepath.Join(t.TempDir(), "raw")
		require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte{0xee}, 30*mib), 0o600))
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, r.Decode(ctx, f, zvhd2.WithWorkers(workers)))
		require.NoError(t, f.Close())
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		var out bytes.Buffer
		require.NoError(t, r.DecodeStream(ctx, &out, zvhd2.WithWorkers(workers)))
		require.True(t, bytes.Equal(want, out.Bytes()))
	}
}

// plainWriterAt has neither Stat nor Truncate, and old content.
type plainWriterAt struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (p *plainWriterAt) WriteAt(b []byte, off int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return copy(p.b[off:], b), nil
}

func TestDecodeToDeviceWritesZeros(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	r := open(t, encoded(t, d, d.size))
	w := &plainWriterAt{b: bytes.Repeat([]byte{0xee}, int(r.Size()))}
	var last zvhd2.Progress
	require.NoError(t, r.Decode(context.Background(), w, zvhd2.WithProgress(func(p zvhd2.Progress) { last = p })))
	require.True(t, bytes.Equal(content(t, r, r.Size()), w.b))
	require.Equal(t, r.Size(), last.Done)
	require.Equal(t, r.Size(), last.Written)
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	d := sampleDisk()
	file := encoded(t, d, d.size)
	file[4096+48] ^= 0x55
	r := open(t, file)
	var fe *zvhd2.FormatError
	for _, err := range []error{
		r.Decode(ctx, &plainWriterAt{b: make([]byte, r.Size())}),
		r.DecodeStream(ctx, io.Discard),
	} {
		require.ErrorIs(t, err, zvhd2.ErrDamaged)
		require.ErrorAs(t, err, &fe)
		require.EqualValues(t, 0, fe.Block)
		require.EqualValues(t, 4096+48, fe.Offset)
	}
	cancel()
	require.ErrorIs(t, r.DecodeStream(ctx, io.Discard), context.Canceled)
	require.ErrorIs(t, r.Decode(ctx, &plainWriterAt{b: make([]byte, r.Size())}), context.Canceled)
}

func TestStreamVectors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, v := range vectortest.All(t) {
		t.Run(v.File, func(t *testing.T) {
			s, err := zvhd2.NewStreamReader(iotest.OneByteReader(bytes.NewReader(v.Data[:4096])))
			require.NoError(t, err)
			require.Equal(t, v.Size, s.Size())
			require.Equal(t, strings.TrimPrefix(filepath.Ext(v.File), "."), s.Format())
			if info := s.Info(); s.Format() == "zvhd2" {
				// Everything except what only the end of the file says.
				r, err := zvhd2.NewReader(bytes.NewReader(v.Data), int64(len(v.Data)))
				require.NoError(t, err)
				want := r.Info()
				want.FileSize, want.StoredBlocks = 0, 0
				require.Equal(t, want, info)
			} else {
				require.Equal(t, v.Size, info.Size)
				require.Equal(t, "zlib", info.Compression)
			}
			if v.Size > 1<<30 {
				return
			}
			s, err = zvhd2.NewStreamReader(iotest.HalfReader(bytes.NewReader(v.Data)))
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, s.DecodeStream(ctx, &out))
			v.Check(t, bytes.NewReader(out.Bytes()))
			s, err = zvhd2.NewStreamReader(bytes.NewReader(v.Data))
			require.NoError(t, err)
			f, err := os.Create(filepath.Join(t.TempDir(), "raw"))
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, s.Decode(ctx, f))
			v.Check(t, f)
		})
	}
}

func TestStreamCut(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.WithExt(t, ".zvhd") {
		for _, n := range []int{0, 100, 4096, 5000, len(v.Data) - 4096, len(v.Data) - 1} {
			s, err := zvhd2.NewStreamReader(bytes.NewReader(v.Data[:n]))
			for err == nil {
				_, _, err = s.Next()
			}
			require.ErrorIs(t, err, zvhd2.ErrTruncated, "%s cut at %d", v.File, n)
			if s != nil {
				_, _, again := s.Next()
				require.Equal(t, err, again)
			}
		}
	}
}
