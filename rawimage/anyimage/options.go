package anyimage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fastimage/fastimage/rawimage"
)

type options struct {
	format     rawimage.Format
	references string
	member     string
	beside     string // directory of the extents of a VMDK descriptor
	size       int64
	progress   func(Progress)
}

// Option configures Open, New and OpenStream.
type Option func(*options) error

// formats are those that a Disk can be of.
var formats = []rawimage.Format{
	rawimage.FormatRaw, rawimage.FormatQCOW2, rawimage.FormatVMDK, rawimage.FormatOVA,
	rawimage.FormatVHD, rawimage.FormatVHDX, rawimage.FormatVDI,
}

// Formats returns the formats that a Disk can be of, those of WithFormat.
func Formats() []rawimage.Format { return slices.Clone(formats) }

// WithFormat takes the image for one of format f, whatever its content: raw,
// qcow2, vmdk, ova, vhd, vhdx or vdi. For OpenStream it is raw, what is inside.
// Default: the content decides.
func WithFormat(f rawimage.Format) Option {
	return func(o *options) error {
		if !slices.Contains(formats, f) {
			return fmt.Errorf("anyimage: format %q: want one of %v", f, formats)
		}
		o.format = f
		return nil
	}
}

// WithReferences allows the backing and data files of a QCOW2 to be opened
// inside the directory dir; the names in the image are relative to it, and none
// leads out of it. Default: an image that needs other files is refused.
func WithReferences(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return errors.New("anyimage: WithReferences: empty directory name")
		}
		o.references = dir
		return nil
	}
}

// WithMember names the disk of an OVA, exactly as in the archive. Default: the
// only member that ends in .vmdk.
func WithMember(name string) Option {
	return func(o *options) error {
		if name == "" {
			return errors.New("anyimage: WithMember: empty name")
		}
		o.member = name
		return nil
	}
}

// WithSize says how many bytes the disk has, 1 to MaxStreamSize, so that
// OpenStream needs no pass to count them. A disk of another size is a SizeError,
// of Open too. Default: the size is found.
func WithSize(n int64) Option {
	return func(o *options) error {
		if n < 1 || n > MaxStreamSize {
			return fmt.Errorf("anyimage: size of %d bytes is not in 1..%d", n, int64(MaxStreamSize))
		}
		o.size = n
		return nil
	}
}

// Progress says how far OpenStream has come in counting, in bytes of the
// compressed file.
type Progress struct {
	Done, Total int64 // bytes
}

// WithProgress has f called, a few times a second, while OpenStream goes through
// the file to count the bytes of its disk. Default: no calls.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		o.progress = f
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := new(options)
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
