package rawimage

import (
	"errors"
	"io"
	"io/fs"
	"iter"

	"github.com/fastimage/fastimage/internal/sparse"
)

// Extent is a range of the disk that holds data, or may.
type Extent struct {
	Offset, Length int64 // bytes
}

// End returns the offset of the first byte after the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// NextData returns the first range of data [start, end) with end > off, clipped
// to start >= off and end <= Size; io.EOF when only holes follow. Ranges may be
// adjacent. A negative off is an error that matches fs.ErrInvalid.
func (im *Image) NextData(off int64) (start, end int64, err error) {
	start, end, err = sparse.NextData(im.finder, off, im.size)
	if err == nil || err == io.EOF || errors.Is(err, ErrChanged) {
		return start, end, err
	}
	return 0, 0, pkg.Errorf("next data at %d: %w", off, err)
}

// maxMerged bounds the ranges that one extent is made of, so that an iteration
// yields, and its caller can end it, however small the ranges are.
const maxMerged = 1 << 14

// Extents iterates over the data of the image in ascending order, adjacent
// extents merged; a very long one may come in pieces that touch. It can be ranged
// over again; an error comes at most once, and last.
func (im *Image) Extents() iter.Seq2[Extent, error] {
	return im.ExtentsIn(0, im.size)
}

// ExtentsIn is Extents for the range of length bytes at off, clipped to it.
func (im *Image) ExtentsIn(off, length int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if off < 0 || length < 0 {
			yield(Extent{}, pkg.Errorf("extents in %d+%d: %w", off, length, fs.ErrInvalid))
			return
		}
		limit := im.size
		if length < limit-off {
			limit = off + length
		}
		var held Extent // grows while its neighbors touch it
		merged := 0
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
			if merged++; held.Length > 0 && held.End() == start && merged < maxMerged {
				held.Length = pos - held.Offset
				continue
			}
			merged = 0
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

// fileFinder is a file that knows its holes.
type fileFinder struct {
	im   *Image
	file *sparse.File
}

// NextData checks the size when the file claims that nothing follows: to
// SEEK_DATA a file that was truncated looks like one that ends in a hole.
func (ff *fileFinder) NextData(off int64) (start, end int64, err error) {
	start, end, err = ff.file.NextData(off)
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
		return &ChangedError{Name: im.name, OldSize: im.size, NewSize: fi.Size(), OldTime: im.id.ModTime, NewTime: fi.ModTime()}
	}
	return nil
}
