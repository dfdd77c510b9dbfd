package imstest

import (
	"errors"
	"io"
	"os"
	"sort"
	"sync"
)

// openSegments bounds the files that one reader keeps open: an object can have
// 10000 segments.
const openSegments = 8

// objectReader reads one version of an object; safe for concurrent use.
type objectReader struct {
	*object
	s *store

	once   sync.Once
	starts []int64

	mu   sync.Mutex // guards open
	open []openSegment
}

type openSegment struct {
	index int
	file  *os.File
}

func (r *objectReader) Close() error {
	r.mu.Lock()
	for _, o := range r.open {
		_ = o.file.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.refs--; r.dead {
		r.s.kill(r.object)
	}
	return nil
}

func (r *objectReader) init() {
	var at int64
	r.starts = make([]int64, len(r.Segments))
	for i, g := range r.Segments {
		r.starts[i] = at
		at += g.Size
	}
}

func (r *objectReader) file(i int) (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.open {
		if o.index == i {
			return o.file, nil
		}
	}
	f, err := os.Open(r.s.path("data", r.Segments[i].File))
	if err != nil {
		return nil, err
	}
	if len(r.open) >= openSegments {
		_ = r.open[0].file.Close()
		r.open = append(r.open[:0], r.open[1:]...)
	}
	r.open = append(r.open, openSegment{i, f})
	return f, nil
}

// ReadAt implements io.ReaderAt over the whole object.
func (r *objectReader) ReadAt(p []byte, off int64) (n int, err error) {
	r.once.Do(r.init)
	if off < 0 {
		return 0, errs.New("negative offset")
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= r.Size {
			return n, io.EOF
		}
		i := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > at }) - 1
		in := at - r.starts[i]
		m := min(int64(len(p)-n), r.Segments[i].Size-in)
		f, err := r.file(i)
		if err != nil {
			return n, err
		}
		k, err := f.ReadAt(p[n:n+int(m)], in)
		n += k
		// Another goroutine can have evicted the file between lookup and read.
		if err != nil && !errors.Is(err, os.ErrClosed) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}
