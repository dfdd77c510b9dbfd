package qcow2

import (
	"bytes"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// zlibWindow is what QEMU decompresses with: inflate with a window of 12 bits.
const zlibWindow = 4 << 10

// clusterCompressor compresses clusters, one at a time.
type clusterCompressor interface {
	// compress returns nil for what does not get smaller. The result is the
	// caller's.
	compress(p []byte) ([]byte, error)
}

func newClusterCompressor(c Compression) (clusterCompressor, error) {
	switch c {
	case CompressionZlib:
		w, err := flate.NewWriterWindow(nil, zlibWindow)
		return &zlibClusters{w: w}, err
	case CompressionZstd:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true), zstd.WithWindowSize(encCluster))
		return zstdClusters{w}, err
	}
	return plainClusters{}, nil
}

type plainClusters struct{}

func (plainClusters) compress([]byte) ([]byte, error) { return nil, nil }

// zlibClusters makes raw deflate streams.
type zlibClusters struct{ w *flate.Writer }

func (z *zlibClusters) compress(p []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(p) / 2)
	z.w.Reset(&out)
	if _, err := z.w.Write(p); err != nil {
		return nil, err
	}
	if err := z.w.Close(); err != nil {
		return nil, err
	}
	return smaller(out.Bytes(), p), nil
}

type zstdClusters struct{ w *zstd.Encoder }

func (z zstdClusters) compress(p []byte) ([]byte, error) {
	return smaller(z.w.EncodeAll(p, make([]byte, 0, len(p)/2)), p), nil
}

// smaller returns packed if storing it saves anything.
func smaller(packed, p []byte) []byte {
	if len(packed) >= len(p) {
		return nil
	}
	return packed
}
