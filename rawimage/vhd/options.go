package vhd

import (
	"fmt"
	"io/fs"
)

type options struct {
	maxTable int64
	size     SizeSource
}

// Option configures NewReader.
type Option func(*options) error

// WithMaxTable bounds the memory for the block allocation table, in bytes: a
// file that needs more is ErrUnsupported. At least 4096; default 64 MiB. The
// file must hold the table in any case, whatever the bound.
func WithMaxTable(n int64) Option {
	return func(o *options) error {
		if n < 4096 {
			return fmt.Errorf("vhd: table bound of %d bytes is below 4096", n)
		}
		o.maxTable = n
		return nil
	}
}

// WithSize chooses which of its two sizes the disk has. Default: the current size
// if the length of a fixed disk, a block or the partition table proves it, or if
// the creator is not one that is known to mean the geometry.
func WithSize(s SizeSource) Option {
	return func(o *options) error {
		if s != SizeGeometry && s != SizeCurrent {
			return fmt.Errorf("vhd: size %q: want %q or %q: %w", s, SizeGeometry, SizeCurrent, fs.ErrInvalid)
		}
		o.size = s
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{maxTable: 64 << 20}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
