package anyimage

import (
	"io/fs"
	"slices"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/vhd"
)

type options struct {
	format     rawimage.Format
	references string
	member     string
	beside     string // directory of the extents of a VMDK descriptor
	size       int64
	maxSize    int64
	window     int64
	vhdSize    vhd.SizeSource
	tempDir    string
	announce   func(TempFile) error
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
			return pkg.Errorf("format %q: want one of %v", f, formats)
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
			return pkg.New("WithReferences: empty directory name")
		}
		o.references = dir
		return nil
	}
}

// WithMember names the disk in an archive (OVA, tar or zip), exactly as in the
// archive. Default: the only member with the name of a disk.
func WithMember(name string) Option {
	return func(o *options) error {
		if name == "" {
			return pkg.New("WithMember: empty name")
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
			return pkg.Errorf("size of %d bytes is not in 1..%d", n, int64(MaxStreamSize))
		}
		o.size = n
		return nil
	}
}

// DefaultMaxSize is the largest disk that is opened by default, 64 TiB.
const DefaultMaxSize = 64 << 40

// WithMaxSize bounds the size of the disk, in bytes, at least 1: a larger one is a
// *SizeError. Default: DefaultMaxSize. A few bytes of an image can claim a disk of
// any size, and what is made of it may be as large.
func WithMaxSize(n int64) Option {
	return func(o *options) error {
		if n < 1 {
			return pkg.Errorf("WithMaxSize: %d bytes: %w", n, fs.ErrInvalid)
		}
		o.maxSize = n
		return nil
	}
}

// WithLongWindow allows zstd windows of up to n bytes, 1 KiB to 2 GiB, as zstd
// --long=31 makes them; that much memory is needed. A larger one is
// rawimage.ErrUnsupported, with a *WindowError. Default: 128 MiB, which is also
// what the zstd command decompresses without being asked to.
func WithLongWindow(n int64) Option {
	return func(o *options) error {
		if n < 1<<10 || n > maxWindow {
			return pkg.Errorf("WithLongWindow: %d bytes are not in %d..%d: %w", n, 1<<10, int64(maxWindow), fs.ErrInvalid)
		}
		o.window = n
		return nil
	}
}

// WithVHDSize chooses which of its two sizes a VHD's disk has. Default: see
// [vhd.WithSize].
func WithVHDSize(s vhd.SizeSource) Option {
	return func(o *options) error {
		if s != vhd.SizeGeometry && s != vhd.SizeCurrent {
			return pkg.Errorf("WithVHDSize: %q: want %q or %q: %w", s, vhd.SizeGeometry, vhd.SizeCurrent, fs.ErrInvalid)
		}
		o.vhdSize = s
		return nil
	}
}

// WithTempDir names the directory for the temporary file of OpenAny. Default:
// that of os.TempDir.
func WithTempDir(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return pkg.New("WithTempDir: empty directory name")
		}
		o.tempDir = dir
		return nil
	}
}

// TempFile describes a temporary file before it is made.
type TempFile struct {
	Dir    string          // where it will be
	Bytes  int64           // that it takes, at most
	Format rawimage.Format // of the image in the compressed file
	Inside rawimage.Format // how it is compressed
}

// WithTempFile has f called before OpenAny makes a temporary file. An error of f
// ends OpenAny. Default: no call.
func WithTempFile(f func(TempFile) error) Option {
	return func(o *options) error {
		o.announce = f
		return nil
	}
}

// Progress is how far OpenStream or OpenAny has come in a pass through a
// compressed file, in bytes of that file.
type Progress struct {
	Done, Total int64 // bytes
}

// WithProgress has f called, a few times a second, while OpenStream goes through
// a compressed file to count the bytes of its disk, and while OpenAny decompresses
// one into a temporary file. Default: no calls.
func WithProgress(f func(Progress)) Option {
	return func(o *options) error {
		o.progress = f
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{maxSize: DefaultMaxSize, window: defaultWindow}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}
