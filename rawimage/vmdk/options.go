package vmdk

import (
	"errors"
	"fmt"
)

type options struct {
	dir      string
	name     string
	maxTable int64
}

// Option configures NewReader.
type Option func(*options) error

// WithDir names the directory in which the extents of a descriptor are looked
// for. They are opened through os.Root: no name in a descriptor, and no symbolic
// link, leads out of it. Default: none, and a descriptor that names other files is
// refused as ErrMissingFile.
func WithDir(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return errors.New("vmdk: empty directory name")
		}
		o.dir = dir
		return nil
	}
}

// WithName tells the name of the file, without its directory. With WithDir, a
// file that is one part of a disk is refused with the name of the descriptor to
// open instead. Default: none.
func WithName(name string) Option {
	return func(o *options) error {
		o.name = name
		return nil
	}
}

// WithMaxTable bounds the memory for the grain directories of all extents, in
// bytes: an image that needs more is ErrUnsupported. At least 4096; default
// 16 MiB, which serve 128 TiB at the usual grains. The file must hold the
// directories in any case, whatever the bound.
func WithMaxTable(n int64) Option {
	return func(o *options) error {
		if n < 4096 {
			return fmt.Errorf("vmdk: table bound of %d bytes is below 4096", n)
		}
		o.maxTable = n
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{maxTable: 16 << 20}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
