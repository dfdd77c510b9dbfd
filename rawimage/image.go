package rawimage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/fastimage/fastimage/internal/fileid"
	"github.com/fastimage/fastimage/internal/sparse"
)

// Image is an open RAW image. All methods but Close may be called concurrently.
type Image struct {
	name   string
	ra     io.ReaderAt
	size   int64
	finder sparse.Finder // nil: all of it is data
	file   *os.File      // nil for New
	device bool
	id     Identity // of a regular file at Open
}

// Identity tells whether a file is still the file, with the content, that it was:
// its size, times, device and inode.
type Identity = fileid.ID

// Open opens a RAW image: a regular file or a block device. The error is an
// *OpenError (fs.ErrNotExist, ErrNotImage, ErrEmpty, by errors.Is) or a
// *ForeignFormatError.
func Open(name string, opts ...Option) (*Image, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	// Before os.Open, which would hang on a pipe that nobody writes to.
	fi, err := os.Stat(name)
	if err != nil {
		return nil, &OpenError{Name: name, Err: cause(err)}
	}
	if !isImage(fi.Mode()) {
		return nil, &OpenError{Name: name, Err: ErrNotImage}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, &OpenError{Name: name, Err: cause(err)}
	}
	im, err := openFile(f, name, o)
	if err != nil {
		_ = f.Close() // read only: nothing to lose
		return nil, err
	}
	return im, nil
}

// isImage: FreeBSD and macOS have their disks as character devices, on Linux
// those are never disks.
func isImage(m fs.FileMode) bool {
	switch {
	case m.IsRegular():
		return true
	case m&fs.ModeDevice == 0:
		return false
	case m&fs.ModeCharDevice != 0:
		return runtime.GOOS == "freebsd" || runtime.GOOS == "darwin"
	}
	return true
}

func openFile(f *os.File, name string, o *options) (*Image, error) {
	fi, err := f.Stat() // of what was opened, not of what the name was before
	if err != nil {
		return nil, &OpenError{Name: name, Err: cause(err)}
	}
	if !isImage(fi.Mode()) {
		return nil, &OpenError{Name: name, Err: ErrNotImage}
	}
	im := &Image{name: name, ra: f, file: f, device: !fi.Mode().IsRegular(), id: fileid.Of(fi), size: fi.Size()}
	if im.device {
		if im.size, err = deviceSize(f); err != nil {
			return nil, &OpenError{Name: name, Err: cause(err)}
		}
	}
	if err := im.admit(o); err != nil {
		return nil, err
	}
	if !im.device && !o.noHoles {
		im.finder = &fileFinder{im, sparse.NewFile(f, im.size)}
	}
	return im, nil
}

// New makes an image of any source of size bytes. If ra has a method
// NextData(off int64) (start, end int64, err error) it is asked for the data.
// Close does not close ra.
func New(ra io.ReaderAt, size int64, opts ...Option) (*Image, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if ra == nil || size < 0 {
		return nil, &OpenError{Name: o.name, Err: pkg.Errorf("%w: size %d", fs.ErrInvalid, size)}
	}
	im := &Image{name: o.name, ra: ra, size: size}
	if err := im.admit(o); err != nil {
		return nil, err
	}
	if !o.noHoles {
		im.finder = sparse.Of(ra)
	}
	return im, nil
}

// admit refuses what is empty or of another format.
func (im *Image) admit(o *options) error {
	if im.size == 0 {
		return &OpenError{Name: im.name, Err: ErrEmpty}
	}
	if o.anyFormat {
		return nil
	}
	f, err := Detect(im, im.size)
	if err != nil {
		return &OpenError{Name: im.name, Err: cause(err)}
	}
	if f != FormatRaw {
		return &ForeignFormatError{Name: im.name, Format: f}
	}
	return nil
}

// Name returns the name given to Open or with WithName, or "".
func (im *Image) Name() string { return im.name }

// Size returns the image's size in bytes: that of the disk.
func (im *Image) Size() int64 { return im.size }

// IsDevice reports whether the image is a block device.
func (im *Image) IsDevice() bool { return im.device }

// ReadAt reads bytes of the disk. A source that ends before the size it had at
// Open is a *ChangedError, never a short read that looks like the end.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pkg.Errorf("read at %d: %w", off, fs.ErrInvalid)
	}
	if off >= im.size {
		return 0, io.EOF
	}
	want := p
	if int64(len(p)) > im.size-off {
		want = p[:im.size-off]
	}
	n, err := im.ra.ReadAt(want, off)
	switch {
	case n == len(want) && (err == nil || err == io.EOF):
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	case err == io.EOF || err == nil:
		return n, &ChangedError{Name: im.name, OldSize: im.size, NewSize: off + int64(n), OldTime: im.id.ModTime, NewTime: time.Now()}
	}
	return n, pkg.Errorf("read at %d: %w", off, err)
}

// Identity returns what identifies the file and its content as it was at Open,
// and the zero Identity for a device or a source given to New.
func (im *Image) Identity() Identity {
	if im.file == nil || im.device {
		return Identity{}
	}
	return im.id
}

// CheckUnchanged reports, as a *ChangedError, that a file is no longer what it
// was at Open by its Identity. Whoever has read an image calls it before relying
// on what was read. Of a device only the size is compared. Sources given to New
// are not checked.
func (im *Image) CheckUnchanged() error {
	if im.file == nil {
		return nil
	}
	fi, err := im.file.Stat()
	if err != nil {
		return pkg.Errorf("check %s: %w", im.name, err)
	}
	now := fileid.Of(fi)
	if im.device {
		now = im.id
		if now.Size, err = deviceSize(im.file); err != nil {
			return pkg.Errorf("check %s: %w", im.name, err)
		}
	}
	if was := im.withSize(); !now.Equal(was) {
		return &ChangedError{Name: im.name, OldSize: was.Size, NewSize: now.Size, OldTime: was.ModTime, NewTime: now.ModTime}
	}
	return nil
}

// withSize is the identity with the size of the image, which that of a device
// lacks.
func (im *Image) withSize() Identity {
	id := im.id
	id.Size = im.size
	return id
}

// Close closes what Open has opened; after New it does nothing.
func (im *Image) Close() error {
	if im.file == nil {
		return nil
	}
	return im.file.Close()
}

// seekSize is the size of a device by seeking to its end.
func seekSize(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return size, err
}

// cause takes the path off an error that is going to get it again.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
