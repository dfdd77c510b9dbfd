package rawimage

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/fastimage/fastimage/internal/atomicfile"
	"github.com/fastimage/fastimage/internal/sparse"
)

const (
	// holeSize is the unit in which zeros are left out: the page of every file
	// system in use.
	holeSize = 4 << 10
	// granule is the unit in which a Writer remembers where it has written.
	granule = 64 << 10
	// MaxCreateSize is the largest disk that Create makes, 64 TiB: what a few
	// bytes of an image claim must not fill a file system or the memory.
	MaxCreateSize = 64 << 40
)

// touchedPage is a bit per granule of 2 GiB that has been written to; by atomic
// only.
type touchedPage [pageGranules / 64]uint64

const pageGranules = 1 << 15

// Writer writes a RAW image as a sparse file: zeros are not written but left as
// holes. It works on a temporary file beside the final name, which appears there
// only by Commit, whole, or not at all. WriteAt may be called concurrently for
// ranges that do not overlap.
type Writer struct {
	name    string
	size    int64
	touched []atomic.Pointer[touchedPage]
	written atomic.Int64

	mu   sync.RWMutex     // guards file: WriteAt reads it, the end of the Writer takes it
	file *atomicfile.File // nil once the Writer has ended
}

// Create begins a RAW image of size bytes, 1 to MaxCreateSize, that Commit will
// put under name. A regular file of that name is replaced and keeps its mode; a
// symbolic link stays, and the file it leads to is replaced. Anything else is an
// *OpenError.
func Create(name string, size int64) (*Writer, error) {
	if size <= 0 || size > MaxCreateSize {
		return nil, &OpenError{Name: name, Err: pkg.Errorf("%w: size %d is not in 1..%d", fs.ErrInvalid, size, int64(MaxCreateSize))}
	}
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return nil, &OpenError{Name: name, Err: ErrNotImage}
	}
	f, err := atomicfile.Create(name, 0o666)
	if err != nil {
		return nil, &OpenError{Name: name, Err: cause(err)}
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(&OpenError{Name: name, Err: cause(err)}, f.Abort())
	}
	pages := (size-1)/granule/pageGranules + 1
	return &Writer{name: name, size: size, file: f, touched: make([]atomic.Pointer[touchedPage], pages)}, nil
}

// Written returns how many bytes have been written, zeros that became holes not
// among them.
func (w *Writer) Written() int64 { return w.written.Load() }

// Sparse reports true: what is never written reads as zeros. Code that unpacks
// a disk into an io.WriterAt may ask it by this method, and leave zeros out.
func (w *Writer) Sparse() bool { return true }

// WriteAt writes p at off; all of it must be within the disk. Pages of zeros
// become holes, unless something was written there before.
func (w *Writer) WriteAt(p []byte, off int64) (n int, err error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.file == nil {
		return 0, pkg.Errorf("write %s: %w", w.name, ErrClosed)
	}
	if off < 0 || off > w.size || int64(len(p)) > w.size-off {
		return 0, pkg.Errorf("write %s: %d bytes at %d are outside the disk of %d bytes: %w", w.name, len(p), off, w.size, fs.ErrInvalid)
	}
	for n < len(p) {
		zero, end := w.stretch(p, n, off)
		if !zero {
			w.touch(off+int64(n), off+int64(end))
			k, err := w.file.WriteAt(p[n:end], off+int64(n))
			w.written.Add(int64(k))
			if err != nil {
				return n + k, pkg.Errorf("write %s at %d: %w", w.name, off+int64(n+k), cause(err))
			}
		}
		n = end
	}
	return n, nil
}

// stretch finds how far pages like that at p[n] go: zero ones that can be left
// out, or others.
func (w *Writer) stretch(p []byte, n int, off int64) (zero bool, end int) {
	for end = n; end < len(p); {
		page := min(len(p), end+holeSize-int((off+int64(end))%holeSize))
		z := sparse.IsZero(p[end:page]) && !w.isTouched(off+int64(end))
		if end == n {
			zero = z
		} else if z != zero {
			break
		}
		end = page
	}
	return zero, end
}

func (w *Writer) touch(from, to int64) {
	for g := from / granule; g <= (to-1)/granule; g++ {
		page := &w.touched[g/pageGranules]
		if page.Load() == nil {
			page.CompareAndSwap(nil, new(touchedPage))
		}
		atomic.OrUint64(&page.Load()[g%pageGranules/64], 1<<(g%64))
	}
}

func (w *Writer) isTouched(off int64) bool {
	g := off / granule // a page never lies in two granules
	page := w.touched[g/pageGranules].Load()
	return page != nil && atomic.LoadUint64(&page[g%pageGranules/64])&(1<<(g%64)) != 0
}

// Commit puts the image, flushed to disk, under its name, and replaces a file
// of that name. After an error nothing is left of it, unless the image was whole
// and only the directory could not be flushed. The Writer is of no more use in
// either case.
func (w *Writer) Commit() error { return w.commit((*atomicfile.File).Commit) }

// CommitNew is Commit for a name that must not be taken: a file of that name
// stays as it is, and the error matches fs.ErrExist.
func (w *Writer) CommitNew() error { return w.commit((*atomicfile.File).CommitNew) }

func (w *Writer) commit(end func(*atomicfile.File) error) error {
	f := w.take()
	if f == nil {
		return pkg.Errorf("commit %s: %w", w.name, ErrClosed)
	}
	if err := end(f); err != nil {
		return pkg.Errorf("commit %s: %w", w.name, err)
	}
	return nil
}

// Abort removes what was written. After Commit, CommitNew or Abort it does
// nothing, so that it can be deferred.
func (w *Writer) Abort() error {
	f := w.take()
	if f == nil {
		return nil
	}
	return f.Abort()
}

func (w *Writer) take() *atomicfile.File {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.file
	w.file = nil
	return f
}
