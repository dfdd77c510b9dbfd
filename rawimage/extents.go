package rawimage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
)

// Extent is a range of the disk that holds data, or may.
type Extent struct {
	Offset, Length int64 // bytes
}

// End returns the offset of the first byte after the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// NextData returns the first range of data [start, end) with end > off, clipped
// to start >= off and end <= Size; io.EOF when nothing but holes follows.
func (im *Image) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("rawimage: next data at %d: %w", off, fs.ErrInvalid)
	}
	if off >= im.size {
		return 0, 0, io.EOF
	}
	if im.finder == nil {
		return off, im.size, nil
	}
	start, end, err = im.finder.NextData(off)
	if err != nil {
		if err == io.EOF || errors.Is(err, ErrChanged) {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("rawimage: next data at %d: %w", off, err)
	}
	start, end = max(start, off), min(end, im.size)
	if start >= im.size {
		return 0, 0, io.EOF
	}
	if end <= start { // a source that breaks its word would loop its callers
		return 0, 0, fmt.Errorf("rawimage: next data at %d: source answers [%d,%d)", off, start, end)
	}
	return start, end, nil
}

// Extents iterates over the data of the image in ascending order, adjacent
// extents merged. It can be ranged over again; an error comes at most once, and
// last.
func (im *Image) Extents() iter.Seq2[Extent, error] {
	return im.ExtentsIn(0, im.size)
}

// ExtentsIn is Extents for the range of length bytes at off, clipped to it.
func (im *Image) ExtentsIn(off, length int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if off < 0 || length < 0 {
			yield(Extent{}, fmt.Errorf("rawimage: extents in %d+%d: %w", off, length, fs.ErrInvalid))
			return
		}
		limit := im.size
		if length < limit-off {
			limit = off + length
		}
		var held Extent // grows while its neighbours touch it
		for pos := off; pos < limit; {
			start, end, err := im.NextData(pos)
			if err == io.EOF || err == nil && start >= limit {
				break
			}
			if err != nil {
				if held.Length == 0 || yield(held, nil) {
					yield(Extent{}, err)
				}
				return
			}
			pos = min(end, limit)
			if held.Length > 0 && held.End() == start {
				held.Length = pos - held.Offset
				continue
			}
			if held.Length > 0 && !yield(held, nil) {
				return
			}
			held = Extent{start, pos - start}
		}
		if held.Length > 0 {
			yield(held, nil)
		}
	}
}

// fileFinder asks the operating system for the data of a file.
type fileFinder struct{ im *Image }

// NextData checks the size when the file claims that nothing follows: to
// SEEK_DATA a file that was cut short looks like one that ends in a hole.
func (ff *fileFinder) NextData(off int64) (start, end int64, err error) {
	start, end, err = seekData(ff.im.file, off)
	if err == io.EOF {
		if err := ff.im.checkNotShrunk(); err != nil {
			return 0, 0, err
		}
	}
	return start, end, err
}

func (im *Image) checkNotShrunk() error {
	fi, err := im.file.Stat()
	if err != nil {
		return err
	}
	if fi.Size() < im.size {
		return &ChangedError{Name: im.name, OldSize: im.size, NewSize: fi.Size(), OldTime: im.mtime, NewTime: fi.ModTime()}
	}
	return nil
}
