package rawimage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// dataFinder is what a source may have beyond io.ReaderAt to tell data from
// holes: the first range of data [start, end) with end > off, clipped to
// start >= off; io.EOF when there is none. Safe for concurrent use.
type dataFinder interface {
	NextData(off int64) (start, end int64, err error)
}

// Image is an open RAW image. All methods but Close may be called concurrently.
type Image struct {
	name   string
	ra     io.ReaderAt
	size   int64
	finder dataFinder // nil: one whole extent
	file   *os.File   // nil for New
	device bool
	mtime  time.Time // of a regular file at Open
}

// Open opens a RAW image: a regular file or a block device. What it is not is
// an *OpenError (fs.ErrNotExist, ErrNotImage, ErrEmpty, by errors.Is) or a
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
	im := &Image{name: name, ra: f, file: f, device: !fi.Mode().IsRegular(), mtime: fi.ModTime(), size: fi.Size()}
	if im.device {
		if im.size, err = deviceSize(f); err != nil {
			return nil, &OpenError{Name: name, Err: cause(err)}
		}
	}
	if err := im.admit(o); err != nil {
		return nil, err
	}
	if !im.device && !o.noHoles && seeksHoles(f) {
		im.finder = &fileFinder{im}
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
		return nil, &OpenError{Name: o.name, Err: fmt.Errorf("%w: size %d", fs.ErrInvalid, size)}
	}
	im := &Image{name: o.name, ra: ra, size: size}
	if err := im.admit(o); err != nil {
		return nil, err
	}
	if finder, ok := ra.(dataFinder); ok && !o.noHoles {
		im.finder = finder
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
	head := make([]byte, min(im.size, magicHead))
	tail := make([]byte, min(im.size, magicTail))
	if _, err := im.ReadAt(head, 0); err != nil && err != io.EOF {
		return &OpenError{Name: im.name, Err: cause(err)}
	}
	if _, err := im.ReadAt(tail, im.size-int64(len(tail))); err != nil && err != io.EOF {
		return &OpenError{Name: im.name, Err: cause(err)}
	}
	if f := DetectFormat(head, tail); f != FormatRaw {
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
		return 0, fmt.Errorf("rawimage: read at %d: %w", off, fs.ErrInvalid)
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
		return n, &ChangedError{Name: im.name, OldSize: im.size, NewSize: off + int64(n), OldTime: im.mtime, NewTime: time.Now()}
	}
	return n, fmt.Errorf("rawimage: read at %d: %w", off, err)
}

// CheckUnchanged reports, as a *ChangedError, that a file has another size or
// another time of modification than it had at Open. Whoever has read an image
// asks this before relying on what was read. Devices have no time of
// modification: only their size is compared. Sources given to New are not
// checked.
func (im *Image) CheckUnchanged() error {
	if im.file == nil {
		return nil
	}
	fi, err := im.file.Stat()
	if err != nil {
		return fmt.Errorf("rawimage: check %s: %w", im.name, err)
	}
	size, mtime := fi.Size(), fi.ModTime()
	if im.device {
		mtime = im.mtime
		if size, err = deviceSize(im.file); err != nil {
			return fmt.Errorf("rawimage: check %s: %w", im.name, err)
		}
	}
	if size != im.size || !mtime.Equal(im.mtime) {
		return &ChangedError{Name: im.name, OldSize: im.size, NewSize: size, OldTime: im.mtime, NewTime: mtime}
	}
	return nil
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
