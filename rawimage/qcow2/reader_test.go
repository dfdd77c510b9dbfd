package qcow2_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// tinyDisk is the disk in a tiny image.
func tinyDisk() []byte {
	want := make([]byte, tinySize)
	copy(want, bytes.Repeat([]byte{0xa5}, tinyCluster))
	copy(want[2*tinyCluster:], bytes.Repeat([]byte{0x5a}, tinyCluster))
	return want
}

func TestTiny(t *testing.T) {
	b := tiny(t)
	r, err := newReader(b)
	require.NoError(t, err)
	require.Equal(t, []extent{{0, 512}, {1024, 1536}}, qemutest.Extents(t, r))
	require.NoError(t, iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), tinyDisk()))

	p := make([]byte, 10)
	n, err := r.ReadAt(p, tinySize-4)
	require.Equal(t, 4, n)
	require.ErrorIs(t, err, io.EOF)
	_, err = r.ReadAt(p, tinySize)
	require.ErrorIs(t, err, io.EOF)
	_, err = r.ReadAt(p, -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, _, err = r.NextData(-1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, _, err = r.NextData(math.MaxInt64)
	require.ErrorIs(t, err, io.EOF)
	// A range found once is clipped, not started over.
	start, end, err := r.NextData(1100)
	require.NoError(t, err)
	require.Equal(t, extent{1100, 1536}, extent{start, end})

	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = r.ReadAt(p, 0)
	require.ErrorIs(t, err, qcow2.ErrClosed)
	_, _, err = r.NextData(0)
	require.ErrorIs(t, err, qcow2.ErrClosed)
}

// What is wrong with an image is said by name and place.
func TestDamage(t *testing.T) {
	long := deflated(t, make([]byte, tinyCluster+1))
	short := deflated(t, make([]byte, tinyCluster-1))
	for _, c := range []struct {
		name   string
		change func(b []byte)
		field  string
		offset int64
		is     error
		text   string
	}{
		{"magic", set32(0, 1), "magic", 0, qcow2.ErrDamaged, ""},
		{"version 1", set32(4, 1), "version", 4, qcow2.ErrUnsupported, "QCOW version 1"},
		{"version 4", set32(4, 4), "version", 4, qcow2.ErrUnsupported, "version 4"},
		{"small clusters", set32(20, 8), "cluster_bits", 20, qcow2.ErrDamaged, ""},
		{"large clusters", set32(20, 22), "cluster_bits", 20, qcow2.ErrDamaged, ""},
		{"negative clusters", set32(20, 1<<31), "cluster_bits", 20, qcow2.ErrDamaged, ""},
		{"size 2^63", set64(24, 1<<63), "size", 24, qcow2.ErrDamaged, ""},
		{"size 2^63-1", set64(24, 1<<63-1), "l1_size", 36, qcow2.ErrDamaged, ""},
		{"size 2^64-1", set64(24, 1<<64-1), "size", 24, qcow2.ErrDamaged, ""},
		{"size over L1", set64(24, 33<<10), "l1_size", 36, qcow2.ErrDamaged, "1 entries are less than the 2"},
		{"AES", set32(32, 1), "crypt_method", 32, qcow2.ErrEncrypted, "AES encryption"},
		{"LUKS", set32(32, 2), "crypt_method", 32, qcow2.ErrEncrypted, "LUKS encryption"},
		{"encryption", set32(32, 3), "crypt_method", 32, qcow2.ErrEncrypted, "encryption method 3"},
		{"L1 huge", set32(36, 1<<31), "l1_size", 36, qcow2.ErrDamaged, ""},
		{"L1 unaligned", set64(40, tinyL1+8), "l1_table_offset", 40, qcow2.ErrDamaged, ""},
		{"L1 nowhere", set64(40, 0), "l1_table_offset", 40, qcow2.ErrDamaged, ""},
		{"L1 beyond", set64(40, tinyEnd), "l1_table_offset", 40, qcow2.ErrTruncated, ""},
		{"L1 at 2^63", set64(40, 1<<63), "l1_table_offset", 40, qcow2.ErrDamaged, ""},
		{"L1 at 2^63-512", set64(40, 1<<63-512), "l1_table_offset", 40, qcow2.ErrDamaged, ""},
		{"refcount unaligned", set64(48, 1), "refcount_table_offset", 48, qcow2.ErrDamaged, ""},
		{"snapshots many", set32(60, 65537), "nb_snapshots", 60, qcow2.ErrDamaged, ""},
		{"snapshots unaligned", func(b []byte) { be32(b, 60, 1); be64(b, 64, 7) }, "snapshots_offset", 64, qcow2.ErrDamaged, ""},
		{"snapshots beyond", func(b []byte) { be32(b, 60, 1); be64(b, 64, tinyEnd) }, "snapshots_offset", 64, qcow2.ErrTruncated, ""},
		{"snapshots cut", func(b []byte) { be32(b, 60, 20000); be64(b, 64, tinyL1) }, "snapshot", -1, qcow2.ErrDamaged, ""},
		{"unknown feature", set64(72, 1<<5|1<<63), "incompatible_features", 72, qcow2.ErrUnsupported, "incompatible feature bit 5, incompatible feature bit 63"},
		{"named feature", func(b []byte) {
			be64(b, 72, 1<<7)
			extension(b, 0x6803f857, "\x00\x07teleport\x1b"+strings.Repeat("\x00", 37))
		}, "incompatible_features", 72, qcow2.ErrUnsupported, `"teleport?" (incompatible feature bit 7)`},
		{"refcount order", set32(96, 7), "refcount_order", 96, qcow2.ErrDamaged, ""},
		{"header short", set32(100, 96), "header_length", 100, qcow2.ErrDamaged, ""},
		{"header long", set32(100, 1<<31), "header_length", 100, qcow2.ErrDamaged, ""},
		{"compression unmarked", func(b []byte) { b[104] = 1 }, "compression_type", 104, qcow2.ErrDamaged, ""},
		{"compression missing", set64(72, 8), "compression_type", 104, qcow2.ErrDamaged, ""},
		{"compression unknown", func(b []byte) { be64(b, 72, 8); b[104] = 2 }, "compression_type", 104, qcow2.ErrUnsupported, "type 2"},
		{"subclusters of 16", set64(72, 16), "cluster_bits", 20, qcow2.ErrDamaged, ""},
		{"extension long", func(b []byte) { be32(b, 112, 7); be32(b, 116, 1<<31) }, "header extension length", 116, qcow2.ErrDamaged, ""},
		{"format long", func(b []byte) { extension(b, 0xe2792aca, strings.Repeat("x", 20)) }, "backing format name", 116, qcow2.ErrDamaged, ""},
		{"backing name beyond", set64(8, 513), "backing_file_offset", 8, qcow2.ErrDamaged, ""},
		{"backing name huge", set64(8, 1<<63), "backing_file_offset", 8, qcow2.ErrDamaged, ""},
		{"backing name long", func(b []byte) { be64(b, 8, 300); be32(b, 16, 213) }, "backing_file_size", 16, qcow2.ErrDamaged, ""},
		{"backing name with zero", func(b []byte) { be64(b, 8, 300); be32(b, 16, 3) }, "backing file name", 300, qcow2.ErrDamaged, ""},
		{"L2 beyond", set64(tinyL1, tinyEnd), "L1 entry", tinyL1, qcow2.ErrTruncated, "beyond the end"},
		{"L2 at 2^56", set64(tinyL1, 1<<56-512), "L1 entry", tinyL1, qcow2.ErrTruncated, "beyond the end"},
		{"L2 is L1", set64(tinyL1, tinyL1), "L1 entry", tinyL1, qcow2.ErrDamaged, "in the L1 table"},
		{"L2 twice", func(b []byte) { be64(b, 24, 40<<10); be32(b, 36, 2); be64(b, tinyL1+8, tinyL2) }, "L1 entry", tinyL1 + 8, qcow2.ErrDamaged, "entry 0 already"},
		{"cluster beyond", set64(tinyL2, tinyEnd), "L2 entry", tinyL2, qcow2.ErrTruncated, "beyond the end"},
		{"zero cluster of version 2", func(b []byte) { be32(b, 4, 2); be32(b, 72, 0) }, "L2 entry", tinyL2 + 8, qcow2.ErrDamaged, "version 2"},
		{"compressed beyond", set64(tinyL2+16, flagCompressed|tinyEnd), "L2 entry", tinyL2 + 16, qcow2.ErrTruncated, "beyond the end"},
		{"compressed far beyond", set64(tinyL2+16, flagCompressed|1<<60), "L2 entry", tinyL2 + 16, qcow2.ErrTruncated, "beyond the end"},
		{"compressed to more", func(b []byte) { copy(b[tinyPacked:], long) }, "compressed cluster", tinyPacked, qcow2.ErrDamaged, "more than a cluster"},
		{"compressed to less", func(b []byte) { copy(b[tinyPacked:], short) }, "compressed cluster", tinyPacked, qcow2.ErrDamaged, "less than a cluster"},
		{"compressed noise", func(b []byte) { copy(b[tinyPacked:], "\xff\xff\xff\xff") }, "compressed cluster", tinyPacked, qcow2.ErrDamaged, ""},
		{"compressed with data file", func(b []byte) {
			dataFile("d")(b)
			be64(b, tinyL2, flagCompressed|tinyPacked)
		}, "L2 entry", tinyL2, qcow2.ErrDamaged, "external data file"},
		{"data file, wrong place", func(b []byte) {
			dataFile("d")(b)
			be64(b, tinyL2, tinyCluster|flagCopied)
		}, "L2 entry", tinyL2, qcow2.ErrDamaged, "not at its place"},
		{"raw data file and backing", func(b []byte) {
			backing("x", "")(b)
			be64(b, 72, 4)
			be64(b, 88, 2)
		}, "autoclear_features", 88, qcow2.ErrDamaged, "backing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := mapFS(map[string][]byte{"d": make([]byte, 4096)})
			r, err := newReader(tiny(t, c.change), qcow2.WithFS(fsys))
			if err == nil {
				_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
			}
			require.ErrorIs(t, err, c.is)
			var fe *qcow2.FormatError
			require.ErrorAs(t, err, &fe)
			if c.offset >= 0 {
				require.Equal(t, c.field, fe.Field)
				require.Equal(t, c.offset, fe.Offset)
			}
			require.Contains(t, err.Error(), c.text)
			require.True(t, strings.HasPrefix(err.Error(), "qcow2: "), err.Error())
			require.NotContains(t, err.Error()[7:], "qcow2: ")
		})
	}
}

// A cluster that does not start at a boundary, which takes larger ones than
// tiny images have.
func TestUnaligned(t *testing.T) {
	const cs = 4096
	b := make([]byte, 5*cs)
	copy(b, tiny(t)[:112])
	be32(b, 20, 12)
	be64(b, 40, cs)
	be64(b, cs, 2*cs)
	be64(b, 2*cs, 3*cs+512)
	r, err := newReader(b)
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, qcow2.ErrDamaged)
	require.ErrorContains(t, err, "L2 entry at offset 8192: cluster at 0x3200 is not at a cluster boundary")
	_, _, err = r.NextData(0)
	require.ErrorIs(t, err, qcow2.ErrDamaged)
	be64(b, cs, 2*cs+512)
	_, err = newReader(b)
	require.ErrorContains(t, err, "L1 entry at offset 4096: L2 table at 0x2200 is not at a cluster boundary")
}

// Extended L2 entries that contradict themselves.
func TestSubclusterDamage(t *testing.T) {
	const cs = 16384
	for _, c := range []struct {
		name          string
		entry, bitmap uint64
		text          string
	}{
		{"allocated and zero", 3 * cs, 1<<32 | 1, "both allocated and zero"},
		{"allocated nowhere", 0, 1, "without a place"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := make([]byte, 4*cs)
			copy(b, tiny(t)[:112])
			be32(b, 20, 14)
			be64(b, 72, 16)
			be64(b, 40, cs)
			be64(b, cs, 2*cs)
			be64(b, 2*cs, c.entry)
			be64(b, 2*cs+8, c.bitmap)
			r, err := newReader(b)
			require.NoError(t, err)
			_, err = r.ReadAt(make([]byte, 1), 0)
			var fe *qcow2.FormatError
			require.ErrorAs(t, err, &fe)
			require.Equal(t, "subcluster bitmap", fe.Field)
			require.EqualValues(t, 2*cs+8, fe.Offset)
			require.ErrorContains(t, err, c.text)
		})
	}
}

// A zstd cluster expands to a cluster, whatever is behind it.
func TestZstdClusters(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	frame := func(n int) string { return string(enc.EncodeAll(make([]byte, n), nil)) }
	bomb := frame(1 << 28)
	for _, c := range []struct{ name, data, text string }{
		{"exact", frame(512), ""},
		{"followed by another", frame(512) + frame(512), ""},
		{"followed by noise", frame(512) + "\xff\xff\xff", ""},
		{"two frames", frame(200) + frame(312), ""},
		{"more", frame(513), "more than a cluster"},
		{"second too long", frame(200) + frame(313), "more than a cluster"},
		{"much more", bomb[:min(len(bomb), 400)], ""},
		{"less", frame(511), "less than a cluster"},
		{"noise", "\xff\xff\xff\xff", "frame header"},
		{"skippable", "\x50\x2a\x4d\x18\x00\x00\x00\x00" + frame(512), "without data"},
		{"cut block", "\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tiny(t, func(b []byte) {
				be64(b, 72, 8)
				b[104] = 1
				clear(b[tinyPacked:])
				copy(b[tinyPacked:], c.data)
			})
			r, err := newReader(b)
			require.NoError(t, err)
			got := bytes.Repeat([]byte{1}, tinyCluster)
			_, err = r.ReadAt(got, 2*tinyCluster)
			if c.name == "much more" {
				require.ErrorIs(t, err, qcow2.ErrDamaged)
				return
			}
			if c.text != "" {
				require.ErrorIs(t, err, qcow2.ErrDamaged)
				require.ErrorContains(t, err, c.text)
				return
			}
			require.NoError(t, err)
			require.Equal(t, make([]byte, tinyCluster), got)
		})
	}
}

// zeros is a file of any size that takes no memory, with a start.
type zeros struct{ start []byte }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.start)) {
		copy(p, z.start[off:])
	}
	return len(p), nil
}

// Sizes in a header allocate nothing that the file has not got.
func TestMemory(t *testing.T) {
	head := tiny(t, set32(20, 21), set64(24, 1<<61), set32(36, 4<<20), set64(40, 2<<20), set32(60, 65536), set64(64, 2<<20))[:112]
	for _, c := range []struct {
		name  string
		size  int64
		limit uint64
	}{
		{"short file", 3 << 20, 8 << 20},
		{"long file", 1 << 40, 48 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := qcow2.NewReader(zeros{head}, c.size)
			if err == nil {
				_, _, err = r.NextData(0)
				require.ErrorIs(t, err, io.EOF)
				_, err = r.ReadAt(make([]byte, 4096), 1<<60)
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, qcow2.ErrTruncated)
			}
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, c.limit)
		})
	}
}

// Files that end anywhere fail with a typed error or give the disk.
func TestTruncated(t *testing.T) {
	whole := tiny(t)
	for n := range len(whole) {
		r, err := newReader(whole[:n])
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
		}
		if n > tinyPacked {
			continue // the end of the compressed sector may be missing
		}
		var fe *qcow2.FormatError
		require.ErrorAs(t, err, &fe, "%d bytes", n)
	}
	// A file that is cut inside of its last cluster.
	for _, end := range []int{tinyData + 100, tinyData + 511} {
		r, err := newReader(tiny(t, set64(tinyL2+16, 0))[:end])
		require.NoError(t, err)
		_, err = r.ReadAt(make([]byte, 512), 0)
		require.ErrorIs(t, err, qcow2.ErrTruncated)
	}
}

// A source that fails is an I/O error, not a wrong image, and not remembered.
func TestSourceErrors(t *testing.T) {
	b := tiny(t)
	broken := errors.New("broken")
	src := &faulty{data: b}
	r, err := qcow2.NewReader(src, int64(len(b)))
	require.NoError(t, err)
	src.err = broken
	for _, off := range []int64{0, 1030} {
		_, err = r.ReadAt(make([]byte, 10), off)
		require.ErrorIs(t, err, broken)
		require.NotErrorIs(t, err, qcow2.ErrDamaged)
	}
	_, _, err = r.NextData(0)
	require.ErrorIs(t, err, broken)
	src.err = nil
	require.NoError(t, iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), tinyDisk()))

	_, err = qcow2.NewReader(&faulty{data: b[:300]}, int64(len(b)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotErrorIs(t, err, qcow2.ErrDamaged)
	_, err = qcow2.NewReader(src, -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

type faulty struct {
	data []byte
	err  error
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// Many readers with caches that hold hardly anything see the same disk.
func TestConcurrent(t *testing.T) {
	for _, kind := range []string{"zlib", "zstd"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			raw := pattern().Write(t, dir)
			qemutest.Img(t, dir, "convert", "-c", "-O", "qcow2", "-o", "compression_type="+kind, raw, "disk.qcow2")
			want, err := os.ReadFile(raw)
			require.NoError(t, err)
			r := open(t, filepath.Join(dir, "disk.qcow2"), qcow2.WithCacheSize(0))
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					p := make([]byte, 20000+g*1000)
					for off := int64(g) * 777; off < r.Size(); off += int64(len(p)) / 2 {
						n, err := r.ReadAt(p, off)
						if err != nil && err != io.EOF {
							t.Errorf("read at %d: %v", off, err)
							return
						}
						if !bytes.Equal(want[off:off+int64(n)], p[:n]) {
							t.Errorf("content differs at %d", off)
						}
						if _, _, err := r.NextData(off); err != nil && err != io.EOF {
							t.Errorf("data at %d: %v", off, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range [][]qcow2.Option{
		{qcow2.WithDir("")},
		{qcow2.WithFS(nil)},
		{qcow2.WithCacheSize(-1)},
		{qcow2.WithCacheSize(1<<30 + 1)},
		{qcow2.WithDir("."), qcow2.WithFS(mapFS(nil))},
		{qcow2.WithDir("no such directory")},
	} {
		_, err := newReader(tiny(t), opts...)
		require.ErrorContains(t, err, "qcow2: With")
	}
}
