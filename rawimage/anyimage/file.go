package anyimage

import (
	"context"

	"github.com/fastimage/fastimage/rawimage"
)

// Detect returns the format of the image in file: that of WithFormat, or what its
// first and last bytes say. The file is opened with [rawimage.WithAnyFormat].
func Detect(file *rawimage.Image, opts ...Option) (rawimage.Format, error) {
	o, err := newOptions(opts)
	if err != nil {
		return "", err
	}
	if o.format != "" {
		return o.format, nil
	}
	return rawimage.Detect(file, file.Size())
}

// Compressed reports whether f is a format that OpenStream and OpenAny read.
func Compressed(f rawimage.Format) bool { return compressed(f) }

// OpenFile is [Open] for a file that is open already, with
// [rawimage.WithAnyFormat]. Close of the Disk closes it; if OpenFile fails it stays
// open. The files beside a VMDK descriptor are those of [WithSiblings].
func OpenFile(file *rawimage.Image, opts ...Option) (*Disk, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	return open(file, file.Name(), o)
}

// OpenFileStream is [OpenStream] for a file that is open already, as OpenFile is
// for [Open].
func OpenFileStream(ctx context.Context, file *rawimage.Image, opts ...Option) (*Stream, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.format != "" && o.format != rawimage.FormatRaw {
		return nil, &UnsupportedError{Name: file.Name(), Format: o.format}
	}
	return openStream(ctx, file, file.Name(), o)
}

// WithSiblings allows the extents that a VMDK descriptor names to be opened in the
// directory dir. Default: that of the image for Open, none otherwise.
func WithSiblings(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return pkg.New("WithSiblings: empty directory name")
		}
		o.beside = dir
		return nil
	}
}
