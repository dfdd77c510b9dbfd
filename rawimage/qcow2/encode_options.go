package qcow2

import (
	"fmt"
	"io/fs"
	"runtime"
)

// MaxEncodeSize is the largest disk that [Encode] takes, 64 TiB: its L1 table has
// 1 MiB.
const MaxEncodeSize = 64 << 40

// Compression is how the clusters of an image are compressed.
type Compression string

// The kinds of compression that are written.
const (
	CompressionNone Compression = "none" // the default
	CompressionZlib Compression = "zlib" // read by every QEMU
	CompressionZstd Compression = "zstd" // smaller and faster; read by QEMU 5.1 and later
)

// An EncodeOption configures [Encode] and [EncodeStream].
type EncodeOption func(*encodeOptions) error

type encodeOptions struct {
	compression Compression
	workers     int
	progress    func(EncodeProgress)
}

// EncodeProgress is how far an encoding has come.
type EncodeProgress struct {
	Done  int64 // bytes of the disk dealt with, zeros included
	Total int64 // bytes of the disk
	Data  int64 // of Done: bytes in clusters that are stored
}

// WithCompression sets the compression. Default: [CompressionNone].
func WithCompression(c Compression) EncodeOption {
	return func(o *encodeOptions) error {
		if c != CompressionNone && c != CompressionZlib && c != CompressionZstd {
			return fmt.Errorf("qcow2: compression %q: want none, zlib or zstd: %w", c, fs.ErrInvalid)
		}
		o.compression = c
		return nil
	}
}

// WithWorkers sets how many units of 2 MiB are encoded at once, 1 to 256.
// Default: one per core.
func WithWorkers(n int) EncodeOption {
	return func(o *encodeOptions) error {
		if n < 1 || n > 256 {
			return fmt.Errorf("qcow2: %d workers: want 1 to 256: %w", n, fs.ErrInvalid)
		}
		o.workers = n
		return nil
	}
}

// WithProgress sets a function that is called as the encoding proceeds, from
// several goroutines but never from two at once. The last call has Done equal to
// Total. It must not block. Default: none.
func WithProgress(f func(EncodeProgress)) EncodeOption {
	return func(o *encodeOptions) error { o.progress = f; return nil }
}

func newEncodeOptions(opts []EncodeOption) (*encodeOptions, error) {
	o := &encodeOptions{compression: CompressionNone, workers: runtime.GOMAXPROCS(0)}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
