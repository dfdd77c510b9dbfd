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
	change := func(at int64, v uint32) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(at))[:6]
		return binary.LittleEndian.AppendUint32(b, v)
	}
	f.Add([]byte{})
	f.Add(change(bat, 6))
	f.Add(change(meta+32, 1))
	f.Add(change(item(good, meta, 0x24), 1<<30))
	f.Add(append(change(64<<10+48, 5), change(1<<20, 0x65676f6c)...))
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := &edited{good: good, head: bytes.Clone(good[:320<<10])}
		for ; len(edits) >= 10; edits = edits[10:] {
			at := binary.LittleEndian.Uint64(append(bytes.Clone(edits[:6]), 0, 0)) % uint64(len(good)-4)
			if n := copy(b.head[min(at, uint64(len(b.head))):], edits[6:10]); n == 0 {
				b.edits = append(b.edits, edit{int64(at), edits[6:10]})
			}
		}
		sealAll(b.head)
		r, err := vhdx.NewReader(b, int64(len(good)))
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

// edited is an image with changes, of which only the head is copied.
type edited struct {
	good, head []byte
	edits      []edit
}

type edit struct {
	at int64
	b  []byte
}

func (e *edited) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(e.good).ReadAt(p, off)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	for _, c := range e.edits {
		for i, v := range c.b {
			if at := c.at + int64(i) - off; at >= 0 && at < int64(n) {
				p[at] = v
			}
		}
	}
	return n, err
}
