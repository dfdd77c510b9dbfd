package zvhd2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/zvhd2"
)

func optimized(t testing.TB, file []byte, opts ...zvhd2.Option) ([]byte, *zvhd2.OptimizeReport) {
	t.Helper()
	var out bytes.Buffer
	rep, err := zvhd2.Optimize(context.Background(), &out, bytes.NewReader(file), int64(len(file)), opts...)
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), rep.FileSize)
	require.Equal(t, int64(len(file)-out.Len()), rep.SavedBytes)
	return out.Bytes(), rep
}

func TestOptimizeVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.All(t) {
		t.Run(v.File, func(t *testing.T) {
			out, rep := optimized(t, v.Data)
			v.Check(t, open(t, out))
			check := verify(t, out)
			require.Empty(t, check.Problems)
			require.Empty(t, check.Notes)
			require.EqualValues(t, len(v.Blocks), rep.StoredBlocks)
			switch v.File {
			case "gaps.zvhd2", "gaps-fullindex.zvhd2", "small.zvhd2", "twoseg.zvhd2":
				require.Zero(t, rep.StoredBlocks-rep.Levels.Kept, "payloads by the vendor are canonical")
			case "gaps-zlib.zvhd2", "gaps.zvhd":
				require.Zero(t, rep.Levels.Kept)
			}
			again, _ := optimized(t, out)
			require.True(t, bytes.Equal(out, again), "canonical stays as it is")
			_, rep = optimized(t, out, zvhd2.WithLevel(zvhd2.LevelFastest))
			require.Zero(t, rep.Levels.Kept)
		})
	}
}

func TestOptimizeDropsZerosAndWaste(t *testing.T) {
	t.Parallel()
	d := newDisk(8*mib, map[int64][]byte{0: text(1, 8*mib)})
	zero := make([]byte, 2*mib)
	b := builder{size: d.size, block: 2 * mib, order: []int64{3, 1, 0, 2}, waste: 8192, payload: func(n int64, raw []byte) []byte {
		if n == 2 {
			raw = zero
		}
		return zstdFrame(raw) // with checksum, so not canonical
	}}
	file := b.build(t, d)
	out, rep := optimized(t, file)
	require.EqualValues(t, 1, rep.DroppedZeros)
	require.EqualValues(t, 3, rep.StoredBlocks-rep.Levels.Kept)
	require.Equal(t, []string{
		"stale checksum after the records renewed", "blocks put in ascending order", "32768 bytes between the records dropped",
		"3 blocks recompressed (3 default)", "1 stored blocks of zeros dropped",
	}, rep.Changes)
	checkContainer(t, out, d.size, [16]byte{}, 0, uint64(d.size/512/17/4)<<16|4<<8|17)
	want := content(t, d, d.size)
	clear(want[4*mib : 6*mib])
	require.True(t, bytes.Equal(want, content(t, open(t, out), d.size)))
}

func TestRecoverCutAnywhere(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	want := content(t, d, d.size)
	var blocks []zvhd2.Block
	for b, err := range open(t, file).Blocks() {
		require.NoError(t, err)
		blocks = append(blocks, b)
	}
	cuts := []int64{4096, 4097, int64(len(file)) - 1, int64(len(file)) - 4096, int64(len(file)) - 9000}
	for _, b := range blocks {
		cuts = append(cuts, b.FileOffset+10, b.FileOffset+b.FileLength-1, b.FileOffset+b.FileLength)
	}
	for i, cut := range cuts {
		if raceEnabled && i%4 > 0 {
			continue // for time: one in four
		}
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			var out bytes.Buffer
			rep, err := zvhd2.Recover(context.Background(), &out, bytes.NewReader(file[:cut]), cut)
			require.NoError(t, err)
			got := content(t, open(t, out.Bytes()), d.size)
			next := int64(0)
			for _, b := range blocks {
				if b.FileOffset+b.FileLength <= cut {
					require.True(t, bytes.Equal(want[b.Offset:min(b.Offset+b.Length, d.size)], got[b.Offset:min(b.Offset+b.Length, d.size)]))
					next = b.Number + 1
				}
			}
			require.Empty(t, rep.Lost)
			if rep.Truncated && next < 11 {
				require.Equal(t, []zvhd2.BlockRange{{First: next, Last: 10}}, rep.Doubtful)
			} else {
				require.True(t, rep.Complete())
			}
			require.True(t, verify(t, out.Bytes()).OK())
		})
	}
}

func TestRecoverDamage(t *testing.T) {
	t.Parallel()
	d := sampleDisk()
	file := encoded(t, d, d.size)
	var offs []int64
	for b, err := range open(t, file).Blocks() {
		require.NoError(t, err)
		offs = append(offs, b.FileOffset)
	}
	file[offs[1]] ^= 1    // record of block 1 gone
	file[offs[3]+48] ^= 1 // payload of block 4 damaged
	recovered := func(file []byte) *zvhd2.RecoverReport {
		rep, err := zvhd2.Recover(context.Background(), io.Discard, bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		return rep
	}
	rep := recovered(file)
	require.Equal(t, []zvhd2.BlockRange{{First: 1, Last: 1}, {First: 4, Last: 4}}, rep.Lost, "by the bitmap")
	require.Empty(t, rep.Doubtful)
	require.EqualValues(t, 5, rep.Recovered)
	rep = recovered(file[:len(file)-4096])
	require.Equal(t, []zvhd2.BlockRange{{First: 4, Last: 4}}, rep.Lost)
	require.Equal(t, []zvhd2.BlockRange{{First: 1, Last: 2}}, rep.Doubtful)
	require.False(t, rep.Complete())
	file[0] ^= 1 // the header too: the index footer stands in
	require.EqualValues(t, 5, recovered(file).Recovered)
}

func TestRecoverVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectortest.All(t) {
		var out bytes.Buffer
		rep, err := zvhd2.Recover(context.Background(), &out, bytes.NewReader(v.Data), int64(len(v.Data)))
		require.NoError(t, err, v.File)
		require.True(t, rep.Complete(), v.File)
		v.Check(t, open(t, out.Bytes()))
		for cut := 4096; cut < len(v.Data); cut += len(v.Data)/7 + 1 {
			rep, err := zvhd2.Recover(context.Background(), io.Discard, bytes.NewReader(v.Data[:cut]), int64(cut))
			require.NoError(t, err)
			require.LessOrEqual(t, rep.Recovered, int64(len(v.Blocks)))
		}
	}
}
