package zvhd2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// counting counts the reads that reach the container.
type counting struct {
	r     io.ReaderAt
	mu    sync.Mutex // guards what follows
	reads int
	bytes int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	c.reads++
	c.bytes += int64(len(p))
	c.mu.Unlock()
	return c.r.ReadAt(p, off)
}

func TestReaderReadsLittle(t *testing.T) {
	t.Parallel()
	parts := map[int64][]byte{}
	for i := range int64(64) {
		parts[i<<34] = text(uint64(i), 1000)
	}
	d := newDisk(1<<40, parts)
	file := encoded(t, extents{d}, d.size)
	c := &counting{r: bytes.NewReader(file)}
	r, err := zvhd2.NewReader(c, int64(len(file)))
	require.NoError(t, err)
	require.Equal(t, 3, c.reads, "header, index footer, bitmap")
	require.EqualValues(t, 4096+4096+16*4096, c.bytes)
	got := make([]byte, 1000)
	_, err = r.ReadAt(got, 9<<34)
	require.NoError(t, err)
	require.Equal(t, parts[9<<34], got)
	require.Equal(t, 5, c.reads, "index and record")
	require.EqualValues(t, 4096+4096+16*4096+64*16+4096, c.bytes)
	_, err = r.ReadAt(got, 9<<34+500)
	require.NoError(t, err)
	_, err = r.ReadAt(got, 5<<30)
	require.NoError(t, err)
	require.Equal(t, 5, c.reads, "cached block and zeros")
}

func TestReaderConcurrent(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	r := open(t, encoded(t, d, d.size), zvhd2.WithCacheSize(4*mib))
	want := content(t, d, d.size)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			buf := make([]byte, 3*mib)
			for range 20 {
				off := rnd.Int64N(d.size)
				n, err := r.ReadAt(buf[:min(int64(len(buf)), d.size-off)], off)
				if err != nil || !bytes.Equal(want[off:off+int64(n)], buf[:n]) {
					t.Errorf("read at %d: %v", off, err)
				}
			}
		}()
	}
	wg.Wait()
}

func TestReaderNextData(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	r := open(t, encoded(t, d, d.size))
	var got [][2]int64
	for off := int64(0); ; {
		s, e, err := r.NextData(off)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		got = append(got, [2]int64{s, e})
		off = e
	}
	require.Equal(t, [][2]int64{{0, 4 * mib}, {6 * mib, 12 * mib}, {14 * mib, 16 * mib}, {20 * mib, r.Size()}}, got)
	s, e, err := r.NextData(7 * mib)
	require.NoError(t, err)
	require.Equal(t, [2]int64{7 * mib, 12 * mib}, [2]int64{s, e})
	_, _, err = r.NextData(r.Size())
	require.Equal(t, io.EOF, err)
	_, _, err = r.NextData(-1)
	require.Error(t, err)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	for range r.Blocks() {
		break
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	name := filepath.Join(t.TempDir(), "a.zvhd2")
	require.NoError(t, os.WriteFile(name, encoded(t, d, d.size), 0o600))
	r, err := zvhd2.Open(name)
	require.NoError(t, err)
	require.Equal(t, int64(mib*1024), r.Info().VirtualSize)
	require.Equal(t, "zstd", r.Info().Compression)
	require.NoError(t, r.Close())
	_, err = zvhd2.Open(name + ".no")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = zvhd2.Open(t.TempDir())
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	_, err = zvhd2.Open(name)
	require.ErrorIs(t, err, zvhd2.ErrTruncated)
}

// builder writes foreign containers: any block size, method and index, with
// payloads as given. It shares nothing with the package's writer.
type builder struct {
	size, block int64
	full, zlib  bool
	payload     func(block int64, raw []byte) []byte
	order       []int64 // of stored blocks in the file; default ascending
	waste       int     // bytes after each record
}

// footer returns the header, with the number of stored blocks filled in.
func (b builder) footer(stored int64) []byte {
	foot := make([]byte, 4096)
	put32 := func(off int, v int64) { binary.LittleEndian.PutUint32(foot[off:], uint32(v)) }
	put64 := func(off int, v int64) { binary.LittleEndian.PutUint64(foot[off:], uint64(v)) }
	copy(foot, "z2strm")
	put32(8, 2)
	put32(12, 0x10000)
	put64(16, -1)
	copy(foot[28:], "tap")
	put32(32, 0x10004)
	put64(40, b.size)
	put64(48, (b.size+1<<30-1)>>30<<30)
	sectors, spt := b.size/512, int64(17)
	heads := max(4, (sectors/17+1023)/1024)
	if heads > 16 || sectors/17 >= heads*1024 {
		spt, heads = 31, 16
		if sectors/31 >= 16*1024 {
			spt = 63
		}
	}
	put32(56, sectors/spt/heads<<16|heads<<8|spt)
	put32(60, 4)
	foot[87] = 1
	put32(88, b.block)
	put32(92, (b.size+b.block-1)/b.block)
	if b.full {
		foot[140] = 1
	}
	if !b.zlib {
		foot[141] = 1
	}
	put32(136, stored)
	fixSum(foot)
	return foot
}

func (b builder) build(t testing.TB, d *disk) []byte {
	t.Helper()
	n := (b.size + b.block - 1) / b.block
	foot := b.footer(0)
	put32 := func(off int, v int64) { binary.LittleEndian.PutUint32(foot[off:], uint32(v)) }
	put64 := func(off int, v int64) { binary.LittleEndian.PutUint64(foot[off:], uint64(v)) }
	out := bytes.Clone(foot)
	index := make([]byte, 512<<10)
	bitmap := make([]byte, 4096)
	stored := int64(0)
	raws := map[int64][]byte{}
	var order []int64
	for blk := range n {
		raw := make([]byte, b.block)
		_, _ = d.ReadAt(raw, blk*b.block)
		if !bytes.Equal(raw, make([]byte, b.block)) {
			raws[blk] = raw
			order = append(order, blk)
		}
	}
	if b.order != nil {
		order = b.order
	}
	for _, blk := range order {
		p := b.payload(blk, raws[blk])
		length := (52 + len(p) + 4095) / 4096 * 4096
		rec := make([]byte, length)
		copy(rec, "hwstream bg")
		binary.LittleEndian.PutUint32(rec[12:], uint32(len(p)))
		binary.LittleEndian.PutUint32(rec[16:], uint32(blk))
		copy(rec[48:], p)
		copy(rec[length-4:], "end")
		pos := blk
		if !b.full {
			pos = 0
			for _, o := range order {
				if o < blk {
					pos++
				}
			}
		}
		e := index[16*pos:]
		binary.LittleEndian.PutUint64(e, uint64(len(out)))
		binary.LittleEndian.PutUint32(e[8:], uint32(blk))
		binary.LittleEndian.PutUint32(e[12:], uint32(length))
		bitmap[blk/8] |= 1 << (blk % 8)
		stored++
		out = append(out, rec...)
		out = append(out, noise(uint64(blk), b.waste)...)
	}
	put32(136, stored) // the checksum stays stale
	out = append(out, foot...)
	put64(96, int64(len(out)))
	put64(104, int64(len(out)+len(index)))
	put32(112, int64(len(index)))
	put32(116, 4096)
	put32(120, 512<<10)
	put32(124, 4096)
	put32(128, 1)
	put32(132, 1)
	fixSum(foot)
	return append(append(append(out, index...), bitmap...), foot...)
}

func fixSum(b []byte) {
	var sum uint32
	for i, c := range b[:512] {
		if i < 64 || i > 67 {
			sum += uint32(c)
		}
	}
	binary.LittleEndian.PutUint32(b[64:], ^sum)
}

// payloads of every sort that is to be read.
var payloads = map[string]func(int64, []byte) []byte{
	"one frame": func(_ int64, raw []byte) []byte { return zstdFrame(raw) },
	"many frames": func(_ int64, raw []byte) []byte {
		var p []byte
		for i := 0; i < len(raw); i += mib / 2 {
			p = append(p, zstdFrame(raw[i:i+mib/2])...)
		}
		return p
	},
	"no content size": func(_ int64, raw []byte) []byte {
		var b bytes.Buffer
		w, _ := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		_, _ = w.Write(raw[:1000])
		_ = w.Flush()
		_, _ = w.Write(raw[1000:])
		_ = w.Close()
		return b.Bytes()
	},
}

func zstdFrame(b []byte) []byte {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	return w.EncodeAll(b, nil)
}

func zlibPayload(_ int64, raw []byte) []byte {
	b := bytes.NewBuffer([]byte{0x78, 0x01})
	w, _ := flate.NewWriter(b, 1)
	_, _ = w.Write(raw)
	_ = w.Flush()
	return b.Bytes()
}

func TestReaderForeign(t *testing.T) {
	t.Parallel()
	for name, p := range payloads {
		testForeign(t, name, builder{block: 2 * mib, payload: p})
	}
	testForeign(t, "zstd", builder{block: 2 * mib, full: true, payload: payloads["one frame"]})
	testForeign(t, "zlib", builder{block: 2 * mib, zlib: true, payload: zlibPayload})
	testForeign(t, "zstd", builder{block: mib, full: true, payload: payloads["many frames"]})
	testForeign(t, "zlib", builder{block: 4 * mib, full: true, zlib: true, payload: zlibPayload})
	if !raceEnabled { // for time
		testForeign(t, "zstd", builder{block: 32 * mib, payload: payloads["many frames"]})
	}
}

func testForeign(t *testing.T, name string, b builder) {
	d := newDisk(39*mib+512, map[int64][]byte{0: text(1, mib+5), 5 * mib: text(2, 100), 36 * mib: text(3, 3*mib+512)})
	b.size = d.size
	file := b.build(t, d)
	want := content(t, d, d.size)
	r := open(t, file)
	require.Equal(t, b.block, r.Info().BlockSize)
	require.True(t, bytes.Equal(want, content(t, r, d.size)), "%s, block size %d, full %v", name, b.block, b.full)

	ctx := context.Background()
	rep, err := zvhd2.Verify(ctx, bytes.NewReader(file), int64(len(file)), zvhd2.WithReference(d, d.size))
	require.NoError(t, err)
	require.Empty(t, rep.Problems)
	require.Len(t, rep.Notes, 1, "the stale checksum")
	for _, f := range []func(io.Writer) error{
		func(w io.Writer) error {
			_, err := zvhd2.Optimize(ctx, w, bytes.NewReader(file), int64(len(file)))
			return err
		},
		func(w io.Writer) error {
			rep, err := zvhd2.Recover(ctx, w, bytes.NewReader(file), int64(len(file)))
			require.True(t, rep == nil || rep.Complete())
			return err
		},
	} {
		var out bytes.Buffer
		require.NoError(t, f(&out))
		r := open(t, out.Bytes())
		require.EqualValues(t, 2*mib, r.Info().BlockSize)
		require.True(t, bytes.Equal(want, content(t, r, d.size)))
	}
}

func TestReaderPayloadBounds(t *testing.T) {
	t.Parallel()
	d := newDisk(4*mib, map[int64][]byte{0: text(1, 4*mib)})
	for name, b := range map[string]builder{
		"zstd too long":   {payload: func(_ int64, raw []byte) []byte { return zstdFrame(append(bytes.Clone(raw), 1)) }},
		"zstd too short":  {payload: func(_ int64, raw []byte) []byte { return zstdFrame(raw[1:]) }},
		"zstd two blocks": {payload: func(_ int64, raw []byte) []byte { return append(zstdFrame(raw), zstdFrame(raw)...) }},
		"zstd rubbish":    {payload: func(_ int64, raw []byte) []byte { return append(zstdFrame(raw), 1, 2, 3, 4, 5) }},
		"zlib too long":   {zlib: true, payload: func(_ int64, raw []byte) []byte { return zlibPayload(0, append(bytes.Clone(raw), 1)) }},
		"zlib too short":  {zlib: true, payload: func(_ int64, raw []byte) []byte { return zlibPayload(0, raw[1:]) }},
	} {
		b.size, b.block = d.size, 2*mib
		r := open(t, b.build(t, d))
		_, err := r.ReadAt(make([]byte, 10), 2*mib)
		require.ErrorIs(t, err, zvhd2.ErrDamaged, name)
		var fe *zvhd2.FormatError
		require.ErrorAs(t, err, &fe)
		require.EqualValues(t, 1, fe.Block)
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func TestIOErrorStaysOne(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, err := zvhd2.NewReader(brokenReader{}, 1<<20)
	require.ErrorIs(t, err, errBroken)
	var fe *zvhd2.FormatError
	require.False(t, errors.As(err, &fe))
	_, err = zvhd2.Verify(ctx, brokenReader{}, 1<<20)
	require.ErrorIs(t, err, errBroken)
	_, err = zvhd2.Optimize(ctx, io.Discard, brokenReader{}, 1<<20)
	require.ErrorIs(t, err, errBroken)
	_, err = zvhd2.Recover(ctx, io.Discard, brokenReader{}, 1<<20)
	require.ErrorIs(t, err, errBroken)
}
