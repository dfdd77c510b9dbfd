package qcow2_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// Places in what tiny builds: clusters of 512 bytes.
const (
	tinyCluster = 512
	tinyL1      = 1 * tinyCluster
	tinyL2      = 2 * tinyCluster
	tinyData    = 3 * tinyCluster
	tinyPacked  = 4 * tinyCluster
	tinyEnd     = 5 * tinyCluster
	tinySize    = 16 * kib // of the disk

	flagCopied     = 1 << 63
	flagCompressed = 1 << 62
)

// tiny is an image of version 3 by hand. Its clusters: stored, zero,
// compressed, and unallocated from then on. The changes are made last.
func tiny(t testing.TB, changes ...func(b []byte)) []byte {
	t.Helper()
	b := make([]byte, tinyEnd)
	copy(b, "QFI\xfb")
	be32(b, 4, 3)
	be32(b, 20, 9)
	be64(b, 24, uint64(tinySize))
	be32(b, 36, 1)
	be64(b, 40, tinyL1)
	be32(b, 96, 4)
	be32(b, 100, 112)
	be64(b, tinyL1, tinyL2|flagCopied)
	be64(b, tinyL2, tinyData|flagCopied)
	be64(b, tinyL2+8, 1)
	be64(b, tinyL2+16, tinyPacked|flagCompressed)
	copy(b[tinyData:tinyPacked], bytes.Repeat([]byte{0xa5}, tinyCluster))
	copy(b[tinyPacked:], deflated(t, bytes.Repeat([]byte{0x5a}, tinyCluster)))
	for _, change := range changes {
		change(b)
	}
	return b
}

func be32(b []byte, off int, v uint32) { binary.BigEndian.PutUint32(b[off:], v) }
func be64(b []byte, off int, v uint64) { binary.BigEndian.PutUint64(b[off:], v) }

func set32(off int, v uint32) func([]byte) { return func(b []byte) { be32(b, off, v) } }
func set64(off int, v uint64) func([]byte) { return func(b []byte) { be64(b, off, v) } }

// backing gives the image a backing file, dataFile an external data file.
func backing(name, format string) func([]byte) {
	return func(b []byte) {
		be64(b, 8, 300)
		be32(b, 16, uint32(len(name)))
		copy(b[300:], name)
		if format != "" {
			extension(b, 0xe2792aca, format)
		}
	}
}

func dataFile(name string) func([]byte) {
	return func(b []byte) {
		be64(b, 72, 4)
		extension(b, 0x44415441, name)
		// Only the first cluster can be at its place.
		be64(b, tinyL2, flagCopied)
		be64(b, tinyL2+16, 0)
	}
}

func extension(b []byte, kind uint32, data string) {
	be32(b, 112, kind)
	be32(b, 116, uint32(len(data)))
	copy(b[120:], data)
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func newReader(b []byte, opts ...qcow2.Option) (*qcow2.Reader, error) {
	return qcow2.NewReader(bytes.NewReader(b), int64(len(b)), opts...)
}

func newReaderAt(ra io.ReaderAt, size int64) (*qcow2.Reader, error) { return qcow2.NewReader(ra, size) }
