package vhdx

import "fmt"

type options struct {
	maxTable int64
}

// Option configures NewReader.
type Option func(*options) error

// WithMaxTable bounds the memory for the block allocation table, and for a log
// to be replayed, in bytes each: a file that needs more is ErrUnsupported. At least 4096; default 64 MiB. The
// file must hold the table in any case, whatever the bound.
func WithMaxTable(n int64) Option {
	return func(o *options) error {
		if n < 4096 {
			return fmt.Errorf("vhdx: table bound of %d bytes is below 4096", n)
		}
		o.maxTable = n
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
