package qemutest

import (
	"encoding/binary"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const chunkSize = 64 << 10

// File is a file in memory that takes no space for what was never written.
type File struct {
	Len    int64
	chunks map[int64]*[chunkSize]byte
}

// Put writes p at off.
func (f *File) Put(off int64, p []byte) {
	if f.chunks == nil {
		f.chunks = make(map[int64]*[chunkSize]byte)
	}
	f.Len = max(f.Len, off+int64(len(p)))
	for len(p) > 0 {
		c := f.chunks[off/chunkSize]
		if c == nil {
			c = new([chunkSize]byte)
			f.chunks[off/chunkSize] = c
		}
		n := copy(c[off%chunkSize:], p)
		p, off = p[n:], off+int64(n)
	}
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), f.Len-off)))
	for done := 0; done < n; {
		at := off + int64(done)
		part := p[done:n]
		part = part[:min(len(part), int(chunkSize-at%chunkSize))]
		if c := f.chunks[at/chunkSize]; c != nil {
			copy(part, c[at%chunkSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write writes the file to disk, with its holes.
func (f *File) Write(t testing.TB, name string) {
	t.Helper()
	out, err := os.Create(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, out.Close()) }()
	for _, i := range slices.Sorted(maps.Keys(f.chunks)) {
		_, err := out.WriteAt(f.chunks[i][:min(chunkSize, f.Len-i*chunkSize)], i*chunkSize)
		require.NoError(t, err)
	}
	require.NoError(t, out.Truncate(f.Len))
}

// put writes numbers of any width in one byte order.
func put(f *File, order binary.AppendByteOrder, off int64, v any) {
	var b []byte
	switch v := v.(type) {
	case uint16:
		b = order.AppendUint16(nil, v)
	case uint32:
		b = order.AppendUint32(nil, v)
	case uint64:
		b = order.AppendUint64(nil, v)
	case string:
		b = []byte(v)
	}
	f.Put(off, b)
}
