package bitmap

import (
	"math/bits"
	"runtime"
)

type options struct {
	blockSize int64
	workers   int
	progress  func(Progress)
}

// Option configures Scan.
type Option func(*options) error

// WithBlockSize sets the bytes that one bit stands for: a power of two from 512
// to 1 GiB. Default: 2 MiB.
func WithBlockSize(n int64) Option {
	return func(o *options) error {
		if n < MinBlockSize || n > MaxBlockSize || bits.OnesCount64(uint64(n)) != 1 {
			return invalid("blocks of %d bytes: want a power of two from 512 to 1 GiB", n)
		}
		o.blockSize = n
		return nil
	}
}

// WithWorkers sets how many goroutines read, 1 to 1024. Default: GOMAXPROCS.
func WithWorkers(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 1024 {
			return invalid("%d workers: want 1 to 1024", n)
		}
		o.workers = n
		return nil
	}
}

// WithProgress makes Scan call f a few times a second, from one goroutine, and
// once at the end. Default: no calls.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		o.progress = f
		return nil
	}
}

// Progress says how far a scan has come, in bytes of the disk.
type Progress struct {
	Done, Total int64 // Done counts holes that were skipped
	Read        int64 // bytes that were read
}

func newOptions(opts []Option) (*options, error) {
	o := &options{blockSize: DefaultBlockSize, workers: runtime.GOMAXPROCS(0)}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
