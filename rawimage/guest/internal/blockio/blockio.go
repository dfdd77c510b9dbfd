// Package blockio reads a disk for an examination: in cached pages, counted, and
// bounded in bytes and by a context.
package blockio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/fastimage/fastimage/internal/lru"
)

// ErrLimit reports that an examination has read as many bytes as it may.
var ErrLimit = errors.New("read limit reached")

const (
	pageSize = 64 << 10 // a compromise of requests and bytes for scattered metadata
	cacheLen = 16 << 20
	direct   = 4 // pages: longer reads bypass the cache
)

// Reader is a disk. It may be used by any number of goroutines at once.
type Reader struct {
	ra    io.ReaderAt
	size  int64
	pages *lru.Cache[int64, []byte]

	mu       sync.Mutex // guards what follows
	ctx      context.Context
	limit    int64
	requests int64
	bytes    int64
}

// New returns a reader of a disk of size bytes that reads at most limit bytes
// before it fails with ErrLimit. It stops when ctx is done.
func New(ctx context.Context, ra io.ReaderAt, size, limit int64) *Reader {
	return &Reader{ra: ra, size: size, limit: limit, ctx: ctx, pages: lru.New[int64, []byte](cacheLen)}
}

// Release lets the reader outlive the context it was made with, and lifts the
// limit: what a caller reads later is the caller's own affair.
func (r *Reader) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.limit = context.Background(), 1<<62
}

// Size returns the size of the disk in bytes.
func (r *Reader) Size() int64 { return r.size }

// Stats returns how many times the disk was read, and how many bytes.
func (r *Reader) Stats() (requests, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests, r.bytes
}

// Err returns why nothing more can be read: the context's error, or ErrLimit.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.usable(0)
}

func (r *Reader) usable(n int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.bytes+n > r.limit {
		return fmt.Errorf("%w: %d bytes", ErrLimit, r.limit)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	if err := r.Err(); err != nil { // cached pages take time too
		return 0, err
	}
	var end error
	if int64(len(p)) > r.size-off {
		p, end = p[:r.size-off], io.EOF
	}
	n, err := r.read(p, off)
	if err != nil {
		return n, err
	}
	return n, end
}

func (r *Reader) read(p []byte, off int64) (n int, err error) {
	if len(p) >= direct*pageSize {
		return len(p), r.fetch(p, off)
	}
	for n < len(p) {
		at := off + int64(n)
		data, err := r.page(at / pageSize)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[at%pageSize:])
	}
	return n, nil
}

func (r *Reader) page(number int64) ([]byte, error) {
	return r.pages.Get(number, pageSize, func() ([]byte, error) {
		start := number * pageSize
		data := make([]byte, min(pageSize, r.size-start))
		return data, r.fetch(data, start)
	})
}

func (r *Reader) fetch(p []byte, off int64) error {
	if err := r.admit(int64(len(p))); err != nil {
		return err
	}
	n, err := r.ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read at byte %d: %w", off, err)
}

// admit counts a request of n bytes, if it may be made.
func (r *Reader) admit(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(n); err != nil {
		return err
	}
	r.requests++
	r.bytes += n
	return nil
}
