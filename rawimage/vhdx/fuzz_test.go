package vhdx_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vhdx"
)

// FuzzNewReader changes a small image by pieces of ten bytes, six of offset and
// four of data, and mends the checksums: no mutation of a file of megabytes would
// get anywhere otherwise.
func FuzzNewReader(f *testing.F) {
	good := tiny(f, "block_size=1M")
	bat, meta := places(good)
	edit := func(at int64, v uint32) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(at))[:6]
		return binary.LittleEndian.AppendUint32(b, v)
	}
	f.Add([]byte{})
	f.Add(edit(bat, 6))
	f.Add(edit(meta+32, 1))
	f.Add(edit(item(good, meta, 0x24), 1<<30))
	f.Add(append(edit(64<<10+48, 5), edit(1<<20, 0x65676f6c)...))
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(good)
		for ; len(edits) >= 10; edits = edits[10:] {
			at := binary.LittleEndian.Uint64(append(bytes.Clone(edits[:6]), 0, 0)) % uint64(len(b)-4)
			copy(b[at:], edits[6:10])
		}
		sealAll(b)
		r, err := newReader(b)
		if err != nil {
			var fe *vhdx.FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		qemutest.Exercise(t, r)
	})
}
