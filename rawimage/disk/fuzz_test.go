package disk_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/disk"
)

// patched is a disk of zeros with the fuzzer's bytes at the places where tables
// are: a small input reaches both ends of a large disk.
type patched struct {
	size int64
	head []byte // at 0
	tail []byte // before the end
	read int64
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(b)), p.size-off)))
	p.read += int64(n)
	clear(b[:n])
	if off < int64(len(p.head)) {
		copy(b[:n], p.head[off:])
	}
	from := p.size - int64(len(p.tail))
	for i := range b[:n] {
		if at := off + int64(i) - from; at >= 0 {
			b[i] = p.tail[at]
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzInspect: no panic, no endless reading, nothing but a TruncatedError, and
// partitions with sane numbers, whatever the tables say.
func FuzzInspect(f *testing.F) {
	whole := realDisk(f)
	f.Add(whole[:34*512], whole[64*mib-33*512:], int64(64*mib), true)
	f.Add(whole[:34*512], whole[64*mib-33*512:], int64(64*mib), false)
	f.Add(whole[mib:mib+64*kib], []byte{}, int64(8*mib), false)
	f.Add(mbr(4096, [3]uint32{0x0f, 1, 7}), []byte{}, int64(mib), false)
	esp := mbr(200*kib, [3]uint32{0xef, 1, 16384})
	copy(esp[512:], whole[mib:])
	f.Add(esp, []byte{}, int64(9*mib), false)
	f.Fuzz(func(t *testing.T, head, tail []byte, size int64, sums bool) {
		size = min(max(size, 1), 1<<45)
		head, tail = head[:min(int64(len(head)), size)], tail[:min(int64(len(tail)), size)]
		if sums && len(head) >= 34*512 { // past the CRCs
			head = bytes.Clone(head)
			resum(head, 512)
		}
		d := &patched{size: size, head: head, tail: tail}
		info, err := disk.Inspect(t.Context(), d, size)
		var te *disk.TruncatedError
		if err != nil && !errors.As(err, &te) {
			t.Fatal(err)
		}
		require.NotNil(t, info)
		require.Less(t, d.read, int64(256*mib))
		require.LessOrEqual(t, len(info.Problems), 64)
		for _, p := range info.Partitions {
			require.GreaterOrEqual(t, p.Start, int64(0))
			require.Positive(t, p.Size)
		}
		if te != nil {
			require.Greater(t, te.Need, te.Size)
		}
	})
}
