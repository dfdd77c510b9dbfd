package zvhd2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// pathological returns a valid container that is hard on its readers: n records of
// one page each, as many pages apart as gap says, in an order that shuffle decides:
// ascending, descending, or by a stride. The disk has a stored block every step
// blocks.
func pathological(n, step, gap int64, full bool, shuffle uint8) []byte {
	const block = mib
	payload := zstdFrame(bytes.Repeat([]byte{1}, block))
	blocks := n * step
	segs, bsegs := (n+32767)/32768, (blocks+32767)/32768
	if full {
		segs = bsegs
	}
	records := n * (1 + gap) * 4096
	index := 4096 + records + 4096
	file := make([]byte, index+segs*512<<10+bsegs*4096+4096)
	bitmap := file[index+segs*512<<10:]
	for i := range n {
		at := i
		switch shuffle % 3 {
		case 1:
			at = n - 1 - i
		case 2:
			at = i * 2 % n // even places, then odd ones
			if n%2 == 0 {
				at += i * 2 / n
			}
		}
		off, b := 4096+at*(1+gap)*4096, i*step
		rec := file[off : off+4096]
		copy(rec, "hwstream bg")
		binary.LittleEndian.PutUint32(rec[12:], uint32(len(payload)))
		binary.LittleEndian.PutUint32(rec[16:], uint32(b))
		copy(rec[48:], payload)
		copy(rec[4092:], "end")
		pos := i
		if full {
			pos = b
		}
		e := file[index+pos*16:]
		binary.LittleEndian.PutUint64(e, uint64(off))
		binary.LittleEndian.PutUint32(e[8:], uint32(b))
		binary.LittleEndian.PutUint32(e[12:], 4096)
		bitmap[b/8] |= 1 << (b % 8)
	}
	if full { // entries of zero blocks have their number too
		for b := range blocks {
			binary.LittleEndian.PutUint32(file[index+b*16+8:], uint32(b))
		}
	}
	d := builder{size: blocks * block, block: block, full: full, payload: payloads["one frame"], order: []int64{}}
	foot := d.footer(n)
	copy(file, foot)
	binary.LittleEndian.PutUint32(file[136:], 0)
	fixSum(file)
	copy(file[index-4096:], foot)
	end := file[int64(len(file))-4096:]
	copy(end, foot)
	for off, v := range map[int]int64{96: index, 104: index + segs*512<<10} {
		binary.LittleEndian.PutUint64(end[off:], uint64(v))
	}
	for off, v := range map[int]int64{112: segs * 512 << 10, 116: bsegs * 4096, 120: 512 << 10, 124: 4096, 128: segs, 132: bsegs} {
		binary.LittleEndian.PutUint32(end[off:], uint32(v))
	}
	fixSum(end)
	return file
}

// checkEffort runs everything over a file of n records and bounds the reads of the
// file and the memory allocated.
func checkEffort(t *testing.T, file []byte, n int64) {
	t.Helper()
	size := int64(len(file))
	for name, f := range map[string]func(io.ReaderAt) error{
		"Verify": func(ra io.ReaderAt) error {
			rep, err := zvhd2.Verify(context.Background(), ra, size, zvhd2.WithWorkers(2))
			if err == nil {
				require.Empty(t, rep.Problems)
				require.Equal(t, n, rep.Checked)
			}
			return err
		},
		"Optimize": func(ra io.ReaderAt) error {
			_, err := zvhd2.Optimize(context.Background(), io.Discard, ra, size, zvhd2.WithWorkers(2))
			return err
		},
		"Recover": func(ra io.ReaderAt) error {
			_, err := zvhd2.Recover(context.Background(), io.Discard, ra, size, zvhd2.WithWorkers(2))
			return err
		},
		"Decode": func(ra io.ReaderAt) error {
			r, err := zvhd2.NewReader(ra, size)
			if err != nil {
				return err
			}
			return r.Decode(context.Background(), sparseWriter{discardAt{}}, zvhd2.WithWorkers(2), zvhd2.WithMaxDiskSize(zvhd2.MaxDiskSize))
		},
		"NextData": func(ra io.ReaderAt) error {
			r, err := zvhd2.NewReader(ra, size)
			calls := int64(0)
			for off := int64(0); err == nil; calls++ {
				_, off, err = r.NextData(off)
			}
			require.LessOrEqual(t, calls, n+1)
			if err == io.EOF {
				return nil
			}
			return err
		},
	} {
		c := &counting{r: bytes.NewReader(file)}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, f(c), name)
		runtime.ReadMemStats(&after)
		// The walk of Recover reads every page, and a record's start, end and whole.
		require.LessOrEqual(t, int64(c.reads), size/4096+4*n+40, name)
		require.LessOrEqual(t, c.bytes, 6*size+1<<20, name)
		if !raceEnabled {
			require.LessOrEqual(t, int64(after.TotalAlloc-before.TotalAlloc), 100*mib+8*size, name)
		}
	}
}

// pathologicalTurn lets one input at a time measure what it allocates.
var pathologicalTurn sync.Mutex

// FuzzPathological reads valid files of many records in any order, with bounds on
// reads and memory.
func FuzzPathological(f *testing.F) {
	f.Add(uint16(40), uint8(1), uint8(0), false, uint8(0))
	f.Add(uint16(60), uint8(3), uint8(1), true, uint8(1))
	f.Add(uint16(41), uint8(200), uint8(2), false, uint8(2))
	f.Add(uint16(30), uint8(255), uint8(0), true, uint8(2))
	f.Fuzz(func(t *testing.T, n uint16, step, gap uint8, full bool, shuffle uint8) {
		pathologicalTurn.Lock()
		defer pathologicalTurn.Unlock()
		records := int64(n)%16 + 1 // few, for time
		file := pathological(records, int64(step)+1, int64(gap)%4, full, shuffle)
		checkEffort(t, file, records)
	})
}
