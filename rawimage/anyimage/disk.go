package anyimage

import (
	"context"
	"errors"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/ova"
)

// Disk is the disk in an open image. All methods but Close may be called
// concurrently.
type Disk struct {
	name   string
	format rawimage.Format
	given  bool            // format is that of WithFormat
	disk   *rawimage.Image // the disk in the image
	file   *rawimage.Image // the file as it is; the same for a RAW image
	under  []io.Closer     // the format's readers that have files open
	others []watched       // files it needs beside the one named

	archive *ova.Archive // nil outside of an OVA
	member  ova.Member   // the disk in the archive

	verifying sync.Mutex // guards verified, and is held while the digests are compared
	verified  bool

	facts    []Fact
	warnings []Warning
}

// Warning is what users of an image should know.
type Warning struct {
	Code    string `json:"code"`    // what it is about: see the constants
	Message string `json:"message"` // a sentence without a full stop
}

// String returns the message.
func (w Warning) String() string { return w.Message }

// Codes of warnings.
const (
	WarnUnclean    = "unclean"     // the last writer did not close the image
	WarnCorrupt    = "corrupt"     // the image is marked corrupt
	WarnSnapshots  = "snapshots"   // there are snapshots, which are not read
	WarnSuspended  = "suspended"   // the machine was suspended
	WarnTwoSizes   = "two_sizes"   // a VHD with two sizes
	WarnSectorSize = "sector_size" // the disk has sectors of another size than 512
	WarnNoManifest = "no_manifest" // an OVA without a digest of its disk
)

// Fact is something that an image says of itself beyond its disk.
type Fact struct {
	Name  string `json:"name"`  // such as "cluster size"
	Value string `json:"value"` // as text, with its unit
}

// Open opens the image name, a regular file or a block device. A file that
// cannot be had at all is a *rawimage.OpenError; one of a format that is not read
// an *UnsupportedError, which is ErrCompressed if OpenAny reads it; one that is
// damaged or needs what is not allowed an *OpenError; one with a disk above the
// bound of WithMaxSize a *SizeError.
func Open(name string, opts ...Option) (*Disk, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.beside == "" {
		o.beside = filepath.Dir(name)
	}
	file, err := rawimage.Open(name, rawimage.WithAnyFormat())
	if err != nil {
		return nil, err
	}
	d, err := open(file, name, o)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return d, nil
}

// New is Open for the image of size bytes in ra, which may have a NextData as
// rawimage.New has it, and must be safe for concurrent use. Close does not close
// it. A VMDK descriptor, whose data is elsewhere, is refused.
func New(ra io.ReaderAt, size int64, opts ...Option) (*Disk, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	file, err := rawimage.New(ra, size, rawimage.WithAnyFormat())
	if err != nil {
		return nil, err
	}
	return open(file, "", o)
}

func open(file *rawimage.Image, name string, o *options) (*Disk, error) {
	d := &Disk{file: file, name: name, format: o.format, given: o.format != ""}
	if d.format == "" {
		var err error
		if d.format, err = rawimage.Detect(file, file.Size()); err != nil {
			return nil, err
		}
	}
	openFormat, ok := openers[d.format]
	if !ok {
		return nil, &UnsupportedError{Name: name, Format: d.format}
	}
	if size := file.Size(); size > o.maxSize && d.format == rawimage.FormatRaw {
		return nil, &SizeError{Name: name, Want: o.maxSize, Got: size, Limit: true}
	}
	ra, size, err := openFormat(d, file, o)
	if err == nil && d.format == rawimage.FormatRaw {
		d.disk = file
	} else if err == nil {
		d.disk, err = rawimage.New(ra, size, rawimage.WithAnyFormat())
	}
	if err == nil && d.Size() > o.maxSize {
		err = &SizeError{Name: name, Want: o.maxSize, Got: d.Size(), Limit: true}
	}
	if err == nil && o.size > 0 && d.Size() != o.size {
		err = &SizeError{Name: name, Want: o.size, Got: d.Size()}
	}
	if err != nil {
		return nil, errors.Join(&OpenError{Name: name, Format: d.format, Err: err}, d.closeUnder())
	}
	return d, nil
}

// What DetectFormat wants to see of a stream.
const (
	headSize = 36 << 10
	tailSize = 512
)

// Name returns the name given to Open, or "".
func (d *Disk) Name() string { return d.name }

// Format returns the format of the image.
func (d *Disk) Format() rawimage.Format { return d.format }

// FormatGiven reports whether WithFormat said the format, rather than the content.
func (d *Disk) FormatGiven() bool { return d.given }

// Size returns the size of the disk in bytes.
func (d *Disk) Size() int64 { return d.disk.Size() }

// ReadAt is [rawimage.Image.ReadAt] for the disk.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) { return d.disk.ReadAt(p, off) }

// NextData is [rawimage.Image.NextData] for the disk.
func (d *Disk) NextData(off int64) (start, end int64, err error) { return d.disk.NextData(off) }

// Extents is [rawimage.Image.Extents] for the disk.
func (d *Disk) Extents() iter.Seq2[rawimage.Extent, error] { return d.disk.Extents() }

// ExtentsIn is [rawimage.Image.ExtentsIn] for the disk.
func (d *Disk) ExtentsIn(off, length int64) iter.Seq2[rawimage.Extent, error] {
	return d.disk.ExtentsIn(off, length)
}

// IsDevice reports whether the image is a block device.
func (d *Disk) IsDevice() bool { return d.file.IsDevice() }

// FileSize returns the bytes of the image, all its files together.
func (d *Disk) FileSize() int64 {
	n := d.file.Size()
	for _, w := range d.others {
		n += w.id.Size
	}
	return n
}

// Facts returns what the image says of itself beyond its disk, in an order to be
// read. A RAW image says nothing.
func (d *Disk) Facts() []Fact { return d.facts }

// Warnings returns what users of the image should know: that it was not closed,
// or has snapshots that are not read.
func (d *Disk) Warnings() []Warning { return d.warnings }

// Inspect is [disk.Inspect].
func (d *Disk) Inspect(ctx context.Context) (*disk.Info, error) {
	info, err := disk.Inspect(ctx, d, d.Size())
	if cut, ok := errors.AsType[*disk.TruncatedError](err); ok {
		cut.Name = d.name
	}
	return info, err
}

// CheckUnchanged is [rawimage.Image.CheckUnchanged] for all files of the image,
// and then Verify.
func (d *Disk) CheckUnchanged() error {
	if err := d.file.CheckUnchanged(); err != nil {
		return err
	}
	for _, w := range d.others {
		if err := w.check(); err != nil {
			return err
		}
	}
	return d.Verify(context.Background())
}

// Close closes what Open has opened.
func (d *Disk) Close() error { return errors.Join(d.closeUnder(), d.file.Close()) }

func (d *Disk) closeUnder() error {
	var errs []error
	for _, c := range slices.Backward(d.under) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// base returns the name of the file src without its directory, "" if it is not
// the file that was opened by a name.
func (d *Disk) base(src *rawimage.Image) string {
	if src != d.file || d.name == "" {
		return ""
	}
	return filepath.Base(d.name)
}
